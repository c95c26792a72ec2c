// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

/// The entries of an image, to pack or to extract: parents first, in the order of their names, further names of a file
/// as hard links.
///
/// A hostile image cannot make it endless: a directory that is reached twice, or nested deeper than maximumDepth, is an
/// error.
public struct ImageTree: FileTree {
  /// How deep directories may lie in each other.
  public static let maximumDepth = 1024

  private let image: PackageImage
  private var stack: [Level] = []
  private var visited: Set<PackageImage.Node> = []
  private var firstNames: [PackageImage.Node: TreePath] = [:]
  private var isStarted = false
  private var file: (node: PackageImage.Node, offset: UInt64)?

  private struct Level {
    let path: TreePath
    let entries: [PackageImage.Entry]
    var next = 0
  }

  /// Starts before the root.
  public init(_ image: PackageImage) { self.image = image }

  /// The next entry; the root comes first.
  ///
  /// - Throws: ``StoreError/damagedImage(_:place:reason:)``.
  public mutating func next() throws -> TreeEntry? {
    file = nil
    if !isStarted {
      isStarted = true
      return try entry(at: .root, image.root)
    }
    while let level = stack.last {
      guard level.next < level.entries.count else {
        stack.removeLast()
        continue
      }
      stack[stack.count - 1].next += 1
      let entry = level.entries[level.next]
      return try self.entry(at: level.path.appending(entry.name), entry.node)
    }
    return nil
  }

  /// Appends bytes of the regular file that ``next()`` gave last.
  ///
  /// - Throws: ``StoreError/damagedImage(_:place:reason:)``.
  public mutating func readContents(into output: inout OutputRawSpan) throws {
    guard let file else { return }
    let before = output.byteCount
    try image.read(file.node, at: file.offset, into: &output)
    self.file?.offset += UInt64(output.byteCount - before)
  }

  private mutating func entry(at path: TreePath, _ node: PackageImage.Node) throws(StoreError) -> TreeEntry {
    let attributes = try image.attributes(of: node)
    let kind: TreeEntry.Kind
    if attributes.kind == .directory {
      try enter(node, at: path)
      kind = .directory
    } else if let first = firstNames[node] {
      kind = .hardLink(to: first)
    } else {
      kind = try self.kind(of: node, attributes)
      if attributes.linkCount > 1 { firstNames[node] = path }
    }
    return TreeEntry(
      path: path, kind: kind, permissions: attributes.permissions, userID: attributes.userID,
      groupID: attributes.groupID,
      modificationTime: attributes.modificationTime, extendedAttributes: try image.extendedAttributes(of: node))
  }

  private mutating func enter(_ node: PackageImage.Node, at path: TreePath) throws(StoreError) {
    guard visited.insert(node).inserted else {
      throw image.damaged("directory «\(path.description.printable)»", "it has two names or contains itself")
    }
    guard stack.count < ImageTree.maximumDepth else {
      throw image.damaged(
        "directory «\(path.description.printable)»", "it lies deeper than \(ImageTree.maximumDepth) directories")
    }
    stack.append(Level(path: path, entries: try image.entries(of: node)))
  }

  private mutating func kind(
    of node: PackageImage.Node, _ attributes: PackageImage.Attributes
  ) throws(StoreError) -> TreeEntry.Kind {
    switch attributes.kind {
    case .directory: return .directory
    case .regular:
      file = (node, 0)
      return .regular(byteCount: attributes.byteCount)
    case .symbolicLink: return .symbolicLink(target: try image.symbolicLinkTarget(of: node))
    case .characterDevice: return .characterDevice(major: attributes.device.major, minor: attributes.device.minor)
    case .blockDevice: return .blockDevice(major: attributes.device.major, minor: attributes.device.minor)
    case .fifo: return .fifo
    case .socket: return .socket
    }
  }
}
