// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore

/// What is at a path of a package.
public enum ContentKind: Sendable, Hashable {
  /// A directory.
  case directory
  /// A regular file.
  case file
  /// A symbolic link; raw bytes.
  case symbolicLink(target: [UInt8])
  /// A device, pipe or socket.
  case other
}

/// The names in a package: of an image, or of a tree that is to become one.
public protocol PackageContents: Sendable {
  /// What is at the path, links not followed; nil for nothing.
  func kind(of path: TreePath) throws -> ContentKind?
  /// The names of a directory's entries, sorted; none where there is no directory.
  func names(in directory: TreePath) throws -> [EntryName]
}

extension PackageImage: PackageContents {
  /// What is at the path; nil for nothing.
  ///
  /// - Throws: ``StoreError/damagedImage(_:place:reason:)``.
  public func kind(of path: TreePath) throws -> ContentKind? {
    guard let node = try node(at: path) else { return nil }
    return switch try attributes(of: node).kind {
    case .directory: .directory
    case .regular: .file
    case .symbolicLink: .symbolicLink(target: try symbolicLinkTarget(of: node))
    case .characterDevice, .blockDevice, .fifo, .socket: .other
    }
  }

  /// The names of a directory's entries, sorted; none where there is no directory.
  ///
  /// - Throws: ``StoreError/damagedImage(_:place:reason:)``.
  public func names(in directory: TreePath) throws -> [EntryName] {
    guard let node = try node(at: directory), try attributes(of: node).kind == .directory else { return [] }
    return try entries(of: node).map(\.name)
  }
}

extension PackageContents {
  /// Follows symbolic links that stay inside the package.
  ///
  /// - Parameter package: links to `/ro/<package>/…` stay inside, too.
  /// - Returns: the path of something that is no link; nil when it is absent, outside, or a link that leads in circles.
  func resolve(_ path: TreePath, in package: PackageID) throws -> TreePath? {
    var rest = path.components, done: [EntryName] = [], links = 0
    while !rest.isEmpty {
      done.append(rest.removeFirst())
      switch try kind(of: TreePath(components: done)) {
      case nil: return nil
      case .symbolicLink(let target):
        links += 1
        guard links <= 40, target.count <= 4096 else { return nil }
        done.removeLast()
        guard let base = PackageLayout.inside(target, at: done, of: package) else { return nil }
        rest = base + rest
        done = []
      case .file, .other: if !rest.isEmpty { return nil }
      case .directory: break
      }
    }
    return TreePath(components: done)
  }

  /// Whether a directory is there, through links or not.
  func isDirectory(_ path: TreePath, in package: PackageID) throws -> Bool {
    guard let path = try resolve(path, in: package) else { return false }
    return try kind(of: path) == .directory
  }
}
