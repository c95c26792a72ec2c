// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

extension PackageImage {
  /// Of one file; Linux itself allows 64 KiB of names.
  private static let maximumAttributeBytes = 4 << 20
  private static let maximumValue = 65536

  /// The attributes of a node, in the image's order.
  ///
  /// - Throws: ``StoreError/damagedImage(_:place:reason:)``.
  public func extendedAttributes(of node: Node) throws(StoreError) -> [ExtendedAttribute] {
    let inode = try inode(of: node)
    guard inode.attributeIndex != Superblock.absent32, let table = superblock.attributeTable else { return [] }
    let region = Superblock.byteCount..<superblock.bytesUsed
    guard let header = mapping.bytes(at: table, count: 16), let start = header.integer(at: 0, as: UInt64.self),
      let count = header.integer(at: 8, as: UInt32.self), region.contains(start)
    else { throw damaged("attribute table", "its header lies past the end") }
    guard inode.attributeIndex < count else {
      throw damaged(inode.place, "attributes \(inode.attributeIndex) of \(count)")
    }
    var descriptor = try tableEntry(UInt64(inode.attributeIndex), size: 16, table: table + 16, .attributes)
    let reference = try descriptor.u64()
    let entries = try descriptor.u32()
    var cursor = try attributeCursor(start, reference)
    var result: [ExtendedAttribute] = []
    var total = 0
    for _ in 0..<entries {
      let attribute = try attribute(&cursor, start, inode.place)
      total += attribute.name.count + attribute.value.count + 16
      guard total <= PackageImage.maximumAttributeBytes else {
        throw damaged(inode.place, "more attributes than Linux allows")
      }
      result.append(attribute)
    }
    return result
  }

  private func attributeCursor(_ start: UInt64, _ reference: UInt64) throws(StoreError) -> MetadataCursor {
    let region = Superblock.byteCount..<superblock.bytesUsed
    let address = start.addingReportingOverflow(reference >> 16)
    guard !address.overflow else { throw damaged("attribute table", "no block for reference \(reference)") }
    return try MetadataCursor(
      self, .attributes, region: region, address: address.partialValue, offset: Int(reference & 0xffff))
  }

  /// The key and value at the cursor. A value that several files share may lie elsewhere, and a reference to it here.
  private func attribute(
    _ cursor: inout MetadataCursor, _ start: UInt64, _ place: String
  ) throws(StoreError) -> ExtendedAttribute {
    let type = try cursor.u16()
    let length = Int(try cursor.u16())
    let prefix: String? =
      switch type & 0xff {
      case 0: "user."
      case 1: "trusted."
      case 2: "security."
      default: nil
      }
    guard let prefix, type & ~0x1ff == 0, (1...255).contains(length + prefix.utf8.count) || length == 0 else {
      throw damaged(place, "an attribute of type \(type) with a name of \(length) bytes")
    }
    let name = Array(prefix.utf8) + (try cursor.take(length).array)
    if name.contains(0) { throw damaged(place, "an attribute whose name contains NUL") }
    let count = Int(try cursor.u32())
    guard type & 0x100 != 0 else { return ExtendedAttribute(name: name, value: try value(&cursor, count, place)) }
    guard count == 8 else { throw damaged(place, "a reference to a value of \(count) bytes") }
    var elsewhere = try attributeCursor(start, try cursor.u64())
    let stored = Int(try elsewhere.u32())
    return ExtendedAttribute(name: name, value: try value(&elsewhere, stored, place))
  }

  private func value(_ cursor: inout MetadataCursor, _ count: Int, _ place: String) throws(StoreError) -> [UInt8] {
    guard count <= PackageImage.maximumValue else { throw damaged(place, "an attribute of \(count) bytes") }
    return try cursor.take(count).array
  }
}
