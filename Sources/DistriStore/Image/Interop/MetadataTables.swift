// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import CSquashFS
import SystemPackage

/// Writes everything of an image that is not file content, with libsquashfs: inodes, listings, owners, attributes, the
/// export table and the superblock.
final class MetadataTables {
  private let output: ImageOutput
  private let library: LibraryFile
  private let options: ImageWriter.Options
  private var superblock = sqfs_super_t()

  /// Writes the compressor's options and tells the output where contents start.
  init(_ output: ImageOutput, _ options: ImageWriter.Options) throws(StoreError) {
    self.output = output
    self.options = options
    let compressor = options.compression == .none ? nil : Compressor(options)
    if options.compression != .none, compressor == nil {
      throw .system(operation: "compress blocks of", path: output.path, .invalidArgument)
    }
    library = LibraryFile(output.descriptor, path: output.path, blockSize: options.blockSize, compressor: compressor)
    // An image whose blocks are all stored as they are names a compressor, too: one that every kernel has.
    let identifier =
      switch options.compression {
      case .none: SQFS_COMP_GZIP
      case .zstd: SQFS_COMP_ZSTD
      case .lz4: SQFS_COMP_LZ4
      }
    try library.check(unsafe sqfs_super_init(&superblock, Int(options.blockSize), 0, identifier))
    superblock.flags = UInt16(SQFS_FLAG_NO_DUPLICATES.rawValue | SQFS_FLAG_NO_FRAGMENTS.rawValue)
    guard let compressor else {
      let stored =
        SQFS_FLAG_UNCOMPRESSED_INODES.rawValue | SQFS_FLAG_UNCOMPRESSED_DATA.rawValue
        | SQFS_FLAG_UNCOMPRESSED_FRAGMENTS.rawValue | SQFS_FLAG_UNCOMPRESSED_XATTRS.rawValue
        | SQFS_FLAG_UNCOMPRESSED_IDS.rawValue
      superblock.flags |= UInt16(stored)
      output.begin(at: UInt64(ImageOutput.page))
      return
    }
    let count = unsafe compressor.object.pointee.write_options(compressor.object, library.file)
    try library.check(count)
    if count > 0 { superblock.flags |= UInt16(SQFS_FLAG_COMPRESSOR_OPTIONS.rawValue) }
    output.begin(at: Superblock.byteCount + UInt64(max(count, 0)))
  }

  /// Writes the tables behind the contents, and the superblock.
  func write(_ plan: inout ImagePlan) throws(StoreError) -> ImageSummary {
    library.size = output.position
    superblock.inode_table_start = library.size
    let writer = try InodeWriter(library)
    let root = try writer.write(&plan)
    let time = options.modificationTime.map { UInt32(clamping: $0) } ?? plan.newestTime
    superblock.modification_time = time
    superblock.root_inode_ref = root.reference
    superblock.inode_count = root.number
    try writer.finish(&superblock, root)
    superblock.bytes_used = library.size
    try library.check(unsafe sqfs_super_write(&superblock, library.file))
    // Devices are read in blocks: the last page has to be there.
    let page = UInt64(ImageOutput.page)
    let end = (library.size + page - 1) / page * page
    try output.finish(at: end)
    let contents = plan.nodes.reduce(into: UInt64(0)) { $0 += $1.content.byteCount }
    return ImageSummary(byteCount: end, contentByteCount: contents, inodeCount: Int(root.number))
  }
}
