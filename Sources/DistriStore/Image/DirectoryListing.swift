// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

/// Walks the listing of a directory: runs of a header and entries whose inodes lie in one metadata block.
struct DirectoryListing {
  private let image: PackageImage
  private let place: String
  private let byteCount: UInt64
  private var cursor: MetadataCursor
  /// From the start of the listing.
  private(set) var position: UInt64
  /// Of the header of the run that the position is in.
  private(set) var header: UInt64
  private var remaining: UInt64 = 0
  private var block: UInt32 = 0
  private var firstNumber: UInt32 = 0

  static let headerSize: UInt64 = 12
  static let entrySize: UInt64 = 8

  /// Starts at a header: the one at the start of the listing, or one of its index.
  init?(
    _ image: PackageImage, _ listing: Inode.Listing, place: String, at start: (block: UInt32, position: UInt64)? = nil
  ) throws(StoreError) {
    guard listing.byteCount > 0 else { return nil }
    self.image = image
    self.place = place
    byteCount = UInt64(listing.byteCount)
    position = start?.position ?? 0
    header = position
    let table = image.superblock.directoryTable
    let address = table.lowerBound + UInt64(start?.block ?? listing.block)
    let offset = (UInt64(listing.offset) + position) % UInt64(Superblock.metadataBlockSize)
    cursor = try MetadataCursor(
      image, .directories, region: table, address: address, offset: start == nil ? Int(listing.offset) : Int(offset))
  }

  /// An entry whose name is still where it lies.
  struct RawEntry {
    let name: Bytes
    let reference: UInt64
    let number: UInt32
    let type: UInt16
  }

  /// Goes to a header without reading what is before it.
  mutating func seek(to header: UInt64) throws(StoreError) {
    guard header >= position, header <= byteCount else { throw image.damaged(place, "no entry at \(header)") }
    try cursor.skip(header - position)
    (position, self.header) = (header, header)
  }

  /// The next entry; nil at the end.
  mutating func next() throws(StoreError) -> RawEntry? {
    if remaining == 0 {
      guard position < byteCount else { return nil }
      try readHeader()
    }
    guard byteCount - position > DirectoryListing.entrySize else { throw image.damaged(place, "an entry past the end") }
    let offset = try cursor.u16()
    let delta = Int32(Int16(bitPattern: try cursor.u16()))
    let type = try cursor.u16()
    let length = Int(try cursor.u16()) + 1
    position += DirectoryListing.entrySize
    guard length <= 255, UInt64(length) <= byteCount - position else {
      throw image.damaged(place, "a name of \(length) bytes")
    }
    let name = try cursor.take(length)
    position += UInt64(length)
    remaining -= 1
    if remaining == 0 { header = position }
    return RawEntry(
      name: name, reference: UInt64(block) << 16 | UInt64(offset), number: firstNumber &+ UInt32(bitPattern: delta),
      type: type)
  }

  private mutating func readHeader() throws(StoreError) {
    guard byteCount - position > DirectoryListing.headerSize else {
      throw image.damaged(place, "a header past the end")
    }
    header = position
    let count = UInt64(try cursor.u32()) + 1
    block = try cursor.u32()
    firstNumber = try cursor.u32()
    position += DirectoryListing.headerSize
    // The format allows 256; the original distri wrote more.
    guard count <= (byteCount - position) / (DirectoryListing.entrySize + 1) else {
      throw image.damaged(place, "a run of \(count) entries")
    }
    remaining = count
  }
}

extension PackageImage {
  private func listing(of directory: Node) throws(StoreError) -> (Inode, Inode.Listing) {
    let inode = try inode(of: directory)
    guard case .directory(let listing) = inode.payload else {
      throw .system(operation: "list a directory of", path: path, .notDirectory)
    }
    return (inode, listing)
  }

  private func entry(_ raw: DirectoryListing.RawEntry, in place: String) throws(StoreError) -> Entry {
    guard let kind = Kind(inodeType: raw.type) else { throw damaged(place, "unknown entry type \(raw.type)") }
    let name: EntryName
    do { name = try EntryName(raw.name.array) } catch { throw damaged(place, "an entry whose name is none") }
    return Entry(name: name, node: Node(reference: raw.reference), kind: kind, inodeNumber: raw.number)
  }

  /// All entries of a directory, sorted bytewise.
  ///
  /// - Throws: ``StoreError/damagedImage(_:place:reason:)``, also when names are out of order, twice there, or none;
  ///   `ENOTDIR` as ``StoreError/system(operation:path:_:)``.
  public func entries(of directory: Node) throws(StoreError) -> [Entry] {
    var result: [Entry] = []
    try forEachEntry(of: directory, after: 0) { entry, _ in
      result.append(entry)
      return true
    }
    return result
  }

  /// Gives the entries of a directory one by one, sorted bytewise, until the closure returns false.
  ///
  /// - Parameters:
  ///   - cookie: 0 for the start, or what the closure was given with an entry, to go on after that.
  ///   - body: gets an entry and the cookie that stands for the position after it.
  /// - Throws: as ``entries(of:)``.
  public func forEachEntry(
    of directory: Node, after cookie: UInt64, _ body: (Entry, UInt64) -> Bool
  ) throws(StoreError) {
    let (inode, stored) = try listing(of: directory)
    guard var listing = try DirectoryListing(self, stored, place: inode.place) else { return }
    // A cookie is where the run's header is and where the entry ends, from the start of the listing.
    let (header, start) = (cookie >> 32, cookie & 0xffff_ffff)
    if start > UInt64(stored.byteCount) || header > start { return }
    if header > 0 { try listing.seek(to: header) }
    var last: [UInt8] = []
    while let raw = try listing.next() {
      guard raw.name.compare(last) > 0 else { throw damaged(inode.place, "entries out of order") }
      last = raw.name.array
      if listing.position <= start { continue }
      if !body(try entry(raw, in: inode.place), listing.header << 32 | listing.position) { return }
    }
  }

  /// The entry of a name. Big directories have an index of the first names of their runs.
  func entry(_ name: EntryName, in directory: Node) throws(StoreError) -> Entry? {
    var (inode, stored) = try listing(of: directory)
    var start: (block: UInt32, position: UInt64)?
    for _ in 0..<stored.indexCount {
      let position = try inode.cursor.u32()
      let block = try inode.cursor.u32()
      let length = Int(try inode.cursor.u32() & 0xffff) + 1
      guard length <= 255 else { throw damaged(inode.place, "a name of \(length) bytes in its index") }
      if try inode.cursor.take(length).compare(name.bytes) > 0 { break }
      guard position < stored.byteCount else { throw damaged(inode.place, "its index points past its end") }
      start = (block, UInt64(position))
    }
    guard var listing = try DirectoryListing(self, stored, place: inode.place, at: start) else { return nil }
    while let raw = try listing.next() {
      let order = raw.name.compare(name.bytes)
      if order == 0 { return try entry(raw, in: inode.place) }
      if order > 0 { return nil }
    }
    return nil
  }
}
