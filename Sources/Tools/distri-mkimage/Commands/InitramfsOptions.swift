// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import DistriStore
import Glibc
import SystemPackage

/// Flags that say where the program of an initramfs comes from.
struct InitramfsOptions: ParsableArguments, Sendable {
  @Option(
    name: .customLong("init"),
    help: ArgumentHelp("The distri-init to use. Default: the one beside this program.", valueName: "file"))
  var initProgram: String?

  @Option(
    name: .customLong("library-path"), help: ArgumentHelp("A directory with shared objects that it needs.", valueName: "dir"))
  var libraryDirectories: [String] = []

  @Flag(
    inversion: .prefixedNo,
    help: "Bring only the drivers that this machine's own hardware asks for, instead of those for disks of all kinds.")
  var hostonly = false

  /// Makes an initramfs: compressed where the kernel can unpack that.
  ///
  /// - Parameters:
  ///   - wishes: of the machine that it is for.
  ///   - work: a directory for temporary files.
  func archive(for kernel: KernelPackage, _ wishes: InitramfsWishes, time: Int64, work: FilePath) throws -> [UInt8] {
    let drivers = hostonly ? DriverSet.ofThisMachine() : .generic
    let always = DriverSet.always + wishes.modules + (wishes.opensEncryptedDisks ? DiskEncryption.modules : [])
    let wished = DriverSet.alwaysWished + (wishes.opensEncryptedDisks ? DiskEncryption.wishedModules : [])
    let order = try drivers.modules(of: kernel, always: always, wished: wished)
    var firmware: [String: [UInt8]] = [:]
    let names = Set(order.flatMap(\.firmware))
    let files = try FirmwareFiles(of: names.isEmpty ? [] : [kernel.image] + wishes.packages())
    for name in names { firmware[name] = try files.contents(of: name) }
    let contents = try InitramfsContents(
      initProgram: try Self.sibling("distri-init", orElse: initProgram), modules: order,
      always: always + wished, firmware: firmware, keymap: wishes.keymap,
      cryptsetup: wishes.opensEncryptedDisks ? try DiskEncryption.program(orElse: wishes.model) : nil,
      shell: StaticShell.find(orElse: wishes.model), libraryDirectories: libraryDirectories.map { FilePath($0).resolved() },
      otherLibraryDirectories: wishes.model.map { [$0.appending("lib")] } ?? []
    ).plan()
    let file = work.appending("initramfs")
    try CpioArchive(contents: contents, time: time).write(to: file)
    guard try kernel.unpacksZstandard() else { return try file.contents(atMost: Self.largest) }
    // More takes longer than it saves at boot; one thread, since several cut the data where it suits them.
    return try ChildProcess.run(
      ChildProcess.locate("zstd", package: "zstd"), ["-q", "-3", "--single-thread", "-c", file.string], work: work)
  }

  /// Bytes; a unified kernel image holds no more.
  private static let largest = 1 << 31

  /// A program of ours: where the flag says, or beside this one.
  static func sibling(_ name: String, orElse flag: String? = nil) throws -> FilePath {
    if let flag { return FilePath(flag) }
    let path = FilePath("/proc/self/exe").resolved().removingLastComponent().appending(name)
    guard access(path.string, X_OK) == 0 else {
      throw MkimageError.unusableFile(path.string, reason: "it is not there; --\(name.dropFirst(7)) FILE names another")
    }
    return path
  }
}

/// What a machine wants of its initramfs, besides what all want.
struct InitramfsWishes {
  /// To load whatever hardware there is, besides ext4 and what the view needs.
  var modules: [String] = []
  /// Whether the root is on an encrypted disk.
  var opensEncryptedDisks = false
  /// What ``Keymap`` has compiled; nil for a keyboard as the kernel takes it.
  var keymap: [UInt8]?
  /// An unpacked initramfs, whose programs are taken where the building machine has none.
  var model: FilePath?
  /// Packages that may have firmware, besides the kernel's own.
  var packages: () throws -> [PackageImage] = { [] }
}
