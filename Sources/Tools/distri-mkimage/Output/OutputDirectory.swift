// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import FoundationEssentials
import Glibc
import SystemPackage

/// The directory that holds an image and what boots it. It appears whole, or the old one stays.
struct OutputDirectory {
  /// The file names in it.
  static let disk = "disk.img"
  static let kernel = "vmlinuz"
  static let initramfs = "initramfs"
  static let commandLine = "cmdline"
  private static let all = Set(
    [disk, kernel, initramfs, commandLine] + ImageFormat.allCases.map { "disk.\($0.ending)" } + OCILayout.names + LXDArchives.names)

  /// Where it appears.
  let path: FilePath

  /// Gives the body a directory for the files, and a second one for what is thrown away, both beside the place where the files appear
  /// when the body returns.
  ///
  /// - Throws: ``MkimageError/unusableFile(_:reason:)`` when the place holds anything but an earlier output; what the body throws.
  func replace<R>(_ body: (_ output: FilePath, _ work: FilePath) throws -> R) throws -> R {
    let files = FileManager.default
    let old = (try? files.contentsOfDirectory(atPath: path.string)) ?? []
    guard let name = path.lastComponent, Self.all.isSuperset(of: old),
      !old.contains(OCILayout.blobs) || old.contains(OCILayout.marker)
    else {
      throw MkimageError.unusableFile(
        path.string, reason: "it holds other files; give an empty directory, or one with an earlier image")
    }
    return try Scratch.with(beside: path, name: name.string) { output, work in
      try files.createDirectory(atPath: output.string, withIntermediateDirectories: false)
      let result = try body(output, work)
      for file in try files.contentsOfDirectory(atPath: output.string) { try Scratch.sync(output.appending(file)) }
      try Scratch.sync(output)
      if rename(output.string, path.string) != 0 {
        // Not empty: swapped in one step; the old one goes with the scratch directory.
        try exchangeNames(output, path)
      }
      return result
    }
  }
}
