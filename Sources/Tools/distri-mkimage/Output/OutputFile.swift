// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import Glibc
import SystemPackage

/// A file that appears whole, or the old one stays.
struct OutputFile {
  /// Where it appears.
  let path: FilePath

  /// Gives the body the path of a file to make, and a directory for what is thrown away.
  ///
  /// - Throws: ``MkimageError/unusableFile(_:reason:)`` when there is something else than a file already; what the body throws.
  func replace<R>(_ body: (_ output: FilePath, _ work: FilePath) throws -> R) throws -> R {
    var status = stat()
    guard let name = path.lastComponent, lstat(path.string, &status) != 0 || status.st_mode & S_IFMT == S_IFREG else {
      throw MkimageError.unusableFile(path.string, reason: "it is there, and no file; an image does not replace it")
    }
    return try Scratch.with(beside: path, name: name.string) { output, work in
      let result = try body(output, work)
      try Scratch.sync(output)
      guard rename(output.string, path.string) == 0 else { throw Errno(rawValue: errno) }
      return result
    }
  }
}
