// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import DistriStore
import FoundationEssentials
import Glibc
import SystemPackage
import ToolSupport

/// `distri-mkimage build`.
struct Build: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Make a disk image, a kernel and an initramfs of packages.",
    discussion: """
      Needs no root. The same packages give the same bytes; SOURCE_DATE_EPOCH sets the time of all files.

      Example: an image that shows its name and the version of nano, and turns itself off:

        distri-mkimage build --store demo/store --package bash --package coreutils --package nano \\
          --kernel linux-image --run 'cat /etc/os-release' --run 'nano --version' -o demo/image
        distri-mkimage boot demo/image
      """)

  @OptionGroup var storeOptions: StoreOptions

  @Option(name: .customLong("package"), help: ArgumentHelp("A package of the image; what it needs comes along.", valueName: "name"))
  var packages: [String] = []

  @Option(help: ArgumentHelp("The package that has the kernel, or needs the one that has it.", valueName: "name"))
  var kernel = "linux-image"

  @Option(
    name: .customLong("run"),
    help: ArgumentHelp(
      "A shell command that the machine runs, then it turns itself off; instead of /sbin/init.", valueName: "command"))
  var commands: [String] = []

  @Option(help: ArgumentHelp("The name of the root file system, 1 to 16 bytes.", valueName: "text"))
  var label = "distri"

  @Option(help: ArgumentHelp("The size of the disk, such as 512M or 8G. Default: what is needed and 64 MiB.", valueName: "size"))
  var size: ByteCount?

  @Option(
    name: .customLong("module"),
    help: ArgumentHelp("A kernel module to load besides those for virtio disks and ext4.", valueName: "name"))
  var modules: [String] = []

  @Option(
    name: .customLong("init"),
    help: ArgumentHelp("The distri-init to use. Default: the one beside this program.", valueName: "file"))
  var initProgram: String?

  @Option(
    name: .customLong("fuse"),
    help: ArgumentHelp("The distri-fuse to use. Default: the one beside this program.", valueName: "file"))
  var daemon: String?

  @Option(
    name: .customLong("library-path"), help: ArgumentHelp("A directory with shared objects that the two need.", valueName: "dir"))
  var libraryDirectories: [String] = []

  @Option(name: .shortAndLong, help: ArgumentHelp("The directory to make.", valueName: "dir"))
  var output: String

  func validate() throws {
    guard (1...16).contains(label.utf8.count), label.utf8.allSatisfy({ (0x21...0x7e).contains($0) && $0 != 0x22 }) else {
      throw ValidationError("--label has 1 to 16 printable characters without blanks and quotes")
    }
    guard !packages.isEmpty else { throw ValidationError("name at least one --package") }
    guard commands.allSatisfy({ !$0.contains("\n") }) else { throw ValidationError("--run takes a command of one line") }
  }

  func run() throws {
    let store = try LocalStore(path: storeOptions.storePath)
    let time = Self.sourceDate()
    let progress = ProgressDisplay("image", total: 3)
    defer { progress.finish() }
    let chosen = try closure(of: packages, in: store)
    let root = try RootContents(packages: chosen, commands: commands).plan(from: store)
    let uuid = root.identifier(salt: "\(label) \(time) \(size?.value ?? 0)")
    let disk = Ext4Image(contents: root, uuid: uuid, label: label, time: time)
    try OutputDirectory(path: FilePath(output)).replace { output, work in
      progress.advance(detail: "kernel")
      let kernel = try findKernel(in: store)
      try Data(try kernel.kernelImage()).write(to: URL(filePath: output.appending(OutputDirectory.kernel).string))
      progress.advance(detail: "initramfs")
      try writeInitramfs(of: kernel, to: output.appending(OutputDirectory.initramfs), time: time, work: work)
      progress.advance(detail: "disk")
      try disk.write(to: output.appending(OutputDirectory.disk), byteCount: size?.value ?? disk.defaultByteCount, work: work)
      let parameters = "root=UUID=\(text(ofUUID: uuid)) rw console=ttyS0 quiet panic=-1\n"
      try Data(parameters.utf8).write(to: URL(filePath: output.appending(OutputDirectory.commandLine).string))
    }
  }

  /// The packages and their run-time closure, which the metadata lists whole.
  private func closure(of names: [String], in store: LocalStore) throws -> [PackageID] {
    var chosen: Set<PackageID> = []
    for name in names {
      let package = try store.resolve(name)
      chosen.insert(package)
      chosen.formUnion(try store.metadata(of: package).runtimeDependencies)
    }
    return chosen.sorted()
  }

  private func findKernel(in store: LocalStore) throws -> KernelPackage {
    let package = try store.resolve(kernel)
    for candidate in [package] + (try store.metadata(of: package).runtimeDependencies) {
      if let found = try KernelPackage(try store.image(of: candidate)) { return found }
    }
    throw MkimageError.noKernel(in: "\(package)")
  }

  private func writeInitramfs(of kernel: KernelPackage, to path: FilePath, time: Int64, work: FilePath) throws {
    let decompressor = ModuleDecompressor(work: work)
    // ext4 asks for a checksum by name that no dependency mentions.
    let order = try kernel.loadOrder(
      of: ["virtio_pci", "virtio_blk", "virtio_console", "ext4", "fuse"] + modules, wishes: ["crc32c_generic"],
      decompress: decompressor.decompress)
    let plan = InitramfsContents(
      initProgram: try Self.sibling("distri-init", orElse: initProgram), daemon: try Self.sibling("distri-fuse", orElse: daemon),
      modules: order, libraryDirectories: libraryDirectories.map { FilePath($0).resolved() })
    let file = try FileDescriptor.open(
      path, .writeOnly, options: [.create, .exclusiveCreate, .closeOnExec], permissions: [.ownerReadWrite, .groupRead, .otherRead])
    defer { try? file.close() }
    try CpioArchive(contents: try plan.plan(), time: time).write(to: file)
  }

  /// A program of ours: where the flag says, or beside this one.
  private static func sibling(_ name: String, orElse flag: String?) throws -> FilePath {
    if let flag { return FilePath(flag) }
    let path = FilePath("/proc/self/exe").resolved().removingLastComponent().appending(name)
    guard access(path.string, X_OK) == 0 else {
      throw MkimageError.unusableFile(path.string, reason: "it is not there; --\(name.dropFirst(7)) FILE names another")
    }
    return path
  }

  /// Seconds since 1970: `SOURCE_DATE_EPOCH`, or the start of 1980.
  private static func sourceDate() -> Int64 {
    let given = ProcessInfo.processInfo.environment["SOURCE_DATE_EPOCH"].flatMap { Int64($0) } ?? 315_532_800
    // e2fsprogs takes 0 for «now»; ext4 and cpio agree on what fits 32 bits.
    return min(max(given, 1), Int64(UInt32.max))
  }
}

/// A number of bytes as people write it: `512M`, `8G`.
struct ByteCount: ExpressibleByArgument, Equatable {
  let value: UInt64

  init?(argument: String) {
    let units: [Character: UInt64] = ["K": 10, "M": 20, "G": 30, "T": 40]
    let shift = argument.last.flatMap { units[$0] }
    guard let number = UInt64(shift == nil ? argument[...] : argument.dropLast()), number > 0 else { return nil }
    let (value, overflow) = number.multipliedReportingOverflow(by: 1 << (shift ?? 0))
    guard !overflow, value <= 1 << 44 else { return nil }
    self.value = value
  }
}
