// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

/// A path below the root of a tree: entry names, no `.` or `..`, never absolute. The root itself has no components.
public struct TreePath: Sendable, Hashable, CustomStringConvertible {
  /// From the root down.
  public var components: [EntryName]

  /// The root.
  public static let root = TreePath(components: [])

  /// Makes a path of names.
  public init(components: [EntryName]) { self.components = components }

  /// Parses a relative path as archives carry it: leading `/` and `./`, repeated and trailing slashes are dropped.
  ///
  /// - Throws: ``StoreError/invalidName(_:_:)`` for `..` or a component that cannot be a name.
  public init(parsing bytes: some Collection<UInt8>) throws(StoreError) {
    var components: [EntryName] = []
    for part in bytes.split(separator: UInt8(ascii: "/")) where !part.elementsEqual([UInt8(ascii: ".")]) {
      components.append(try EntryName(part))
    }
    self.components = components
  }

  /// - Throws: as ``init(parsing:)-(Collection<UInt8>)``.
  public init(parsing text: String) throws(StoreError) { try self.init(parsing: Array(text.utf8)) }

  /// The components joined by `/`, as raw bytes; empty for the root.
  public var bytes: [UInt8] { Array(components.map(\.bytes).joined(separator: [UInt8(ascii: "/")])) }

  /// Whether this is the root.
  public var isRoot: Bool { components.isEmpty }

  /// The directory that holds the entry; the root's is the root.
  public var parent: TreePath { TreePath(components: Array(components.dropLast())) }

  /// The last component, nil for the root.
  public var name: EntryName? { components.last }

  /// The path of an entry of this directory.
  public func appending(_ name: EntryName) -> TreePath { TreePath(components: components + [name]) }

  /// For display only.
  public var description: String { isRoot ? "." : String(decoding: bytes, as: UTF8.self) }
}
