// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriArchive
import DistriStore
import SystemPackage
import TestSupport

/// All of a tree, to be compared: entries by path, each with its contents.
struct TreeSnapshot: Equatable {
  struct Item: Equatable {
    var entry: TreeEntry
    var contents: [UInt8]
  }

  var items: [String: Item] = [:]
  /// In the order in which they came.
  var order: [TreePath] = []

  init<Tree: FileTree>(_ tree: inout Tree) throws {
    while let entry = try tree.next() {
      var contents: [UInt8] = []
      if case .regular = entry.kind { contents = try tree.readContents(limit: .max) }
      items[entry.path.description] = Item(entry: entry, contents: contents)
      order.append(entry.path)
    }
  }

  init(directory: FilePath) throws {
    var tree = try DirectoryTree(path: directory)
    try self.init(&tree)
  }

  init(archive: FilePath, strippingComponents: Int = 0) throws {
    var tree = try ArchiveTree(path: archive, strippingComponents: strippingComponents)
    try self.init(&tree)
  }

  subscript(path: String) -> Item? { items[path] }

  static func == (a: TreeSnapshot, b: TreeSnapshot) -> Bool { a.items == b.items }

  /// The paths at which the two differ, for messages.
  func differences(from other: TreeSnapshot) -> [String] {
    Set(items.keys).union(other.items.keys).filter { items[$0] != other.items[$0] }.sorted()
      .map { "\($0): \(String(describing: items[$0]?.entry)) ≠ \(String(describing: other.items[$0]?.entry))" }
  }
}

/// Runs a shell script that has to succeed.
func shell(_ script: String, in folder: FilePath) async throws {
  let outcome = try await ToolProcess.run("/bin/bash", ["-euo", "pipefail", "-c", script], in: folder)
  if outcome.status != 0 { throw ScriptFailure(script: script, outcome: outcome.errors) }
}

struct ScriptFailure: Error {
  var script: String
  var outcome: String
}

/// The bytes of a file.
func bytes(of path: FilePath) throws -> [UInt8] {
  let file = try FileDescriptor.open(path, .readOnly)
  defer { try? file.close() }
  var result: [UInt8] = []
  var buffer = [UInt8](repeating: 0, count: 1 << 20)
  while case let count = try buffer.withUnsafeMutableBytes({ try file.read(into: $0) }), count > 0 {
    result += buffer.prefix(count)
  }
  return result
}

/// Makes or replaces a file.
func write(_ bytes: [UInt8], to path: FilePath) throws {
  let file = try FileDescriptor.open(
    path, .writeOnly, options: [.create, .truncate], permissions: FilePermissions(rawValue: 0o644))
  try file.closeAfter { _ = try file.writeAll(bytes) }
}
