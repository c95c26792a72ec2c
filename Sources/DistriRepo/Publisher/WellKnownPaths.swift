// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore

/// The files of an image's exchange directories: what a view of the repository shows without having the image.
enum WellKnownPaths {
  /// Exchange directories that lie in no other one.
  private static let directories = [
    "bin", "debug", "out/games", "out/gopath", "out/include", "out/lib", "out/lib64", "out/libexec", "out/opt", "out/share",
  ]

  /// No package nests deeper; a damaged image may.
  private static let maximumDepth = 64

  /// Paths such as `bin/nano`. Directories are not listed, nor names that are not UTF-8, which the index cannot carry.
  ///
  /// - Throws: `StoreError.damagedImage`.
  static func of(_ image: PackageImage) throws(StoreError) -> [String] {
    var paths: [String] = []
    for directory in directories {
      guard let node = try image.node(at: try TreePath(parsing: directory)),
        try image.attributes(of: node).kind == .directory
      else { continue }
      try add(node, directory, depth: 0, of: image, to: &paths)
    }
    return paths
  }

  private static func add(
    _ directory: PackageImage.Node, _ path: String, depth: Int, of image: PackageImage, to paths: inout [String]
  ) throws(StoreError) {
    guard depth < maximumDepth else {
      throw .damagedImage(image.path, place: "directory «\(path.suffix(80))»", reason: "nested more than \(maximumDepth) deep")
    }
    for entry in try image.entries(of: directory) {
      guard let name = String(validating: entry.name.bytes, as: UTF8.self) else { continue }
      if entry.kind == .directory {
        try add(entry.node, "\(path)/\(name)", depth: depth + 1, of: image, to: &paths)
      } else {
        paths.append("\(path)/\(name)")
      }
    }
  }
}
