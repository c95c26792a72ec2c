// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Glibc
import SystemPackage

/// Flags that say where the programs of an initramfs come from.
struct InitramfsOptions: ParsableArguments {
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

  /// Plans an initramfs.
  ///
  /// - Parameters:
  ///   - modules: to load besides those for virtio disks, ext4 and the view.
  ///   - work: a directory for temporary files.
  func contents(for kernel: KernelPackage, modules: [String], work: FilePath) throws -> Contents {
    let decompressor = ModuleDecompressor(work: work)
    // ext4 asks for a checksum by name that no dependency mentions.
    let order = try kernel.loadOrder(
      of: ["virtio_pci", "virtio_blk", "virtio_console", "ext4", "fuse"] + modules, wishes: ["crc32c_generic"],
      decompress: decompressor.decompress)
    return try InitramfsContents(
      initProgram: try Self.sibling("distri-init", orElse: initProgram), daemon: try Self.sibling("distri-fuse", orElse: daemon),
      modules: order, libraryDirectories: libraryDirectories.map { FilePath($0).resolved() }
    ).plan()
  }

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
