// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import SystemPackage

/// The entries of an image that is being written: everything but the files' content, which is written as it comes.
struct ImagePlan {
  /// A file, directory and so on. Directories know their entries, so that hard links are entries with the same node.
  struct Node {
    var kind: TreeEntry.Kind
    var permissions: UInt16 = 0o755
    var userID: UInt32 = 0
    var groupID: UInt32 = 0
    var modificationTime: UInt32
    var extendedAttributes: [ExtendedAttribute] = []
    var entries: [EntryName: Int] = [:]
    var parent: Int
    /// A parent that was no entry itself, so far.
    var isImplicit = false
    var linkCount: UInt32 = 1
    var number: UInt32 = 0
    var content = StoredContent()
  }

  /// Where a file's content was stored.
  struct StoredContent {
    var start: UInt64 = 0
    var byteCount: UInt64 = 0
    /// The block list; nil when the content is one uncompressed run.
    var blocks: [UInt32]?
    /// In blocks of zeros that are not stored.
    var sparse: UInt64 = 0
  }

  let image: FilePath
  private let latestTime: Int64?
  private(set) var newestTime: UInt32 = 0
  private var isEmpty = true
  var nodes: [Node]
  /// The directory that was looked up last: entries of one directory mostly come together.
  private var recent: (path: TreePath, node: Int) = (.root, 0)

  /// Deeper than anything that can be named with a path of Linux.
  static let maximumDepth = ImageTree.maximumDepth

  init(image: FilePath, latestTime: Int64?) {
    self.image = image
    self.latestTime = latestTime
    nodes = [Node(kind: .directory, modificationTime: 0, parent: 0, isImplicit: true)]
  }

  func invalid(_ path: TreePath, _ reason: String) -> StoreError {
    .invalidArchive(image, entry: path.description, reason: reason)
  }

  /// Seconds as the format has them: 32 bits without sign.
  private func clamp(_ time: Int64) -> UInt32 {
    UInt32(clamping: min(time, latestTime ?? .max))
  }

  /// Adds an entry and its missing parents.
  mutating func add(_ entry: TreeEntry) throws(StoreError) -> Int {
    let time = clamp(entry.modificationTime)
    newestTime = max(newestTime, time)
    if isEmpty {
      nodes[0].modificationTime = time
      isEmpty = false
    }
    guard entry.path.components.count <= ImagePlan.maximumDepth else { throw invalid(entry.path, "it lies too deep") }
    guard let name = entry.path.name else { return try replace(0, with: entry, time) }
    let parent = try directory(entry.path.parent, time)
    if let node = nodes[parent].entries[name] { return try replace(node, with: entry, time) }
    if case .hardLink(let target) = entry.kind {
      guard let node = find(target), nodes[node].kind != .directory else {
        throw invalid(entry.path, "it is a hard link to «\(target.description.printable)», which is no file that came before")
      }
      nodes[parent].entries[name] = node
      nodes[node].linkCount += 1
      return node
    }
    nodes.append(Node(kind: entry.kind, modificationTime: time, parent: parent))
    nodes[parent].entries[name] = nodes.count - 1
    try describe(nodes.count - 1, as: entry, time)
    return nodes.count - 1
  }

  private mutating func replace(_ node: Int, with entry: TreeEntry, _ time: UInt32) throws(StoreError) -> Int {
    guard nodes[node].isImplicit, entry.kind == .directory else {
      throw invalid(entry.path, entry.path.isRoot ? "the root is no directory, or there twice" : "it is there twice")
    }
    nodes[node].isImplicit = false
    try describe(node, as: entry, time)
    return node
  }

  private mutating func describe(_ node: Int, as entry: TreeEntry, _ time: UInt32) throws(StoreError) {
    if case .symbolicLink(let target) = entry.kind, target.isEmpty || target.count > Inode.maximumTarget || target.contains(0) {
      throw invalid(entry.path, "a link's target has 1 to \(Inode.maximumTarget) bytes and no NUL")
    }
    nodes[node].permissions = entry.permissions & 0o7777
    nodes[node].userID = entry.userID
    nodes[node].groupID = entry.groupID
    nodes[node].modificationTime = time
    nodes[node].extendedAttributes = try sorted(entry)
  }

  /// The attributes by name. SquashFS has a place for three namespaces only; dropping others silently could open what
  /// an ACL closes.
  private func sorted(_ entry: TreeEntry) throws(StoreError) -> [ExtendedAttribute] {
    let attributes = entry.extendedAttributes.sorted { $0.name.lexicographicallyPrecedes($1.name) }
    var last: [UInt8] = []
    for attribute in attributes {
      let name = String(decoding: attribute.name, as: UTF8.self)
      guard ["user.", "trusted.", "security."].contains(where: { name.hasPrefix($0) && name.utf8.count > $0.utf8.count }) else {
        throw invalid(entry.path, "its attribute «\(name.printable)» has no place in SquashFS; remove it with setfattr -x")
      }
      guard attribute.name != last, attribute.name.count <= 255, !attribute.name.contains(0), attribute.value.count <= 65536
      else { throw invalid(entry.path, "its attribute «\(name.printable)» is there twice or too long") }
      last = attribute.name
    }
    return attributes
  }

  private mutating func directory(_ path: TreePath, _ time: UInt32) throws(StoreError) -> Int {
    if path == recent.path { return recent.node }
    var node = 0
    for (depth, name) in path.components.enumerated() {
      if let next = nodes[node].entries[name] {
        guard nodes[next].kind == .directory else {
          throw invalid(path, "«\(TreePath(components: Array(path.components[...depth])).description.printable)» is no directory")
        }
        node = next
      } else {
        nodes.append(Node(kind: .directory, modificationTime: time, parent: node, isImplicit: true))
        nodes[node].entries[name] = nodes.count - 1
        node = nodes.count - 1
      }
    }
    recent = (path, node)
    return node
  }

  private func find(_ path: TreePath) -> Int? {
    var node = 0
    for name in path.components {
      guard let next = nodes[node].entries[name] else { return nil }
      node = next
    }
    return node
  }
}

extension ImagePlan {
  /// A directory and its entries by name, in the order in which everything is numbered and written: what is in a
  /// directory comes before it.
  struct Directory {
    let node: Int
    let entries: [(name: EntryName, node: Int)]
  }

  /// Numbers the nodes from 1 on and returns the directories, the root last.
  mutating func number() -> [Directory] {
    var result: [Directory] = []
    var stack: [(directory: Directory, next: Int)] = [(sortedDirectory(0), 0)]
    var last: UInt32 = 0
    while let (directory, next) = stack.last {
      if let index = directory.entries[next...].firstIndex(where: { nodes[$0.node].kind == .directory }) {
        stack[stack.count - 1].next = index + 1
        stack.append((sortedDirectory(directory.entries[index].node), 0))
        continue
      }
      stack.removeLast()
      var subdirectories: UInt32 = 0
      for (_, node) in directory.entries {
        if nodes[node].kind == .directory {
          subdirectories += 1
        } else if nodes[node].number == 0 {
          last += 1
          nodes[node].number = last
        }
      }
      last += 1
      nodes[directory.node].number = last
      nodes[directory.node].linkCount = 2 + subdirectories
      result.append(directory)
    }
    return result
  }

  private func sortedDirectory(_ node: Int) -> Directory {
    Directory(node: node, entries: nodes[node].entries.map { ($0.key, $0.value) }.sorted { $0.0 < $1.0 })
  }
}
