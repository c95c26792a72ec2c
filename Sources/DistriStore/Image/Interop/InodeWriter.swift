// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import CSquashFS
import Glibc
import SystemPackage

/// Writes the inodes and listings of a plan.
final class InodeWriter {
  private let library: LibraryFile
  private let inodes: LibraryObject
  private let listings: LibraryObject
  private let directories: LibraryObject
  private let owners: LibraryObject
  private let attributes: LibraryObject

  /// Where the root is.
  struct Root {
    let reference: UInt64
    let number: UInt32
  }

  init(_ library: LibraryFile) throws(StoreError) {
    self.library = library
    let path = library.path
    unsafe inodes = try LibraryObject(sqfs_meta_writer_create(library.file, library.blockCompressor, 0), path)
    let inMemory = UInt32(SQFS_META_WRITER_KEEP_IN_MEMORY.rawValue)
    unsafe listings = try LibraryObject(sqfs_meta_writer_create(library.file, library.blockCompressor, inMemory), path)
    let withExportTable = UInt32(SQFS_DIR_WRITER_CREATE_EXPORT_TABLE.rawValue)
    unsafe directories = try LibraryObject(sqfs_dir_writer_create(listings.pointer, withExportTable), path)
    unsafe owners = try LibraryObject(sqfs_id_table_create(0), path)
    unsafe attributes = try LibraryObject(sqfs_xattr_writer_create(0), path)
  }

  /// Numbers and writes all nodes; what is in a directory comes before it.
  func write(_ plan: inout ImagePlan) throws(StoreError) -> Root {
    let order = plan.number()
    let absent = UInt64.max
    var references = [UInt64](repeating: absent, count: plan.nodes.count)
    for directory in order {
      for (_, node) in directory.entries where references[node] == absent {
        references[node] = try write(plan.nodes[node])
      }
      try check(unsafe sqfs_dir_writer_begin(directories.pointer, 0))
      for (name, node) in directory.entries {
        let child = plan.nodes[node]
        let text = name.bytes.map { CChar(bitPattern: $0) } + [0]
        try check(
          unsafe sqfs_dir_writer_add_entry(directories.pointer, text, child.number, references[node], child.mode))
      }
      try check(unsafe sqfs_dir_writer_end(directories.pointer))
      references[directory.node] = try write(directory, plan)
    }
    return Root(reference: references[0], number: plan.nodes[0].number)
  }

  /// Writes the tables that follow the inodes.
  func finish(_ superblock: inout sqfs_super_t, _ root: Root) throws(StoreError) {
    try check(unsafe sqfs_meta_writer_flush(inodes.pointer))
    try check(unsafe sqfs_meta_writer_flush(listings.pointer))
    superblock.directory_table_start = library.size
    try check(unsafe sqfs_meta_write_write_to_file(listings.pointer))
    superblock.fragment_table_start = .max
    let compressor = unsafe library.blockCompressor
    try check(
      unsafe sqfs_dir_writer_write_export_table(
        directories.pointer, library.file, compressor, root.number, root.reference, &superblock))
    try check(unsafe sqfs_id_table_write(owners.pointer, library.file, &superblock, compressor))
    try check(unsafe sqfs_xattr_writer_flush(attributes.pointer, library.file, &superblock, compressor))
  }

  private func check(_ result: Int32) throws(StoreError) { try library.check(result) }

  private func index(of owner: UInt32) throws(StoreError) -> UInt16 {
    var index: UInt16 = 0
    try check(unsafe sqfs_id_table_id_to_index(owners.pointer, owner, &index))
    return index
  }

  private func index(of set: [ExtendedAttribute]) throws(StoreError) -> UInt32 {
    if set.isEmpty { return Superblock.absent32 }
    try check(unsafe sqfs_xattr_writer_begin(attributes.pointer, 0))
    for attribute in set {
      let name = attribute.name.map { CChar(bitPattern: $0) } + [0]
      let result = unsafe attribute.value.withUnsafeBytes { value in
        // An empty value still needs an address.
        unsafe sqfs_xattr_writer_add(attributes.pointer, name, value.baseAddress ?? UnsafeRawPointer(bitPattern: 1), value.count)
      }
      try check(result)
    }
    var index: UInt32 = 0
    try check(unsafe sqfs_xattr_writer_end(attributes.pointer, &index))
    return index
  }
}

extension InodeWriter {
  private typealias Record = UnsafeMutablePointer<sqfs_inode_generic_t>

  /// Fills in what all inodes have, writes the inode and returns its reference.
  @unsafe private func append(_ record: Record, _ node: ImagePlan.Node) throws(StoreError) -> UInt64 {
    unsafe record.pointee.base.mode = node.mode
    unsafe record.pointee.base.uid_idx = try index(of: node.userID)
    unsafe record.pointee.base.gid_idx = try index(of: node.groupID)
    unsafe record.pointee.base.mod_time = node.modificationTime
    unsafe record.pointee.base.inode_number = node.number
    var block: UInt64 = 0
    var offset: UInt32 = 0
    unsafe sqfs_meta_writer_get_position(inodes.pointer, &block, &offset)
    try check(unsafe sqfs_meta_writer_write_inode(inodes.pointer, record))
    return block << 16 | UInt64(offset)
  }

  private func write(_ directory: ImagePlan.Directory, _ plan: ImagePlan) throws(StoreError) -> UInt64 {
    let node = plan.nodes[directory.node]
    // The root's parent is one more than the last number, as other writers have it.
    let parent = directory.node == 0 ? node.number + 1 : plan.nodes[node.parent].number
    let set = try index(of: node.extendedAttributes)
    guard let record = unsafe sqfs_dir_writer_create_inode(directories.pointer, 0, set, parent) else {
      throw .system(operation: "write tables of", path: library.path, .noMemory)
    }
    defer { unsafe sqfs_free(record) }
    // The library counts all entries as links; lstat counts directories.
    if unsafe record.pointee.base.type == UInt16(SQFS_INODE_EXT_DIR.rawValue) {
      unsafe record.pointee.data.dir_ext.nlink = node.linkCount
    } else {
      unsafe record.pointee.data.dir.nlink = node.linkCount
    }
    return try unsafe append(record, node)
  }

  private func write(_ node: ImagePlan.Node) throws(StoreError) -> UInt64 {
    let payload = node.payload(blockSize: library.blockSize)
    guard let memory = unsafe calloc(1, MemoryLayout<sqfs_inode_generic_t>.size + payload.count) else {
      throw .system(operation: "write tables of", path: library.path, .noMemory)
    }
    defer { unsafe free(memory) }
    let record = unsafe memory.bindMemory(to: sqfs_inode_generic_t.self, capacity: 1)
    unsafe payload.withUnsafeBytes { bytes in
      guard let start = bytes.baseAddress else { return }
      unsafe memcpy(csquashfs_inode_payload(record), start, bytes.count)
    }
    unsafe record.pointee.payload_bytes_available = UInt32(payload.count)
    unsafe record.pointee.payload_bytes_used = UInt32(payload.count)
    unsafe describe(node, try index(of: node.extendedAttributes), &record.pointee)
    return try unsafe append(record, node)
  }

  /// Chooses the smallest type of inode that holds the node.
  private func describe(_ node: ImagePlan.Node, _ set: UInt32, _ record: inout sqfs_inode_generic_t) {
    let isExtended = set != Superblock.absent32
    func type(_ basic: SQFS_INODE_TYPE, _ extended: SQFS_INODE_TYPE) -> UInt16 {
      UInt16(isExtended ? extended.rawValue : basic.rawValue)
    }
    switch node.kind {
    case .directory, .hardLink: break
    case .regular: describe(node.content, node.linkCount, set, &record)
    case .symbolicLink(let target):
      record.base.type = type(SQFS_INODE_SLINK, SQFS_INODE_EXT_SLINK)
      if isExtended {
        unsafe record.data.slink_ext = sqfs_inode_slink_ext_t(
          nlink: node.linkCount, target_size: UInt32(target.count), xattr_idx: set)
      } else {
        unsafe record.data.slink = sqfs_inode_slink_t(nlink: node.linkCount, target_size: UInt32(target.count))
      }
    case .characterDevice(let major, let minor), .blockDevice(let major, let minor):
      let isBlock = if case .blockDevice = node.kind { true } else { false }
      record.base.type =
        isBlock ? type(SQFS_INODE_BDEV, SQFS_INODE_EXT_BDEV) : type(SQFS_INODE_CDEV, SQFS_INODE_EXT_CDEV)
      let number = minor & 0xff | (major & 0xfff) << 8 | (minor & 0xfff00) << 12
      if isExtended {
        unsafe record.data.dev_ext = sqfs_inode_dev_ext_t(nlink: node.linkCount, devno: number, xattr_idx: set)
      } else {
        unsafe record.data.dev = sqfs_inode_dev_t(nlink: node.linkCount, devno: number)
      }
    case .fifo, .socket:
      record.base.type =
        node.kind == .fifo ? type(SQFS_INODE_FIFO, SQFS_INODE_EXT_FIFO) : type(SQFS_INODE_SOCKET, SQFS_INODE_EXT_SOCKET)
      if isExtended {
        unsafe record.data.ipc_ext = sqfs_inode_ipc_ext_t(nlink: node.linkCount, xattr_idx: set)
      } else {
        unsafe record.data.ipc = sqfs_inode_ipc_t(nlink: node.linkCount)
      }
    }
  }

  private func describe(
    _ content: ImagePlan.StoredContent, _ linkCount: UInt32, _ set: UInt32, _ record: inout sqfs_inode_generic_t
  ) {
    if set == Superblock.absent32, linkCount == 1, content.sparse == 0, let start = UInt32(exactly: content.start),
      let size = UInt32(exactly: content.byteCount)
    {
      record.base.type = UInt16(SQFS_INODE_FILE.rawValue)
      unsafe record.data.file = sqfs_inode_file_t(
        blocks_start: start, fragment_index: Superblock.absent32, fragment_offset: 0, file_size: size)
    } else {
      record.base.type = UInt16(SQFS_INODE_EXT_FILE.rawValue)
      unsafe record.data.file_ext = sqfs_inode_file_ext_t(
        blocks_start: content.start, file_size: content.byteCount, sparse: content.sparse, nlink: linkCount,
        fragment_idx: Superblock.absent32, fragment_offset: 0, xattr_idx: set)
    }
  }
}

extension ImagePlan.Node {
  /// Type and permissions, as `lstat` has them.
  fileprivate var mode: UInt16 {
    let type =
      switch kind {
      case .directory: SQFS_INODE_MODE_DIR
      case .regular, .hardLink: SQFS_INODE_MODE_REG
      case .symbolicLink: SQFS_INODE_MODE_LNK
      case .characterDevice: SQFS_INODE_MODE_CHR
      case .blockDevice: SQFS_INODE_MODE_BLK
      case .fifo: SQFS_INODE_MODE_FIFO
      case .socket: SQFS_INODE_MODE_SOCK
      }
    return UInt16(type.rawValue) | permissions
  }

  /// What follows the fixed fields: the target of a link, the block list of a file.
  fileprivate func payload(blockSize: UInt32) -> [UInt8] {
    if case .symbolicLink(let target) = kind { return target }
    let blocks = content.blocks ?? plainBlocks(blockSize)
    return unsafe blocks.withUnsafeBytes { unsafe Array($0) }
  }

  private func plainBlocks(_ blockSize: UInt32) -> [UInt32] {
    let uncompressed: UInt32 = 1 << 24
    let size = UInt64(blockSize)
    let tail = UInt32(content.byteCount % size)
    let full = [UInt32](repeating: blockSize | uncompressed, count: Int(content.byteCount / size))
    return tail == 0 ? full : full + [tail | uncompressed]
  }
}
