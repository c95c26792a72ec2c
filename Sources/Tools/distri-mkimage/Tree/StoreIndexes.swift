// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriFS
import DistriStore
import SystemPackage

extension Contents {
  /// Adds what a first mount of the store `/roimg` would make there, so that the first start of the machine is as fast as all others.
  ///
  /// - Parameters:
  ///   - packages: those that are in `/roimg`.
  ///   - time: of all files, in seconds since 1970.
  ///   - inodes: the numbers that files will have: indexes name that of their image.
  /// - Throws: ``StoreError`` for packages that cannot be read.
  mutating func addIndexes(
    of packages: [PackageID], from store: LocalStore, time: Int64, inodes: (Contents) -> [TreePath: UInt64]
  ) throws {
    let directory = try TreePath(parsing: "roimg")
    let copy = CopiedStore(of: packages, in: store)
    let paths = try copy.indexNames.map { try TreePath(parsing: "\(directory)/\($0)") }
    // They count, too, and come before the images.
    for path in paths { try addFile(path, .bytes([])) }
    let numbered = inodes(self).filter { $0.key.parent == directory }.map { ($0.key.components.last?.description ?? "", $0.value) }
    let indexes = try copy.indexes(inodes: Dictionary(uniqueKeysWithValues: numbered), modificationTime: time)
    for (path, bytes) in zip(paths, indexes) { replace(path, by: bytes) }
  }
}
