// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore

/// A directory of the view that several packages fill. Immutable; a change makes a new one with the same number.
final class ExchangeDirectory: Sendable {
  /// A package that has this directory, too.
  struct Contributor: Sendable {
    var package: MountedPackage
    var contents: ExchangeContents
  }

  /// A name of the directory.
  struct Entry: Sendable {
    var name: EntryName
    /// Its number within the directory: kept for as long as it means the same, never given again. Also its position in listings.
    var number: UInt32
    var content: Content
  }

  /// What stands behind a name.
  enum Content: Sendable {
    case directory(UInt32)
    /// A link into the package, or the package's own link when `target` is given.
    case link(MountedPackage, target: [UInt8]?)
  }

  /// Its number within the view.
  let number: UInt32
  /// Below the view's root, such as `share/man`.
  let path: TreePath
  /// Where it lies in a package, such as `out/share/man`.
  let sourcePath: TreePath
  /// In order of precedence.
  let contributors: [Contributor]
  /// Sorted by name.
  let entries: [Entry]
  /// By an entry's number, its position in `entries`, or -1 when it is gone. Listings go by this, so that they survive changes.
  let positions: [Int32]
  /// How many of the entries are directories.
  let directoryCount: UInt32
  /// When the contents changed last, in seconds since 1970.
  let modificationTime: Int64

  init(
    number: UInt32, path: TreePath, sourcePath: TreePath, contributors: [Contributor], entries: [Entry], entryNumberLimit: Int,
    modificationTime: Int64
  ) {
    self.number = number
    self.path = path
    self.sourcePath = sourcePath
    self.contributors = contributors
    self.entries = entries
    self.modificationTime = modificationTime
    var positions = [Int32](repeating: -1, count: entryNumberLimit)
    var directoryCount: UInt32 = 0
    for (index, entry) in entries.enumerated() {
      positions[Int(entry.number)] = Int32(truncatingIfNeeded: index)
      if case .directory = entry.content { directoryCount += 1 }
    }
    self.positions = positions
    self.directoryCount = directoryCount
  }

  /// The directory's inode.
  var inode: NodeID { InodeCodec.directory(number) }

  /// The entry of a name.
  func entry(named name: EntryName) -> Entry? {
    var range = entries.indices
    while let middle = range.isEmpty ? nil : range.lowerBound + range.count / 2 {
      let candidate = entries[middle].name
      if candidate == name { return entries[middle] }
      range = candidate < name ? (middle + 1)..<range.upperBound : range.lowerBound..<middle
    }
    return nil
  }

  /// The entry of a number, while it is there.
  func entry(numbered number: UInt32) -> Entry? {
    guard number < positions.count else { return nil }
    let position = positions[Int(number)]
    return position < 0 ? nil : entries[Int(position)]
  }

  /// An entry's inode.
  func inode(of entry: Entry) -> NodeID {
    switch entry.content {
    case .directory(let number): InodeCodec.directory(number)
    case .link: InodeCodec.link(directory: number, entry: entry.number)
    }
  }

  /// Where a link points.
  func target(of entry: Entry) -> [UInt8] {
    guard case .link(let package, let target) = entry.content else { return [] }
    if let target { return target }
    var bytes: [UInt8] = []
    for _ in path.components { bytes += [UInt8(ascii: "."), UInt8(ascii: "."), UInt8(ascii: "/")] }
    bytes += Array(package.id.description.utf8)
    for component in sourcePath.components {
      bytes.append(UInt8(ascii: "/"))
      bytes += component.bytes
    }
    bytes.append(UInt8(ascii: "/"))
    return bytes + entry.name.bytes
  }

  /// What `lstat` says of an entry that is a link.
  func linkAttributes(of entry: Entry) -> Attributes {
    var time = modificationTime
    if case .link(let package, _) = entry.content { time = package.modificationTime }
    return Attributes(
      inode: inode(of: entry), kind: .symbolicLink, permissions: 0o777, byteCount: UInt64(target(of: entry).count),
      modificationTime: time)
  }
}
