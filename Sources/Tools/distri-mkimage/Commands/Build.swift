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
    abstract: "Make a disk image, a kernel and an initramfs of packages, or a container.",
    discussion: """
      Needs no root. The same packages give the same bytes; SOURCE_DATE_EPOCH sets the time of all files. Flags win over what the
      description says; where there may be several of something, they add to it.

      Examples: an image as a file describes it, with a key to log in; an image that shows the version of nano and turns itself off; a
      container that does:

        distri-mkimage build --store demo/store server/image.textproto \\
          --authorized-keys ~/.ssh/id_ed25519.pub -o demo/server
        distri-mkimage build --store demo/store --package bash --package nano \\
          --run 'nano --version' -o demo/image
        distri-mkimage build --store demo/store --package bash --package nano \\
          --run 'nano --version' --format docker -o nano.tar
      """)

  @Argument(help: ArgumentHelp("An image description. Default: nothing but what the flags say.", valueName: "description"))
  var descriptionFile: String?

  @OptionGroup var storeOptions: StoreOptions
  @OptionGroup var changes: DescriptionOptions
  @OptionGroup var programs: InitramfsOptions
  @OptionGroup var passphrase: PassphraseOptions

  @Option(
    name: .shortAndLong,
    help: ArgumentHelp(
      "The directory, or with --layout gpt the file, to make; --format oci and lxd make directories.", valueName: "path"))
  var output: String

  func validate() throws {
    guard descriptionFile != nil || !changes.packages.isEmpty else {
      throw ValidationError("name at least one --package, or give an image description")
    }
  }

  func run() throws {
    let store = try LocalStore(path: storeOptions.storePath)
    let time = Self.sourceDate()
    let progress = ProgressDisplay("image", total: 2)
    defer { progress.finish() }
    let file = descriptionFile.map { FilePath($0) }
    let description = try changes.applied(to: try file.map { try ImageDescription(path: $0) } ?? ImageDescription())
    let isWholeDisk = description.layout == .gpt && description.formats.allSatisfy { !$0.isContainer && $0 != .tar }
    guard isWholeDisk || !description.isEncrypted else {
      throw ValidationError("only a disk can be encrypted: with layout gpt, and no format that has files instead of sectors")
    }
    let directory = file?.removingLastComponent() ?? FilePath()
    let chosen = try closure(of: try description.packageNames(in: directory), in: store)
    let tools = try description.hasTools ? ["distri-fetch", "distri-fuse"].map { try InitramfsOptions.sibling($0) } : []
    let kernelTools = try description.hasTools && isWholeDisk ? KernelUpdates.tools.map { try InitramfsOptions.sibling($0) } : []
    var planned = RootContents(
      packages: chosen, description: description, directory: directory, tools: tools, kernelTools: kernelTools)
    if let container = try Self.containerFormat(of: description) {
      return try writeContainer(container, planned, from: store, progress)
    }
    planned.keymap = try description.keymap.map { name in
      let images = try chosen.map { try store.image(of: $0) }
      return try Scratch.withDirectory { try Keymap.compile(name, from: images, work: $0) }
    }
    switch description.layout {
    case .direct:
      try OutputDirectory(path: FilePath(output)).replace { output, work in
        try writeDirect(planned, from: store, to: output, work: work) { progress.advance(detail: $0) }
      }
    case .gpt where description.formats.count > 1:
      try OutputDirectory(path: FilePath(output)).replace { output, work in
        let names = description.formats.map { ($0, output.appending("disk.\($0.ending)")) }
        try writeDisk(planned, from: store, to: names, work: work) { progress.advance(detail: $0) }
      }
    case .gpt:
      try OutputFile(path: FilePath(output)).replace { output, work in
        let format = description.formats.first ?? .raw
        if format == .tar {
          let root = try planned.plan(from: store)
          return try TarArchive.write(to: output) { try $0.append(root, time: time) }
        }
        try writeDisk(planned, from: store, to: [(format, output)], work: work) { progress.advance(detail: $0) }
      }
    }
  }

  /// What an image is made of.
  private struct Parts {
    var root: Ext4Image
    /// Of the root, what is the same in every kind of file system.
    var tree: Contents
    var kernel: KernelPackage
    var initramfs: [UInt8]
  }

  /// Plans the root and makes the initramfs, at once: neither needs the other.
  private func makeParts(of planned: RootContents, from store: LocalStore, work: FilePath) throws -> Parts {
    let description = planned.description
    let (time, programs) = (Self.sourceDate(), programs)
    let (root, boot) = try concurrently {
      let tree = try planned.plan(from: store)
      var contents = tree
      try contents.addIndexes(of: planned.packages, from: store, time: time, inodes: Ext4Image.inodes)
      let uuid = tree.identifier(salt: "\(description.label) \(time) \(description.byteCount ?? 0)")
      return (tree, Ext4Image(contents: contents, uuid: uuid, label: description.label, time: time))
    } _: {
      let kernel = try KernelPackage.find(description.kernel, in: store)
      let wishes = InitramfsWishes(
        modules: description.modules, opensEncryptedDisks: description.isEncrypted, keymap: planned.keymap
      ) { try planned.packages.map { try store.image(of: $0) } }
      return (kernel, try programs.archive(for: kernel, wishes, time: time, work: work))
    }
    return Parts(root: root.1, tree: root.0, kernel: boot.0, initramfs: boot.1)
  }

  /// A file system, and kernel, initramfs and parameters beside it.
  private func writeDirect(
    _ planned: RootContents, from store: LocalStore, to output: FilePath, work: FilePath, report: (String) -> Void
  ) throws {
    let description = planned.description
    report("contents and initramfs")
    let parts = try makeParts(of: planned, from: store, work: work)
    let root = parts.root
    try Scratch.write(parts.kernel.kernelImage(), to: output.appending(OutputDirectory.kernel))
    try Scratch.write(parts.initramfs, to: output.appending(OutputDirectory.initramfs))
    report("disk")
    try root.write(
      to: output.appending(OutputDirectory.disk), byteCount: description.byteCount ?? root.defaultByteCount, work: work)
    let line = description.commandLine(root: root.uuid, consoles: ["ttyS0"]) + "\n"
    try Data(line.utf8).write(to: URL(filePath: output.appending(OutputDirectory.commandLine).string))
  }

  /// A disk that boots by itself.
  private func writeDisk(
    _ planned: RootContents, from store: LocalStore, to outputs: [(ImageFormat, FilePath)], work: FilePath,
    report: (String) -> Void
  ) throws {
    let description = planned.description
    // Somebody may have to type it: before anything that takes long.
    let secret = description.isEncrypted ? try passphrase.read() : nil
    report("contents and initramfs")
    let parts = try makeParts(of: planned, from: store, work: work)
    let root = parts.root
    let encryption = secret.map { DiskEncryption(passphrase: $0, uuid: derivedUUID(root.uuid, "encryption")) }
    var release: [UInt8] = []
    if case .regular(.bytes(let text)) = root.contents[try TreePath(parsing: "etc/os-release")]?.kind { release = text }
    let unified = UnifiedKernelImage(
      release: release,
      commandLine: description.commandLine(
        root: root.uuid, encryption: encryption, consoles: ["tty0"] + (description.hasSerialConsole ? ["ttyS0"] : [])),
      initramfs: parts.initramfs, kernel: try parts.kernel.kernelImage())
    let boot = try BootPartition(unified, for: description.firmware, identity: root.uuid, time: root.time)
    let disk = try PartitionedDisk(
      root: root, boot: boot, firmware: description.firmware, encryption: encryption, byteCount: description.byteCount,
      unit: outputs.map(\.0.sizeUnit).max() ?? 1)
    report("disk")
    let sectors = work.appending("disk")
    try disk.write(to: sectors, work: work)
    // The sectors themselves last, since they are moved.
    for (format, path) in outputs.sorted(by: { $0.0 != .raw && $1.0 == .raw }) {
      try format.convert(sectors, to: path, contents: parts.tree, identity: root.uuid, time: root.time, work: work)
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

  /// Seconds since 1970: `SOURCE_DATE_EPOCH`, or the start of 1980.
  static func sourceDate() -> Int64 {
    let given = ProcessInfo.processInfo.environment["SOURCE_DATE_EPOCH"].flatMap { Int64($0) } ?? 315_532_800
    // e2fsprogs takes 0 for «now»; ext4 and cpio agree on what fits 32 bits.
    return min(max(given, 1), Int64(UInt32.max))
  }
}
