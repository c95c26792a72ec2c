// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

/// Indexes an image. The image may be hostile: every directory is visited once, so loops and directories with two parents are found, and
/// what the index takes is bounded.
struct PackageIndexBuilder {
  private static let maximumEntryCount = 4 << 20
  private static let maximumTextByteCount = 256 << 20

  private let image: PackageImage
  private var nodes: [UInt8] = []
  private var entries: [UInt8] = []
  private var names: [UInt8] = []
  private var attributes: [UInt8] = []
  private var numbers: [PackageImage.Node: UInt32] = [:]
  /// Directories whose entries are still to be listed.
  private var pending: [(number: UInt32, node: PackageImage.Node)] = []

  private init(_ image: PackageImage) { self.image = image }

  /// The bytes of the index of an image.
  ///
  /// - Throws: ``StoreError/damagedImage(_:place:reason:)``.
  static func bytes(of image: PackageImage, _ identity: ImageIdentity) throws(StoreError) -> [UInt8] {
    var builder = PackageIndexBuilder(image)
    _ = try builder.add(image.root, kind: .directory)
    // First come, first listed: the entries of a directory lie side by side.
    var next = 0
    while next < builder.pending.count {
      try builder.list(builder.pending[next])
      next += 1
    }
    return IndexFile.bytes(
      PackageIndex.format, binding: identity.binding,
      sections: [builder.nodes, builder.entries, builder.names, builder.attributes])
  }

  private mutating func list(_ directory: (number: UInt32, node: PackageImage.Node)) throws(StoreError) {
    let found = try image.entries(of: directory.node)
    let first = entries.count / PackageIndex.entryByteCount
    guard first + found.count <= Self.maximumEntryCount else {
      throw damaged("more than \(Self.maximumEntryCount) entries")
    }
    for entry in found {
      let number = try add(entry.node, kind: entry.kind)
      entries.append(number: try place(entry.name.bytes))
      entries.append(number: number)
      entries.append(number: UInt16(entry.name.bytes.count))
      entries.append(number: UInt16(0))
      entries.append(number: directory.number)
    }
    let record = Int(directory.number) * PackageIndex.nodeByteCount
    set(UInt64(first), at: record + 32)
    set(UInt32(found.count), at: record + 40)
  }

  /// The number of a file, indexed when it is met first.
  private mutating func add(_ node: PackageImage.Node, kind: PackageImage.Kind) throws(StoreError) -> UInt32 {
    if let known = numbers[node] {
      guard kind != .directory else { throw damaged("a directory that has two names, or a loop") }
      return known
    }
    let number = UInt32(nodes.count / PackageIndex.nodeByteCount)
    let found = try image.attributes(of: node)
    guard found.kind == kind else { throw damaged("an entry says that inode \(found.inodeNumber) is something else") }
    numbers[node] = number
    var detail: UInt64 = 0
    var length: UInt32 = 0
    switch kind {
    case .directory: pending.append((number, node))
    case .regular: detail = try image.storedRun(of: node)?.lowerBound ?? .max
    case .symbolicLink:
      let target = try image.symbolicLinkTarget(of: node)
      detail = UInt64(try place(target))
      length = UInt32(target.count)
    case .characterDevice, .blockDevice: detail = UInt64(found.device.major) << 32 | UInt64(found.device.minor)
    case .fifo, .socket: break
    }
    nodes.append(number: kind.modeBits | UInt32(found.permissions))
    nodes.append(number: found.userID)
    nodes.append(number: found.groupID)
    nodes.append(number: found.linkCount)
    nodes.append(number: found.byteCount)
    nodes.append(number: UInt32(truncatingIfNeeded: found.modificationTime))
    nodes.append(number: try placeAttributes(of: node))
    nodes.append(number: detail)
    nodes.append(number: length)
    nodes.append(number: UInt32(0))
    nodes.append(number: node.reference)
    return number
  }

  private mutating func place(_ text: [UInt8]) throws(StoreError) -> UInt32 {
    let offset = names.count
    names += text
    guard names.count <= Self.maximumTextByteCount else { throw damaged("names of more than \(Self.maximumTextByteCount) bytes") }
    return UInt32(offset)
  }

  /// Where the attributes of a file lie, plus 1; 0 when it has none.
  private mutating func placeAttributes(of node: PackageImage.Node) throws(StoreError) -> UInt32 {
    let found = try image.extendedAttributes(of: node)
    if found.isEmpty { return 0 }
    let offset = attributes.count
    attributes.append(number: UInt32(found.count))
    for attribute in found {
      attributes.append(number: UInt16(attribute.name.count))
      attributes.append(number: UInt32(attribute.value.count))
      attributes += attribute.name + attribute.value
    }
    guard attributes.count <= Self.maximumTextByteCount else {
      throw damaged("attributes of more than \(Self.maximumTextByteCount) bytes")
    }
    return UInt32(offset) + 1
  }

  private mutating func set<T: FixedWidthInteger>(_ number: T, at offset: Int) {
    var bytes: [UInt8] = []
    bytes.append(number: number)
    nodes.replaceSubrange(offset..<(offset + bytes.count), with: bytes)
  }

  private func damaged(_ reason: String) -> StoreError {
    .damagedImage(image.path, place: "directory tree", reason: reason)
  }
}
