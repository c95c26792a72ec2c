// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore
import SystemPackage

/// Puts what lies in `etc/` of packages below a root's `/etc`, where nothing is yet.
///
/// What is there is never changed, whatever it is. Symbolic links on the way are followed as long as they stay below the root.
/// A file appears whole, by a rename.
struct ConfigurationDefaults {
  private static let maximumDepth = 64
  private static let maximumFileByteCount = 64 << 20

  private let root: RootedDirectory

  /// - Throws: ``RepositoryError/system(operation:path:_:)``.
  init(root path: FilePath) throws(RepositoryError) {
    try Files.makeDirectories(path)
    root = try RootedDirectory(root: path)
  }

  /// Devices, pipes and sockets are left out.
  ///
  /// - Throws: `StoreError.damagedImage`; ``RepositoryError/system(operation:path:_:)``, with `EXDEV` where a symbolic link below
  ///   the root leads out of it.
  func copy(from image: PackageImage) throws {
    let name = try EntryName("etc")
    guard let directory = try image.lookUp(name, in: image.root), try image.attributes(of: directory).kind == .directory else {
      return
    }
    try copy(directory, of: image, to: TreePath(components: [name]), depth: 0)
  }

  private func copy(_ directory: PackageImage.Node, of image: PackageImage, to path: TreePath, depth: Int) throws {
    guard depth < Self.maximumDepth else {
      throw StoreError.damagedImage(image.path, place: "directory «\(path)»", reason: "nested more than \(Self.maximumDepth) deep")
    }
    guard let target = try makeDirectory(path, like: try image.attributes(of: directory)) else { return }
    for entry in try image.entries(of: directory) {
      if entry.kind == .directory {
        try copy(entry.node, of: image, to: path.appending(entry.name), depth: depth + 1)
        continue
      }
      guard !target.contains(entry.name) else { continue }
      switch entry.kind {
      case .regular:
        let contents = try image.contents(of: entry.node, limit: Self.maximumFileByteCount)
        try target.createFile(entry.name, holding: contents, like: try image.attributes(of: entry.node))
      case .symbolicLink: try target.createLink(entry.name, to: try image.symbolicLinkTarget(of: entry.node))
      default: break
      }
    }
  }

  /// Nil when something other than a directory has the name: then it stays, and nothing is put below it.
  private func makeDirectory(_ path: TreePath, like attributes: PackageImage.Attributes) throws -> RootedDirectory? {
    guard let name = path.name else { return root }
    if let parent = try root.directory(path.parent) { try parent.createDirectory(name, like: attributes) }
    return try root.directory(path)
  }
}
