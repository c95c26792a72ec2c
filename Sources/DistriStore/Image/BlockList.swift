// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

/// An entry of a file's block list: how many bytes a block takes in the image, and how.
struct StoredBlock {
  /// 0 for a block of zeros that is not stored.
  let byteCount: UInt64
  let isCompressed: Bool

  /// nil when bits are set that mean nothing, or it is larger than a block can be.
  init?(field: UInt32, blockSize: UInt32) {
    let count = field & 0xff_ffff
    guard field >> 25 == 0, count <= blockSize else { return nil }
    byteCount = UInt64(count)
    isCompressed = field & 1 << 24 == 0
  }
}

/// Reads a file's block list in order and adds up where each block lies.
struct BlockListReader {
  private let image: PackageImage
  private let place: String
  private var cursor: MetadataCursor
  /// Of the next block.
  private(set) var index: UInt64
  /// Of the next block, in bytes from the start of the image.
  private(set) var address: UInt64

  init(_ image: PackageImage, _ inode: Inode, _ content: Inode.Content) {
    self.image = image
    place = inode.place
    cursor = inode.cursor
    index = 0
    address = content.start
  }

  mutating func next() throws(StoreError) -> (block: StoredBlock, address: UInt64) {
    guard let block = StoredBlock(field: try cursor.u32(), blockSize: image.superblock.blockSize) else {
      throw image.damaged(place, "block \(index) is larger than a block")
    }
    let end = address.addingReportingOverflow(block.byteCount)
    guard !end.overflow, end.partialValue <= image.superblock.bytesUsed else {
      throw image.damaged(place, "block \(index) lies past the end of the image")
    }
    defer {
      index += 1
      address = end.partialValue
    }
    return (block, address)
  }
}

/// Positions in the block list of one large file, so that a read far into it need not add up all blocks before.
struct BlockIndexEntry: Sendable {
  let node: PackageImage.Node
  let checkpoints: [BlockListReader]
  let stride: UInt64
}

extension PackageImage {
  /// Files of fewer blocks are always added up.
  private static let indexedBlocks: UInt64 = 256
  private static let maximumCheckpoints: UInt64 = 4096
  private static let indexedFiles = 16

  /// A reader of the block list that is at the block, which the file must have.
  func blockList(
    of node: Node, _ inode: Inode, _ content: Inode.Content, at block: UInt64
  ) throws(StoreError) -> BlockListReader {
    var reader = BlockListReader(self, inode, content)
    if block >= PackageImage.indexedBlocks {
      let index = try blockIndex(of: node, reader, count: content.blockCount)
      let checkpoint = Int(block / index.stride)
      if checkpoint < index.checkpoints.count { reader = index.checkpoints[checkpoint] }
    }
    while reader.index < block { _ = try reader.next() }
    return reader
  }

  private func blockIndex(
    of node: Node, _ start: BlockListReader, count: UInt64
  ) throws(StoreError) -> BlockIndexEntry {
    let known = blockIndexes.withLock { entries in entries.first { $0.node == node } }
    if let known { return known }
    let stride = max(PackageImage.indexedBlocks, count / PackageImage.maximumCheckpoints + 1)
    var checkpoints: [BlockListReader] = []
    var reader = start
    while reader.index < count {
      if reader.index % stride == 0 { checkpoints.append(reader) }
      _ = try reader.next()
    }
    let entry = BlockIndexEntry(node: node, checkpoints: checkpoints, stride: stride)
    blockIndexes.withLock { entries in
      if entries.count >= PackageImage.indexedFiles { entries.removeFirst() }
      entries.append(entry)
    }
    return entry
  }
}
