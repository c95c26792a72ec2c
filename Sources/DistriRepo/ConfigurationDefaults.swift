// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore
import SystemPackage

/// Puts what lies in `etc/` of packages below a root's `/etc`, where nothing is yet.
///
/// A file that is there is replaced if it is the default of another version of the package that the store has, so that nobody has changed it.
/// Otherwise it stays, and beside it a default that is new is put as `.new`. What was there and is gone, somebody has removed. Symbolic links on the way are followed as long as they stay below the root.
/// A file appears whole, by a rename.
struct ConfigurationDefaults {
  private static let maximumDepth = 64
  private static let maximumFileByteCount = 64 << 20

  /// Another version of the package.
  struct Version {
    var image: PackageImage
    /// Whether it is what the machine uses up to now.
    var isSelected: Bool
  }

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
  ///
  /// - Returns: the paths of `.new` files.
  func copy(from image: PackageImage, after versions: [Version] = []) throws -> [String] {
    let name = try EntryName("etc")
    guard let directory = try image.lookUp(name, in: image.root), try image.attributes(of: directory).kind == .directory else {
      return []
    }
    var new: [String] = []
    try copy(directory, of: image, after: versions, to: TreePath(components: [name]), depth: 0, &new)
    return new
  }

  private func copy(
    _ directory: PackageImage.Node, of image: PackageImage, after versions: [Version], to path: TreePath, depth: Int,
    _ new: inout [String]
  ) throws {
    guard depth < Self.maximumDepth else {
      throw StoreError.damagedImage(image.path, place: "directory «\(path)»", reason: "nested more than \(Self.maximumDepth) deep")
    }
    guard let target = try makeDirectory(path, like: try image.attributes(of: directory)) else { return }
    for entry in try image.entries(of: directory) {
      if entry.kind == .directory {
        try copy(entry.node, of: image, after: versions, to: path.appending(entry.name), depth: depth + 1, &new)
        continue
      }
      let file = path.appending(entry.name)
      if target.contains(entry.name) {
        guard entry.kind == .regular else { continue }
        if let name = try update(entry, of: image, at: file, in: target, after: versions) {
          new.append(path.appending(name).description)
        }
        continue
      }
      // It was there, and somebody has removed it.
      if try versions.contains(where: { try $0.isSelected && $0.image.node(at: file) != nil }) { continue }
      switch entry.kind {
      case .regular:
        let contents = try image.contents(of: entry.node, limit: Self.maximumFileByteCount)
        try target.createFile(entry.name, holding: contents, like: try image.attributes(of: entry.node))
      case .symbolicLink: try target.createLink(entry.name, to: try image.symbolicLinkTarget(of: entry.node))
      default: break
      }
    }
  }

  /// The name of the file beside it, if there is one now.
  private func update(
    _ entry: PackageImage.Entry, of image: PackageImage, at path: TreePath, in target: RootedDirectory, after versions: [Version]
  ) throws -> EntryName? {
    if versions.isEmpty { return nil }
    let contents = try image.contents(of: entry.node, limit: Self.maximumFileByteCount)
    // Nil for what is no file below the root.
    let present = target.contents(of: entry.name, limit: Self.maximumFileByteCount)
    if present == contents { return nil }
    var isChanged = true
    for version in versions {
      guard let node = try version.image.node(at: path), try version.image.attributes(of: node).kind == .regular else { continue }
      let earlier = try version.image.contents(of: node, limit: Self.maximumFileByteCount)
      // There is nothing new to hear of.
      if version.isSelected, earlier == contents, present != earlier { return nil }
      if earlier == present { isChanged = false }
    }
    let attributes = try image.attributes(of: entry.node)
    guard isChanged else {
      try target.replaceFile(entry.name, by: contents, like: attributes)
      return nil
    }
    let name = try EntryName(entry.name.bytes + Array(".new".utf8))
    try target.replaceFile(name, by: contents, like: attributes)
    return name
  }

  /// Nil when something other than a directory has the name: then it stays, and nothing is put below it.
  private func makeDirectory(_ path: TreePath, like attributes: PackageImage.Attributes) throws -> RootedDirectory? {
    guard let name = path.name else { return root }
    if let parent = try root.directory(path.parent) { try parent.createDirectory(name, like: attributes) }
    return try root.directory(path)
  }
}
