// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import Crypto
import DistriStore
import SystemPackage

/// What a file system shall contain: planned whole before anything is written, so that it can be checked, measured and hashed.
struct Contents: Equatable {
  /// One file, directory or link.
  struct Node: Equatable {
    var kind: Kind
    /// The low twelve bits of the mode.
    var permissions: UInt16
    var userID: UInt32 = 0
    var groupID: UInt32 = 0
  }

  enum Kind: Equatable {
    case directory
    case regular(Source)
    /// Raw bytes.
    case symbolicLink(target: [UInt8])
    case characterDevice(major: UInt32, minor: UInt32)
  }

  /// Where the bytes of a file are.
  enum Source: Equatable {
    case bytes([UInt8])
    /// A file of the host, copied when the file system is written.
    case file(FilePath, byteCount: UInt64)

    var byteCount: UInt64 {
      switch self {
      case .bytes(let bytes): UInt64(bytes.count)
      case .file(_, let count): count
      }
    }
  }

  private var nodes: [TreePath: Node] = [:]

  /// Parents before what they hold, siblings in the order of their bytes. Without the root.
  var entries: [(path: TreePath, node: Node)] {
    nodes.sorted { $0.key.components.lexicographicallyPrecedes($1.key.components) }.map { ($0.key, $0.value) }
  }

  /// Nil where there is nothing.
  subscript(path: TreePath) -> Node? { nodes[path] }

  /// Adds a node and the directories on the way. What is there already stays.
  ///
  /// - Returns: whether the node was added.
  @discardableResult
  mutating func add(_ path: TreePath, _ node: Node) throws(MkimageError) -> Bool {
    guard !path.isRoot, nodes[path] == nil else { return false }
    if !path.parent.isRoot {
      if nodes[path.parent] == nil { try addDirectory(path.parent) }
      guard nodes[path.parent]?.kind == .directory else {
        throw .unusableFile("/\(path)", reason: "/\(path.parent) is no directory in the image")
      }
    }
    nodes[path] = node
    return true
  }

  mutating func addDirectory(_ path: TreePath, permissions: UInt16 = 0o755) throws(MkimageError) {
    try add(path, Node(kind: .directory, permissions: permissions))
  }

  mutating func addLink(_ path: TreePath, to target: String) throws(MkimageError) {
    try add(path, Node(kind: .symbolicLink(target: Array(target.utf8)), permissions: 0o777))
  }

  mutating func addFile(_ path: TreePath, _ source: Source, permissions: UInt16 = 0o644, groupID: UInt32 = 0) throws(MkimageError) {
    try add(path, Node(kind: .regular(source), permissions: permissions, groupID: groupID))
  }

  mutating func addFile(_ path: TreePath, _ text: String, permissions: UInt16 = 0o644, groupID: UInt32 = 0) throws(MkimageError) {
    try addFile(path, .bytes(Array(text.utf8)), permissions: permissions, groupID: groupID)
  }

  /// Gives a file that is there other bytes.
  mutating func replace(_ path: TreePath, by bytes: [UInt8]) { nodes[path]?.kind = .regular(.bytes(bytes)) }

  /// A UUID (version 8, RFC 9562) that depends on nothing but what is planned: other contents have another one, the same
  /// contents the same. Of files of the host, which are packages, only the name and the size count.
  func identifier(salt: String) -> [UInt8] {
    var hash = SHA256()
    hash.update(data: Array(salt.utf8))
    for (path, node) in entries {
      var record = "\n\(path) \(node.permissions) \(node.userID) \(node.groupID) "
      switch node.kind {
      case .directory: record += "d"
      case .symbolicLink(let target): record += "l\(target)"
      case .characterDevice(let major, let minor): record += "c\(major):\(minor)"
      case .regular(.bytes(let bytes)): record += "f\(SHA256.hash(data: bytes))"
      case .regular(.file(_, let count)): record += "f\(count)"
      }
      hash.update(data: Array(record.utf8))
    }
    var bytes = Array(hash.finalize().prefix(16))
    bytes[6] = bytes[6] & 0x0f | 0x80
    bytes[8] = bytes[8] & 0x3f | 0x80
    return bytes
  }
}

extension FilePath {
  /// A file of the host as the source of one in the image.
  ///
  /// - Throws: ``MkimageError/unusableFile(_:reason:)`` where it is not there.
  func asSource() throws(MkimageError) -> Contents.Source {
    do {
      let file = try FileDescriptor.open(self, .readOnly, options: .closeOnExec)
      defer { try? file.close() }
      return .file(self, byteCount: UInt64(try file.seek(offset: 0, from: .end)))
    } catch {
      throw .unusableFile(string, reason: "\(error)")
    }
  }
}

extension Contents.Source {
  /// Appends the bytes to a file.
  ///
  /// - Throws: ``MkimageError/unusableFile(_:reason:)`` for a file of the host that has become shorter.
  func copy(to output: FileDescriptor) throws {
    switch self {
    case .bytes(let bytes): try output.writeAll(bytes)
    case .file(let path, let byteCount):
      let input = try FileDescriptor.open(path, .readOnly, options: .closeOnExec)
      defer { try? input.close() }
      var buffer = [UInt8](repeating: 0, count: 1 << 20)
      var rest = byteCount
      while rest > 0 {
        let wanted = Int(min(rest, UInt64(buffer.count)))
        let count = try buffer.withUnsafeMutableBytes {
          try input.read(into: UnsafeMutableRawBufferPointer(rebasing: $0[..<wanted]))
        }
        guard count > 0 else { throw MkimageError.unusableFile(path.string, reason: "it shrank while it was being copied") }
        try output.writeAll(buffer[..<count])
        rest -= UInt64(count)
      }
    }
  }
}
