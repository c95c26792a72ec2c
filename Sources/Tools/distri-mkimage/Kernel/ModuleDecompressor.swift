// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import Glibc
import SystemPackage

/// Unpacks compressed kernel modules (`.ko.xz`, `.ko.zst`, `.ko.gz`): the kernel of an initramfs shall not depend on being able to.
struct ModuleDecompressor {
  /// A directory for temporary files.
  let work: FilePath

  private static let programs = [".xz": ("xz", "xz-utils"), ".zst": ("zstd", "zstd"), ".gz": ("gzip", "gzip")]

  /// The bytes of the module in a file of this name.
  func decompress(name: String, _ bytes: [UInt8]) throws -> [UInt8] {
    guard let (ending, program) = Self.programs.first(where: { name.hasSuffix($0.key) }) else { return bytes }
    let file = work.appending("module.ko" + ending)
    try Scratch.write(bytes, to: file)
    return try ChildProcess.run(
      ChildProcess.locate(program.0, package: program.1), ["-d", "-c", file.string], work: work)
  }
}
