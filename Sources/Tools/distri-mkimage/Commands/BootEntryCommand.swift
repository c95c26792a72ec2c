// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import DistriStore
import FoundationEssentials
import Glibc
import SystemPackage
import ToolSupport

/// `distri-mkimage boot-entry`.
struct BootEntryCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "boot-entry",
    abstract: "Have this machine start the newest kernel of its store from now on.",
    discussion: """
      Makes the kernel's initramfs, and puts both onto the mounted boot partition, for UEFI and for GRUB, whichever it has. Older kernels
      stay there up to a number: systemd-boot shows them when Space is held down, GRUB on Escape. An interrupted run leaves what was there.
      Nothing is done where that kernel is started already.

        distri-mkimage boot-entry
        distri-mkimage boot-entry --kernel linux-image --keep 3
      """)

  @OptionGroup var storeOptions: StoreOptions

  @Option(help: ArgumentHelp("The package that has the kernel, or needs the one that has it.", valueName: "name"))
  var kernel = "linux-image"

  @Option(
    name: .customLong("boot"),
    help: ArgumentHelp("Where the boot partition is mounted. Default: /efi or /boot.", valueName: "dir"))
  var directory: String?

  @Option(help: ArgumentHelp("The kernel's parameters. Default: those that this machine was started with.", valueName: "text"))
  var parameters: String?

  @Option(help: ArgumentHelp("How many kernels the boot partition may hold.", valueName: "number"))
  var keep = 2

  @Flag(help: "Make it again, where that kernel is started already.")
  var force = false

  @Option(
    name: .customLong("module"), help: ArgumentHelp("A kernel module to load whatever hardware there is.", valueName: "name"))
  var modules: [String] = []

  @OptionGroup var programs: InitramfsOptions

  /// Where this machine shows the initramfs that it was started with: it has what the packages may not have.
  private static let runningInitramfs: FilePath = "/run/initramfs"

  func validate() throws {
    guard (1...100).contains(keep) else { throw ValidationError("--keep is 1 to 100") }
  }

  func run() throws {
    let entries = try BootEntries(directory: try directory.map { FilePath($0) } ?? Self.mountedPartition())
    let store = try LocalStore(path: storeOptions.storePath)
    let package = try KernelPackage.find(try selectedName(in: store), in: store)
    let bytes = try package.kernelImage()
    guard try force || !entries.starts(bytes) else { return }
    let line = try parameters ?? Self.currentParameters()
    let keymap = FilePath("/\(Keymap.path)")
    let wishes = InitramfsWishes(
      modules: modules, opensEncryptedDisks: line.contains("rd.luks.uuid="),
      keymap: access(keymap.string, F_OK) == 0 ? try keymap.contents(atMost: 1 << 20) : nil, model: Self.runningInitramfs
    ) { try (try selected(in: store) ?? store.packages()).map { try store.image(of: $0) } }
    let initramfs = try Scratch.withDirectory { work in
      try programs.archive(for: package, wishes, time: Build.sourceDate(), work: work)
    }
    let image = UnifiedKernelImage(
      release: try FilePath("/etc/os-release").contents(atMost: 1 << 16), commandLine: line, initramfs: initramfs,
      kernel: bytes)
    try entries.add(image, version: package.version, keeping: keep)
    Terminal.standardOutput.write("\(package.version)\n")
  }

  /// The version that the current generation has: after a rollback, not the newest one.
  private func selectedName(in store: LocalStore) throws -> String {
    guard let selected = try selected(in: store) else { return kernel }
    guard let package = try PackageQuery(parsing: kernel).newest(of: selected) else { throw StoreError.notFound(kernel) }
    return "\(package)"
  }

  /// The packages of the current generation; nil where there is none.
  private func selected(in store: LocalStore) throws -> [PackageID]? { try store.generations.current()?.selection.packages }

  private static func mountedPartition() throws -> FilePath {
    let places: [FilePath] = ["/efi", "/boot"]
    guard let place = places.first(where: BootEntries.isBootPartition) else {
      throw MkimageError.unusableFile(
        "/boot", reason: "no boot partition is mounted there, nor on /efi; --boot DIR names another place")
    }
    return place
  }

  /// Without what boot loaders add.
  private static func currentParameters() throws -> String {
    let text = String(decoding: try FilePath("/proc/cmdline").contents(atMost: 1 << 16), as: UTF8.self)
    return text.split(whereSeparator: \.isNewline).joined().split(separator: " ").filter {
      !$0.hasPrefix("BOOT_IMAGE=") && !$0.hasPrefix("initrd=")
    }.joined(separator: " ")
  }
}
