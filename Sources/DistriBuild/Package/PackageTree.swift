// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore
import SystemPackage

/// The files of one package on the way to its image: what `lstat` will say of them is kept here, their contents lie anywhere.
///
/// Owners, setuid bits and capabilities need no privilege that way, and the passes after the build steps need not touch a disk.
public struct PackageTree: Sendable {
  /// Where the bytes of a regular file are.
  public enum Contents: Sendable, Hashable {
    /// In memory.
    case bytes([UInt8])
    /// In a file that stays as it is until the image is written.
    case file(FilePath)
  }

  /// An entry and, for a regular file, its bytes.
  public struct Node: Sendable, Hashable {
    /// What it is.
    public var entry: TreeEntry
    /// nil for everything but regular files.
    public var contents: Contents?

    /// Makes a node.
    public init(entry: TreeEntry, contents: Contents? = nil) {
      self.entry = entry
      self.contents = contents
    }
  }

  private var nodes: [TreePath: Node] = [:]
  private var children: [TreePath: Set<EntryName>] = [:]
  /// The time, in seconds since 1970, of what is added without one of its own.
  public var modificationTime: Int64

  /// Makes an empty tree.
  public init(modificationTime: Int64 = 0) { self.modificationTime = modificationTime }

  /// Takes in a directory; the contents of files stay where they are.
  ///
  /// - Throws: what the directory's ``DirectoryTree`` throws.
  public init(directory: FilePath, modificationTime: Int64 = 0) throws {
    self.init(modificationTime: modificationTime)
    var tree = try DirectoryTree(path: directory)
    while let entry = try tree.next() {
      guard !entry.path.isRoot else { continue }
      var contents: Contents?
      if case .regular = entry.kind { contents = .file(entry.path.components.reduce(directory) { $0.appending($1.description) }) }
      insert(Node(entry: entry, contents: contents))
    }
  }

  /// How many entries there are, the root not counted.
  public var count: Int { nodes.count }

  /// The node at a path; links are not followed.
  public subscript(_ path: TreePath) -> Node? { nodes[path] }

  /// The regular file at a path, also by its further names.
  public func file(at path: TreePath) -> Node? {
    guard let node = nodes[path] else { return nil }
    return switch node.entry.kind {
    case .regular: node
    case .hardLink(let first): nodes[first]
    default: nil
    }
  }

  /// Adds a node or replaces the one at its path; directories above it that are missing are made.
  public mutating func insert(_ node: Node) {
    let path = node.entry.path
    guard !path.isRoot else { return }
    makeDirectories(above: path)
    nodes[path] = node
    if let name = path.name { children[path.parent, default: []].insert(name) }
  }

  /// Adds a regular file of bytes in memory.
  public mutating func insertFile(_ path: TreePath, _ bytes: [UInt8], permissions: UInt16 = 0o644) {
    insert(
      Node(
        entry: TreeEntry(
          path: path, kind: .regular(byteCount: UInt64(bytes.count)), permissions: permissions,
          modificationTime: modificationTime),
        contents: .bytes(bytes)))
  }

  /// Adds a symbolic link.
  public mutating func insertLink(_ path: TreePath, to target: String) {
    insert(
      Node(
        entry: TreeEntry(
          path: path, kind: .symbolicLink(target: Array(target.utf8)), permissions: 0o777, modificationTime: modificationTime)))
  }

  /// Removes an entry and what is below it.
  public mutating func remove(_ path: TreePath) {
    for name in children.removeValue(forKey: path) ?? [] { remove(path.appending(name)) }
    nodes[path] = nil
    if let name = path.name { children[path.parent]?.remove(name) }
  }

  /// All nodes, parents first, each directory's entries in bytewise order.
  public var sortedNodes: [Node] {
    nodes.values.sorted { $0.entry.path.components.lexicographicallyPrecedes($1.entry.path.components) }
  }

  private mutating func makeDirectories(above path: TreePath) {
    let parent = path.parent
    if parent.isRoot || nodes[parent] != nil { return }
    insert(Node(entry: TreeEntry(path: parent, kind: .directory, permissions: 0o755, modificationTime: modificationTime)))
  }

  /// The bytes of a regular file, at most so many from its start.
  ///
  /// - Throws: ``BuildError/system(operation:path:_:)``.
  public func contents(of node: Node, limit: Int) throws(BuildError) -> [UInt8] {
    switch node.contents {
    case nil: return []
    case .bytes(let bytes): return Array(bytes.prefix(limit))
    case .file(let path):
      do {
        let file = try FileDescriptor.open(path, .readOnly, options: [.closeOnExec, .noFollow])
        return try file.closeAfter { try file.bytes(at: 0, atMost: limit) }
      } catch {
        throw .system(operation: "read", path: path, error as? Errno ?? .ioError)
      }
    }
  }
}

extension PackageTree: PackageContents {
  /// What is at the path; nil for nothing.
  public func kind(of path: TreePath) -> ContentKind? {
    if path.isRoot { return .directory }
    return switch nodes[path]?.entry.kind {
    case nil: nil
    case .directory: .directory
    case .regular, .hardLink: .file
    case .symbolicLink(let target): .symbolicLink(target: target)
    case .characterDevice, .blockDevice, .fifo, .socket: .other
    }
  }

  /// The names of a directory's entries, sorted; none where there is no directory.
  public func names(in directory: TreePath) -> [EntryName] { (children[directory] ?? []).sorted() }
}
