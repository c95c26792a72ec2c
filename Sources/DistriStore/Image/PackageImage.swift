// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import Synchronization
import SystemPackage

/// A SquashFS 4.0 image, opened for reading.
///
/// The image is mapped into memory. Whatever is stored uncompressed is read straight from there, without locks;
/// compressed blocks go through a bounded BlockCache. All methods may be called from any thread. The bytes may be
/// hostile: every one of them is checked before it is used, and what contradicts the format is
/// StoreError/damagedImage(_:place:reason:), naming the structure.
public final class PackageImage: Sendable {
  /// The file.
  public let path: FilePath
  package let mapping: MappedFile
  /// Where the contents of files are read from, if they are not in the mapping.
  let remoteContents: (any ByteSource)?
  let superblock: Superblock
  let cache: BlockCache
  let decompressors: DecompressorPool
  let identity: UInt64
  let blockIndexes = Mutex<[BlockIndexEntry]>([])

  private static let identities = Atomic<UInt64>(0)

  /// Opens and maps the image, and checks its superblock and the bounds of its tables.
  ///
  /// - Throws: ``StoreError/system(operation:path:_:)``; ``StoreError/damagedImage(_:place:reason:)``.
  public convenience init(path: FilePath) throws(StoreError) {
    let descriptor: FileDescriptor
    do {
      // Whoever opens a FIFO waits for a writer, unless he says that he does not.
      descriptor = try FileDescriptor.open(path, .readOnly, options: [.closeOnExec, .nonBlocking])
    } catch {
      throw .system(operation: "open", path: path, error as? Errno ?? .ioError)
    }
    defer { try? descriptor.close() }
    try self.init(descriptor: descriptor, path: path)
  }

  /// Maps the image that the descriptor has open; the descriptor may be closed afterwards.
  ///
  /// - Parameters:
  ///   - path: for errors.
  ///   - cache: for decompressed blocks; may be shared with other images.
  /// - Throws: as ``init(path:)``.
  public convenience init(
    descriptor: FileDescriptor, path: FilePath, cache: BlockCache = .shared
  ) throws(StoreError) {
    let mapping: MappedFile
    do {
      mapping = try MappedFile(descriptor: descriptor)
    } catch {
      throw .system(operation: "map", path: path, error)
    }
    try self.init(mapping, path: path, cache: cache)
  }

  /// Reads an image that is mapped already.
  ///
  /// - Parameter contents: where the contents of files are read from when the mapping has only the rest.
  package init(
    _ mapping: MappedFile, path: FilePath, cache: BlockCache = .shared, contents: (any ByteSource)? = nil
  ) throws(StoreError) {
    self.path = path
    self.cache = cache
    self.mapping = mapping
    remoteContents = contents
    do {
      let start = mapping.bytes(at: 0, count: min(mapping.byteCount, Superblock.byteCount)) ?? .none
      superblock = try Superblock(start, byteCount: mapping.byteCount)
    } catch {
      throw .damagedImage(path, place: "superblock", reason: error.reason)
    }
    decompressors = DecompressorPool(compression: superblock.compression, blockSize: superblock.blockSize)
    identity = PackageImage.identities.add(1, ordering: .relaxed).newValue
  }

  deinit { cache.removeAll(of: identity) }

  /// The size of the file in bytes.
  public var byteCount: UInt64 { mapping.byteCount }

  /// Whether its maker compressed files, so that the bytes of one change with those before it.
  public var compressesFiles: Bool { superblock.flags & Superblock.uncompressedData == 0 }

  /// How many files, directories and so on the image says it holds.
  public var inodeCount: UInt32 { superblock.inodeCount }

  /// When the image was made, as it says itself, in seconds since 1970.
  public var creationTime: UInt32 { superblock.time }

  /// The root directory.
  public var root: Node { Node(reference: superblock.rootReference) }

  /// What `lstat` would say.
  ///
  /// - Throws: ``StoreError/damagedImage(_:place:reason:)``.
  public func attributes(of node: Node) throws(StoreError) -> Attributes {
    let inode = try inode(of: node)
    return Attributes(
      kind: inode.kind, permissions: inode.permissions, userID: try owner(inode.userIndex),
      groupID: try owner(inode.groupIndex),
      modificationTime: Int64(inode.modificationTime), linkCount: inode.linkCount, byteCount: inode.byteCount,
      inodeNumber: inode.number, device: inode.device)
  }

  /// The entry of a directory, or nil.
  ///
  /// - Throws: ``StoreError/damagedImage(_:place:reason:)``; `ENOTDIR` as ``StoreError/system(operation:path:_:)``.
  public func lookUp(_ name: EntryName, in directory: Node) throws(StoreError) -> Node? {
    try entry(name, in: directory)?.node
  }

  /// What lies at the path below the root, or nil. Symbolic links are not followed.
  ///
  /// - Throws: ``StoreError/damagedImage(_:place:reason:)``.
  public func node(at path: TreePath) throws(StoreError) -> Node? {
    var node = root
    for name in path.components {
      guard try inode(of: node).kind == .directory, let next = try lookUp(name, in: node) else { return nil }
      node = next
    }
    return node
  }

  /// Where a symbolic link points; raw bytes, without NUL, at most 4096.
  ///
  /// - Throws: ``StoreError/damagedImage(_:place:reason:)``; `EINVAL` as ``StoreError/system(operation:path:_:)`` when
  ///   it is no link.
  public func symbolicLinkTarget(of node: Node) throws(StoreError) -> [UInt8] {
    var inode = try inode(of: node)
    guard case .symbolicLink(let count) = inode.payload else {
      throw .system(operation: "readlink", path: path, .invalidArgument)
    }
    let target = try inode.cursor.take(count).array
    if target.contains(0) { throw damaged(inode.place, "its target contains NUL") }
    return target
  }

  /// The owner or group at an index of the owner table.
  private func owner(_ index: UInt16) throws(StoreError) -> UInt32 {
    guard index < superblock.identifierCount else {
      throw damaged("owner table", "index \(index) of \(superblock.identifierCount)")
    }
    var cursor = try tableEntry(UInt64(index), size: 4, table: superblock.identifierTable, .owners)
    return try cursor.u32()
  }
}

extension PackageImage {
  func damaged(_ place: String, _ reason: String) -> StoreError { .damagedImage(path, place: place, reason: reason) }

  /// Where a metadata block lies and how it is stored.
  private func metadataHeader(
    at address: UInt64, within region: Range<UInt64>, of place: MetadataCursor.Place
  ) throws(StoreError) -> (data: UInt64, count: UInt64, isCompressed: Bool) {
    guard region.contains(address), region.upperBound - address > 2,
      let header = mapping.bytes(at: address, count: 2)?.integer(at: 0, as: UInt16.self)
    else { throw damaged(place.rawValue, "no block at \(address)") }
    let count = UInt64(header & 0x7fff)
    guard count > 0, count <= UInt64(Superblock.metadataBlockSize), count <= region.upperBound - address - 2 else {
      throw damaged(place.rawValue, "the block at \(address) says it has \(count) bytes")
    }
    return (address + 2, count, header & 0x8000 == 0)
  }

  /// Where the block after this one starts.
  func metadataBlockEnd(
    at address: UInt64, within region: Range<UInt64>, of place: MetadataCursor.Place
  ) throws(StoreError) -> UInt64 {
    let block = try metadataHeader(at: address, within: region, of: place)
    return block.data + block.count
  }

  /// A metadata block, decompressed, and where the next one starts.
  func metadataBlock(
    at address: UInt64, within region: Range<UInt64>, of place: MetadataCursor.Place
  ) throws(StoreError) -> (Bytes, next: UInt64) {
    let header = try metadataHeader(at: address, within: region, of: place)
    let next = header.data + header.count
    guard let stored = mapping.bytes(at: header.data, count: header.count) else {
      throw damaged(place.rawValue, "no block at \(address)")
    }
    guard header.isCompressed else { return (stored, next) }
    let key = BlockCache.Key(image: identity, address: address)
    if let bytes = cache.block(key) { return (bytes, next) }
    guard let bytes = decompressors.decompress(stored, limit: Superblock.metadataBlockSize) else {
      throw damaged(place.rawValue, "the block at \(address) does not decompress")
    }
    cache.add(bytes, key)
    return (bytes, next)
  }

  /// The entry of a table of two levels: an array of pointers to metadata blocks that are full of entries.
  func tableEntry(
    _ index: UInt64, size: UInt64, table: UInt64, _ place: MetadataCursor.Place
  ) throws(StoreError) -> MetadataCursor {
    let perBlock = UInt64(Superblock.metadataBlockSize) / size
    let pointerAddress = table.addingReportingOverflow(index / perBlock * 8)
    guard !pointerAddress.overflow, pointerAddress.partialValue <= superblock.bytesUsed,
      superblock.bytesUsed - pointerAddress.partialValue >= 8,
      let address = mapping.bytes(at: pointerAddress.partialValue, count: 8)?.integer(at: 0, as: UInt64.self)
    else { throw damaged(place.rawValue, "entry \(index) past the end") }
    return try MetadataCursor(
      self, place, region: Superblock.byteCount..<superblock.bytesUsed, address: address,
      offset: Int(index % perBlock * size))
  }
}
