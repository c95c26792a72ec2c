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

  /// Makes an initramfs: compressed where the kernel can unpack that.
  ///
  /// - Parameters:
  ///   - modules: to load besides those for virtio disks, ext4 and the view.
  ///   - work: a directory for temporary files.
  func archive(for kernel: KernelPackage, modules: [String], time: Int64, work: FilePath) throws -> [UInt8] {
    let decompressor = ModuleDecompressor(work: work)
    // ext4 asks for a checksum by name that no dependency mentions.
    let order = try kernel.loadOrder(
      of: ["virtio_pci", "virtio_blk", "virtio_console", "ext4", "fuse"] + modules, wishes: ["crc32c_generic"],
      decompress: decompressor.decompress)
    let contents = try InitramfsContents(
      initProgram: try Self.sibling("distri-init", orElse: initProgram), daemon: try Self.sibling("distri-fuse", orElse: daemon),
      modules: order, libraryDirectories: libraryDirectories.map { FilePath($0).resolved() }
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
