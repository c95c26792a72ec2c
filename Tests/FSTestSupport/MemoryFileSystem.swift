// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriFS
import DistriStore
import Synchronization
import SystemPackage

/// The file system that tests make of a few lines: the second conformer of ``FileSystem``.
package final class MemoryFileSystem: LiveFileSystem {
  /// A file.
  package struct Node: Sendable {
    package var attributes: Attributes
    package var contents: [UInt8] = []
    package var extendedAttributes: [ExtendedAttribute] = []
    /// Sorted by name; of a directory.
    package var entries: [(name: EntryName, inode: NodeID)] = []
  }

  private struct State {
    var nodes: [NodeID: Node] = [:]
    var subscribers: [UInt64: @Sendable ([FileSystemChange]) -> Void] = [:]
    var awaited: [NodeID: @Sendable () async throws -> Void] = [:]
    var forgotten: [NodeID: UInt64] = [:]
  }

  private let state: Mutex<State>

  package init() {
    let root = Node(attributes: Attributes(inode: .root, kind: .directory, permissions: 0o755, linkCount: 2))
    state = Mutex(State(nodes: [.root: root]))
  }

  /// Adds a file and gives its inode.
  @discardableResult
  package func add(
    _ name: String, in directory: NodeID = .root, kind: PackageImage.Kind = .regular, permissions: UInt16 = 0o644,
    userID: UInt32 = 0, groupID: UInt32 = 0, modificationTime: Int64 = 1_000_000_000, contents: [UInt8] = [],
    extendedAttributes: [ExtendedAttribute] = []
  ) throws -> NodeID {
    let name = try EntryName(name)
    return state.withLock { state in
      let inode = NodeID(UInt64(state.nodes.count) + 1)
      state.nodes[inode] = Node(
        attributes: Attributes(
          inode: inode, kind: kind, permissions: permissions, userID: userID, groupID: groupID,
          linkCount: kind == .directory ? 2 : 1, byteCount: UInt64(contents.count), modificationTime: modificationTime),
        contents: contents, extendedAttributes: extendedAttributes)
      Self.insert(name, inode, in: directory, &state)
      if kind == .directory { state.nodes[directory]?.attributes.linkCount += 1 }
      return inode
    }
  }

  /// Adds so many empty files.
  package func addMany(_ count: Int, in directory: NodeID) throws {
    let names = try (0..<count).map { try EntryName("file-\($0)") }
    state.withLock { state in
      for name in names {
        let inode = NodeID(UInt64(state.nodes.count) + 1)
        state.nodes[inode] = Node(attributes: Attributes(inode: inode, kind: .regular, permissions: 0o644))
        state.nodes[directory]?.entries.append((name, inode))
      }
    }
  }

  /// Gives a file a further name.
  package func link(_ inode: NodeID, as name: String, in directory: NodeID = .root) throws {
    let name = try EntryName(name)
    state.withLock { state in
      Self.insert(name, inode, in: directory, &state)
      state.nodes[inode]?.attributes.linkCount += 1
    }
  }

  private static func insert(_ name: EntryName, _ inode: NodeID, in directory: NodeID, _ state: inout State) {
    state.nodes[directory]?.entries.append((name, inode))
    state.nodes[directory]?.entries.sort { $0.name < $1.name }
  }

  /// Makes reads of a file wait for a function until it has returned without an error.
  package func delayReads(of inode: NodeID, until isReady: @escaping @Sendable () async throws -> Void) {
    state.withLock { state in
      state.awaited[inode] = { [self] in
        try await isReady()
        self.state.withLock { $0.awaited[inode] = nil }
      }
    }
  }

  /// Exchanges what a name stands for, and reports it.
  package func replace(_ name: String, in directory: NodeID = .root, by inode: NodeID?) throws {
    let name = try EntryName(name)
    let subscribers = state.withLock { state in
      state.nodes[directory]?.entries.removeAll { $0.name == name }
      if let inode { Self.insert(name, inode, in: directory, &state) }
      return Array(state.subscribers.values)
    }
    for report in subscribers { report([.entry(name, in: directory), .directory(directory)]) }
  }

  /// How many references to an inode the kernel has given back.
  package func forgottenLookups(of inode: NodeID) -> UInt64 { state.withLock { $0.forgotten[inode] ?? 0 } }

  private func node(_ inode: NodeID) throws(FileSystemFailure) -> Node {
    guard let node = state.withLock({ $0.nodes[inode] }) else { throw .errno(.staleNFSFileHandle) }
    return node
  }

  package func lookUp(_ name: EntryName, in directory: NodeID) throws(FileSystemFailure) -> Attributes {
    let node = try node(directory)
    guard node.attributes.kind == .directory else { throw .errno(.notDirectory) }
    guard let entry = node.entries.first(where: { $0.name == name }) else { throw .errno(.noSuchFileOrDirectory) }
    return try self.node(entry.inode).attributes
  }

  package func attributes(of inode: NodeID) throws(FileSystemFailure) -> Attributes { try node(inode).attributes }

  package func entries(
    of directory: NodeID, after cookie: UInt64, _ emit: (EntryName, Attributes, UInt64) -> Bool
  ) throws(FileSystemFailure) {
    let node = try node(directory)
    guard node.attributes.kind == .directory else { throw .errno(.notDirectory) }
    for index in min(Int(clamping: cookie), node.entries.count)..<node.entries.count {
      let entry = node.entries[index]
      if !emit(entry.name, try self.node(entry.inode).attributes, UInt64(index) + 1) { return }
    }
  }

  package func read(_ file: NodeID, at offset: UInt64, count: Int, into reply: inout ReplyBuffer) throws(FileSystemFailure) {
    if let isReady = state.withLock({ $0.awaited[file] }) { throw .notReady(isReady) }
    let node = try node(file)
    guard node.attributes.kind == .regular else { throw .errno(.isDirectory) }
    reply.append(Array(node.contents.dropFirst(Int(clamping: offset)).prefix(count)))
  }

  package func symbolicLinkTarget(of link: NodeID, into reply: inout ReplyBuffer) throws(FileSystemFailure) {
    let node = try node(link)
    guard node.attributes.kind == .symbolicLink else { throw .errno(.invalidArgument) }
    reply.append(node.contents)
  }

  package func extendedAttributes(of inode: NodeID) throws(FileSystemFailure) -> [ExtendedAttribute] {
    try node(inode).extendedAttributes
  }

  package func forget(_ inode: NodeID, lookups: UInt64) { state.withLock { $0.forgotten[inode, default: 0] += lookups } }

  package func subscribe(_ report: @escaping @Sendable ([FileSystemChange]) -> Void) throws -> any ChangeSubscription {
    let key = state.withLock { state in
      let key = UInt64(state.subscribers.count)
      state.subscribers[key] = report
      return key
    }
    return Subscription(fileSystem: self, key: key)
  }

  private struct Subscription: ChangeSubscription {
    let fileSystem: MemoryFileSystem
    let key: UInt64
    func cancel() { fileSystem.state.withLock { $0.subscribers[key] = nil } }
  }
}
