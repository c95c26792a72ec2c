// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import SystemPackage

/// Everything a view answers of one package but the contents of its files: read in place, nothing is parsed.
///
/// Files are numbered from 0, the root, so that a number means the same each time the same image is indexed; names of one file that is
/// hard-linked share one. All methods may be called from any thread. Format: `docs/formats.md`.
package final class PackageIndex: Sendable {
  package static let format = IndexFile.Format(magic: "distriPI", version: 1, sectionCount: 4)
  static let nodeByteCount = 56
  static let entryByteCount = 16

  private let file: IndexFile
  private let nodes: IndexBytes
  private let entries: IndexBytes
  private let attributes: IndexBytes
  /// The names of all entries and the targets of all links.
  package let names: IndexBytes
  /// How many files, directories and so on there are.
  package let nodeCount: UInt32

  /// A file, directory and so on.
  package struct Node: Sendable {
    /// As in `st_mode`.
    package let mode: UInt32
    package let userID: UInt32
    package let groupID: UInt32
    package let linkCount: UInt32
    /// In bytes.
    package let byteCount: UInt64
    /// In seconds since 1970.
    package let modificationTime: Int64
    fileprivate let attributeOffset: UInt32
    fileprivate let detail: UInt64
    fileprivate let length: UInt32
    /// Where the inode is in the image, for contents that are not stored in one piece.
    package let image: PackageImage.Node

    /// What it is, by the four upper bits of the mode.
    package var kind: PackageImage.Kind { PackageImage.Kind(mode: mode) ?? .regular }

    /// Where the whole contents of a file lie in the image, uncompressed.
    package var storedRun: Range<UInt64>? {
      guard detail != .max, byteCount <= .max - detail else { return nil }
      return detail..<(detail + byteCount)
    }

    /// The entries of a directory, sorted by name.
    package var entries: Range<UInt32> {
      guard kind == .directory, detail <= UInt64(UInt32.max - length) else { return 0..<0 }
      return UInt32(detail)..<(UInt32(detail) + length)
    }

    /// Of a link: where its target lies among the names.
    package var target: (offset: Int, length: Int) {
      kind == .symbolicLink ? (Int(truncatingIfNeeded: detail), Int(length)) : (0, 0)
    }

    /// Of a device.
    package var device: (major: UInt32, minor: UInt32) { (UInt32(detail >> 32), UInt32(truncatingIfNeeded: detail)) }

    /// Whether it is a character or block device.
    package var isDevice: Bool { kind == .characterDevice || kind == .blockDevice }
  }

  /// A name of a directory.
  package struct Entry: Sendable {
    /// Where the name lies among the names.
    package let nameOffset: Int
    package let nameLength: Int
    package let node: UInt32
  }

  /// Checks a mapped index against the image that it has to belong to; nil when it does not, or is damaged.
  package init?(_ mapping: MappedFile, of image: ImageIdentity) {
    guard let file = IndexFile(mapping, Self.format), image.isBinding(file.binding),
      (0..<Self.format.sectionCount).allSatisfy({ file.isIntact($0) })
    else { return nil }
    self.file = file
    nodes = file.section(0)
    entries = file.section(1)
    names = file.section(2)
    attributes = file.section(3)
    nodeCount = UInt32(truncatingIfNeeded: nodes.count / Self.nodeByteCount)
  }

  /// The bytes of the same index, for a copy of the image.
  package func bytes(boundTo copy: ImageIdentity) -> [UInt8] { file.bytes(boundTo: copy.binding) }

  /// Whether its file has become shorter while it was mapped.
  package var hasFaulted: Bool { file.mapping.hasFaulted }

  /// The root directory's number.
  package static let root: UInt32 = 0

  /// The node of a number; nil when there is none.
  package func node(_ number: UInt32) -> Node? {
    guard number < nodeCount else { return nil }
    let offset = Int(number) * Self.nodeByteCount
    let isDirectory = nodes.u32(offset) & 0o170000 == PackageImage.Kind.directory.modeBits
    // Never past the entries that are there, whatever the index says.
    let entryCount = UInt64(entries.count / Self.entryByteCount)
    let rest = isDirectory ? entryCount - min(entryCount, nodes.u64(offset + 32)) : UInt64(UInt32.max)
    return Node(
      mode: nodes.u32(offset), userID: nodes.u32(offset + 4), groupID: nodes.u32(offset + 8), linkCount: nodes.u32(offset + 12),
      byteCount: nodes.u64(offset + 16), modificationTime: Int64(nodes.u32(offset + 24)), attributeOffset: nodes.u32(offset + 28),
      detail: nodes.u64(offset + 32), length: UInt32(min(rest, UInt64(nodes.u32(offset + 40)))),
      image: PackageImage.Node(reference: nodes.u64(offset + 48)))
  }

  /// The entry of a number, from a node's ``Node/entries``.
  package func entry(_ number: UInt32) -> Entry {
    let offset = Int(number) * Self.entryByteCount
    return Entry(nameOffset: Int(entries.u32(offset)), nameLength: Int(entries.u16(offset + 8)), node: entries.u32(offset + 4))
  }

  /// The node of a name in a directory.
  package func lookUp(_ name: [UInt8], in directory: Node) -> UInt32? {
    var range = directory.entries
    while !range.isEmpty {
      let middle = range.lowerBound + UInt32(range.count / 2)
      let entry = entry(middle)
      let order = names.compare(entry.nameOffset, entry.nameLength, with: name)
      if order == 0 { return entry.node }
      range = order < 0 ? (middle + 1)..<range.upperBound : range.lowerBound..<middle
    }
    return nil
  }

  /// What lies at the path below the root. Symbolic links are not followed.
  package func node(at path: TreePath) -> UInt32? {
    var number = Self.root
    for name in path.components {
      guard let node = node(number), let next = lookUp(name.bytes, in: node) else { return nil }
      number = next
    }
    return number
  }

  /// Where a link points.
  package func target(of node: Node) -> [UInt8] { names.array(node.target.offset, node.target.length) }

  /// All extended attributes, in the image's order.
  package func extendedAttributes(of node: Node) -> [ExtendedAttribute] {
    guard node.attributeOffset > 0 else { return [] }
    var offset = Int(node.attributeOffset) - 1
    var result: [ExtendedAttribute] = []
    let count = attributes.u32(offset)
    offset += 4
    for _ in 0..<count {
      if offset >= attributes.count { break }
      let (nameLength, valueLength) = (Int(attributes.u16(offset)), Int(attributes.u32(offset + 2)))
      let name = attributes.array(offset + 6, nameLength)
      result.append(ExtendedAttribute(name: name, value: attributes.array(offset + 6 + nameLength, valueLength)))
      offset += 6 + nameLength + valueLength
    }
    return result
  }
}

extension PackageImage.Kind {
  /// The type bits of `st_mode`, as Linux has them.
  package var modeBits: UInt32 {
    switch self {
    case .fifo: 0o010000
    case .characterDevice: 0o020000
    case .directory: 0o040000
    case .blockDevice: 0o060000
    case .regular: 0o100000
    case .symbolicLink: 0o120000
    case .socket: 0o140000
    }
  }

  package init?(mode: UInt32) {
    switch mode & 0o170000 {
    case 0o010000: self = .fifo
    case 0o020000: self = .characterDevice
    case 0o040000: self = .directory
    case 0o060000: self = .blockDevice
    case 0o100000: self = .regular
    case 0o120000: self = .symbolicLink
    case 0o140000: self = .socket
    default: return nil
    }
  }
}
