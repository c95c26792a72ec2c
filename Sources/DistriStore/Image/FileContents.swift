// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import SystemPackage

extension PackageImage {
  /// Appends bytes of a regular file from the offset on, as many as the output has room for; fewer only at the end of
  /// the file.
  ///
  /// - Throws: ``StoreError/damagedImage(_:place:reason:)``; `EISDIR` or `EINVAL` as
  ///   ``StoreError/system(operation:path:_:)`` when the node is no regular file.
  public func read(_ node: Node, at offset: UInt64, into output: inout OutputRawSpan) throws(StoreError) {
    let (inode, content) = try file(node)
    guard offset < content.byteCount else { return }
    var rest = min(content.byteCount - offset, UInt64(output.freeCapacity))
    let blockSize = UInt64(superblock.blockSize)
    var block = offset / blockSize
    var within = offset % blockSize
    var list = block < content.blockCount && rest > 0 ? try blockList(of: node, inode, content, at: block) : nil
    while rest > 0 {
      let expected = min(blockSize, content.byteCount - block * blockSize)
      let count = min(rest, expected - within)
      if block < content.blockCount, let stored = try list?.next() {
        try append(
          stored.block, at: stored.address, Int(within)..<Int(within + count), of: Int(expected), inode, to: &output)
      } else {
        let bytes = try fragment(of: content, count: Int(expected), inode)
        bytes.append(Int(within)..<Int(within + count), to: &output)
      }
      rest -= count
      block += 1
      within = 0
    }
  }

  /// The whole content of a regular file.
  ///
  /// - Throws: as ``read(_:at:into:)``; `EFBIG` as ``StoreError/system(operation:path:_:)`` when it has more than
  ///   `limit` bytes.
  public func contents(of node: Node, limit: Int) throws(StoreError) -> [UInt8] {
    let count = try file(node).content.byteCount
    guard count <= UInt64(max(limit, 0)) else { throw .system(operation: "read a file of", path: path, .fileTooLarge) }
    var result: [UInt8] = []
    // Piece by piece, so that a size that is a lie costs no more memory than the bytes that are there.
    while result.count < Int(count) {
      let (piece, failure) = bytes(of: node, at: UInt64(result.count), count: min(Int(count) - result.count, 1 << 20))
      if let failure { throw failure }
      result += piece
    }
    return result
  }

  private func bytes(of node: Node, at offset: UInt64, count: Int) -> ([UInt8], StoreError?) {
    var failure: StoreError?
    let piece = readBytes(capacity: count) { output in
      do throws(StoreError) { try read(node, at: offset, into: &output) } catch { failure = error }
    }
    return (piece, failure)
  }

  /// Where the whole content of a regular file lies uncompressed and in one piece, in bytes from the start of the
  /// image; nil where it does not. Empty files have an empty run.
  ///
  /// - Throws: as ``read(_:at:into:)``.
  public func storedRun(of node: Node) throws(StoreError) -> Range<UInt64>? {
    let (inode, content) = try file(node)
    if content.byteCount == 0 { return 0..<0 }
    let blockSize = UInt64(superblock.blockSize)
    if content.blockCount == 0 {
      let (stored, address) = try fragmentBlock(content.fragment)
      let start = address + UInt64(content.fragmentOffset)
      guard !stored.isCompressed else { return nil }
      guard UInt64(content.fragmentOffset) + content.byteCount <= stored.byteCount else {
        throw damaged(inode.place, "its fragment is shorter than its tail")
      }
      return start..<start + content.byteCount
    }
    guard content.blockCount * blockSize >= content.byteCount else { return nil }
    var list = BlockListReader(self, inode, content)
    var rest = content.byteCount
    while rest > 0 {
      let expected = min(blockSize, rest)
      let (block, _) = try list.next()
      guard !block.isCompressed, block.byteCount == expected else { return nil }
      rest -= expected
    }
    return content.start..<content.start + content.byteCount
  }

  /// What is read of the image, in bytes, for a part of a regular file's content.
  ///
  /// - Throws: as ``read(_:at:into:)``.
  package func storedRanges(of node: Node, at offset: UInt64, count: UInt64) throws(StoreError) -> [Range<UInt64>] {
    let (inode, content) = try file(node)
    guard offset < content.byteCount, count > 0 else { return [] }
    let blockSize = UInt64(superblock.blockSize)
    let end = offset + min(count, content.byteCount - offset)
    var ranges: [Range<UInt64>] = []
    var block = offset / blockSize
    var list = block < content.blockCount ? try blockList(of: node, inode, content, at: block) : nil
    while block * blockSize < end {
      if block < content.blockCount, let stored = try list?.next() {
        ranges.append(stored.address..<(stored.address + stored.block.byteCount))
      } else {
        let (stored, address) = try fragmentBlock(content.fragment)
        ranges.append(address..<(address + stored.byteCount))
        break
      }
      block += 1
    }
    return ranges
  }

  private func file(_ node: Node) throws(StoreError) -> (inode: Inode, content: Inode.Content) {
    let inode = try inode(of: node)
    guard case .file(let content) = inode.payload else {
      throw .system(operation: "read a file of", path: path, inode.kind == .directory ? .isDirectory : .invalidArgument)
    }
    return (inode, content)
  }

  /// Appends a part of a block that must have `expected` bytes when it is decompressed.
  private func append(
    _ block: StoredBlock, at address: UInt64, _ range: Range<Int>, of expected: Int, _ inode: Inode,
    to output: inout OutputRawSpan
  ) throws(StoreError) {
    if block.byteCount == 0 {
      appendZeros(range.count, to: &output)
      return
    }
    let key = BlockCache.Key(image: identity, address: address)
    if block.isCompressed, range.count == expected, output.freeCapacity >= expected, cache.block(key) == nil {
      // Wanted as a whole, so nobody will ask for the rest of it: straight into the answer.
      let stored = try storedBytes(block, at: address, inode.place)
      if decompressors.decompress(stored, appending: expected, to: &output) { return }
      throw damaged(inode.place, "its block at \(address) does not decompress to \(expected) bytes")
    }
    let bytes = try dataBlock(block, at: address, limit: expected, inode.place)
    guard bytes.count == expected else {
      throw damaged(inode.place, "its block at \(address) has \(bytes.count) bytes instead of \(expected)")
    }
    bytes.append(range, to: &output)
  }

  /// A stored block, decompressed.
  private func dataBlock(
    _ block: StoredBlock, at address: UInt64, limit: Int, _ place: String
  ) throws(StoreError) -> Bytes {
    let key = BlockCache.Key(image: identity, address: address)
    if block.isCompressed, let bytes = cache.block(key) { return bytes }
    let stored = try storedBytes(block, at: address, place)
    guard block.isCompressed else { return stored }
    guard let bytes = decompressors.decompress(stored, limit: limit) else {
      throw damaged(place, "its block at \(address) does not decompress")
    }
    cache.add(bytes, key)
    return bytes
  }

  /// A block as it is stored, in memory: nothing waits for the disk page by page.
  private func storedBytes(_ block: StoredBlock, at address: UInt64, _ place: String) throws(StoreError) -> Bytes {
    guard address <= superblock.bytesUsed, block.byteCount <= superblock.bytesUsed - address,
      let stored = mapping.bytes(at: address, count: block.byteCount)
    else { throw damaged(place, "its block at \(address) lies past the end of the image") }
    do throws(Errno) {
      if let remoteContents {
        return Bytes(
          try [UInt8](capacity: stored.count) { output throws(Errno) in try remoteContents.read(into: &output, at: address) })
      }
      // Files lie in one piece: the next block is the next to be asked for.
      try mapping.populate(address..<(address + block.byteCount), ahead: 8 * UInt64(superblock.blockSize))
    } catch {
      throw .system(operation: "read", path: path, error)
    }
    return stored
  }

  /// The tail of a file whose last part lies in a fragment block with those of others.
  private func fragment(of content: Inode.Content, count: Int, _ inode: Inode) throws(StoreError) -> Bytes {
    let (block, address) = try fragmentBlock(content.fragment)
    let bytes = try dataBlock(block, at: address, limit: Int(superblock.blockSize), inode.place)
    guard let tail = bytes.slice(at: Int(content.fragmentOffset), count: count) else {
      throw damaged(inode.place, "its fragment is shorter than its tail")
    }
    return tail
  }

  private func fragmentBlock(_ index: UInt32) throws(StoreError) -> (StoredBlock, UInt64) {
    guard let table = superblock.fragmentTable, index < superblock.fragmentCount else {
      throw damaged("fragment table", "entry \(index) of \(superblock.fragmentCount)")
    }
    var cursor = try tableEntry(UInt64(index), size: 16, table: table, .fragments)
    let address = try cursor.u64()
    guard let block = StoredBlock(field: try cursor.u32(), blockSize: superblock.blockSize), block.byteCount > 0,
      address <= superblock.bytesUsed, block.byteCount <= superblock.bytesUsed - address
    else { throw damaged("fragment table", "block \(index) lies past the end of the image") }
    return (block, address)
  }
}
