// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

/// A parsed inode. What follows the fixed fields (block list, target, directory index) is read through the cursor when
/// it is asked for.
struct Inode {
  let kind: PackageImage.Kind
  let permissions: UInt16
  let userIndex: UInt16
  let groupIndex: UInt16
  let modificationTime: UInt32
  let number: UInt32
  private(set) var linkCount: UInt32 = 1
  private(set) var attributeIndex: UInt32 = Superblock.absent32
  private(set) var payload: Payload = .none
  /// Behind the fixed fields.
  var cursor: MetadataCursor

  enum Payload {
    case directory(Listing)
    case file(Content)
    case symbolicLink(byteCount: Int)
    case device(UInt32)
    case none
  }

  /// Where a directory's listing lies.
  struct Listing {
    /// Of the headers and entries, without the three bytes that the format adds.
    var byteCount: UInt32
    /// Into the directory table.
    var block: UInt32
    var offset: UInt16
    var indexCount: UInt16
    /// What the format stores.
    var storedSize: UInt32
  }

  /// Where a file's content lies.
  struct Content {
    var byteCount: UInt64
    var start: UInt64
    var fragment: UInt32
    var fragmentOffset: UInt32
    /// Entries of the block list.
    var blockCount: UInt64
  }

  static let maximumTarget = 4096

  /// For errors.
  var place: String { "inode \(number)" }

  init(_ image: PackageImage, at node: PackageImage.Node) throws(StoreError) {
    let table = image.superblock.inodeTable
    let block = (node.reference >> 16).addingReportingOverflow(table.lowerBound)
    guard !block.overflow else { throw image.damaged("inode table", "no block for reference \(node.reference)") }
    cursor = try MetadataCursor(
      image, .inodes, region: table, address: block.partialValue, offset: Int(node.reference & 0xffff))
    let type = try cursor.u16()
    guard let kind = PackageImage.Kind(inodeType: type) else {
      throw image.damaged("inode table", "unknown inode type \(type)")
    }
    self.kind = kind
    permissions = try cursor.u16() & 0o7777
    userIndex = try cursor.u16()
    groupIndex = try cursor.u16()
    modificationTime = try cursor.u32()
    number = try cursor.u32()
    guard number > 0, number <= image.superblock.inodeCount else {
      throw image.damaged("inode table", "inode number \(number) of \(image.superblock.inodeCount)")
    }
    try readPayload(image, isExtended: type > 7)
  }

  private mutating func readPayload(_ image: PackageImage, isExtended: Bool) throws(StoreError) {
    switch kind {
    case .directory: try readDirectory(image, isExtended)
    case .regular: try readFile(image, isExtended)
    case .symbolicLink:
      linkCount = try cursor.u32()
      let count = try cursor.u32()
      guard count > 0, count <= Inode.maximumTarget else { throw image.damaged(place, "a target of \(count) bytes") }
      payload = .symbolicLink(byteCount: Int(count))
      if isExtended {
        var behind = cursor
        try behind.skip(UInt64(count))
        attributeIndex = try behind.u32()
      }
    case .blockDevice, .characterDevice:
      linkCount = try cursor.u32()
      payload = .device(try cursor.u32())
      if isExtended { attributeIndex = try cursor.u32() }
    case .fifo, .socket:
      linkCount = try cursor.u32()
      if isExtended { attributeIndex = try cursor.u32() }
    }
  }

  private mutating func readDirectory(_ image: PackageImage, _ isExtended: Bool) throws(StoreError) {
    var listing = Listing(byteCount: 0, block: 0, offset: 0, indexCount: 0, storedSize: 0)
    if isExtended {
      linkCount = try cursor.u32()
      listing.storedSize = try cursor.u32()
      listing.block = try cursor.u32()
      _ = try cursor.u32()  // the parent's inode number
      listing.indexCount = try cursor.u16()
      listing.offset = try cursor.u16()
      attributeIndex = try cursor.u32()
    } else {
      listing.block = try cursor.u32()
      linkCount = try cursor.u32()
      listing.storedSize = UInt32(try cursor.u16())
      listing.offset = try cursor.u16()
      _ = try cursor.u32()
    }
    listing.byteCount = listing.storedSize > 3 ? listing.storedSize - 3 : 0
    payload = .directory(listing)
  }

  private mutating func readFile(_ image: PackageImage, _ isExtended: Bool) throws(StoreError) {
    var content = Content(byteCount: 0, start: 0, fragment: 0, fragmentOffset: 0, blockCount: 0)
    if isExtended {
      content.start = try cursor.u64()
      content.byteCount = try cursor.u64()
      _ = try cursor.u64()  // how many bytes of it are in sparse blocks
      linkCount = try cursor.u32()
      content.fragment = try cursor.u32()
      content.fragmentOffset = try cursor.u32()
      attributeIndex = try cursor.u32()
    } else {
      content.start = UInt64(try cursor.u32())
      content.fragment = try cursor.u32()
      content.fragmentOffset = try cursor.u32()
      content.byteCount = UInt64(try cursor.u32())
    }
    guard content.byteCount <= UInt64(Int64.max) else {
      throw image.damaged(place, "a size of \(content.byteCount) bytes")
    }
    let blockSize = UInt64(image.superblock.blockSize)
    content.blockCount = content.byteCount / blockSize
    if content.byteCount % blockSize != 0, content.fragment == Superblock.absent32 { content.blockCount += 1 }
    // A metadata block takes at least three bytes of the table, so this is the most that the list can hold.
    let table = image.superblock.inodeTable
    let most = UInt64(table.count / 3 + 1) * UInt64(Superblock.metadataBlockSize / 4)
    guard content.blockCount <= min(most, Inode.maximumBlocks) else {
      throw image.damaged(place, "\(content.blockCount) blocks are more than its list can hold")
    }
    if content.fragment != Superblock.absent32, content.fragment >= image.superblock.fragmentCount {
      throw image.damaged(place, "fragment \(content.fragment) of \(image.superblock.fragmentCount)")
    }
    payload = .file(content)
  }

  /// Of one file: 8 TiB in blocks of 128 KiB. A bound on the work that a small hostile image can ask for.
  static let maximumBlocks: UInt64 = 1 << 26

  var byteCount: UInt64 {
    switch payload {
    case .directory(let listing): UInt64(listing.storedSize)
    case .file(let content): content.byteCount
    case .symbolicLink(let count): UInt64(count)
    case .device, .none: 0
    }
  }

  /// Twelve bits of major in the middle of twenty of minor, as the kernel packs them.
  var device: PackageImage.Device {
    guard case .device(let packed) = payload else { return PackageImage.Device(major: 0, minor: 0) }
    return PackageImage.Device(major: packed >> 8 & 0xfff, minor: packed & 0xff | packed >> 12 & 0xfff00)
  }
}

extension PackageImage {
  func inode(of node: Node) throws(StoreError) -> Inode { try Inode(self, at: node) }
}
