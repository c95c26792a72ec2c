// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore
import SystemPackage

/// Puts finished packages into their store, and what is mounted apart into the store's other sections.
struct PackageOutput: Sendable {
  let store: any PackageSink
  /// Sections of the same store; nil drops what would go there.
  let debugStore: LocalStore?
  let sourceStore: LocalStore?
  let writer: ImageWriter

  /// A package that is to become an image.
  struct Item: Sendable {
    var package: PackageID
    var tree: PackageTree
    var metadata: PackageMetadata
  }

  /// Writes debug and source packages, then the packages themselves: one that appears is complete.
  ///
  /// - Throws: ``StoreError``; what writing images throws.
  func write(_ items: [Item], debug: [(PackageID, PackageTree)], sources: [(PackageID, PackageTree)]) async throws {
    try await write(debug, into: debugStore)
    try await write(sources, into: sourceStore)
    try await store.transaction { staging in
      for item in items {
        let path = staging.imagePath(of: item.package)
        try await onThread { try item.tree.writeImage(to: path, with: writer) }
        try staging.stage(item.metadata, of: item.package)
      }
    }
  }

  private func write(_ trees: [(PackageID, PackageTree)], into section: LocalStore?) async throws {
    guard let section, !trees.isEmpty else { return }
    try await section.removeLeftovers(trees.map(\.0))
    try await section.transaction { staging in
      for (package, tree) in trees {
        let path = staging.imagePath(of: package)
        try await onThread { try tree.writeImage(to: path, with: writer) }
      }
    }
  }
}

extension LocalStore {
  /// Removes debug symbols or sources of packages that are not there yet: a build that was killed on the way to its store has left them.
  func removeLeftovers(_ packages: [PackageID]) async throws {
    let leftovers = try packages.filter { package throws(StoreError) in try contains(package) }
    if !leftovers.isEmpty { try await remove(leftovers) }
  }
}

extension PackageTree {
  fileprivate func writeImage(to path: FilePath, with writer: ImageWriter) throws {
    let file = try FileDescriptor.open(
      path, .readWrite, options: [.create, .exclusiveCreate, .closeOnExec], permissions: FilePermissions(rawValue: 0o644))
    defer { try? file.close() }
    var stream = stream()
    _ = try writer.write(&stream, to: file, path: path)
  }
}
