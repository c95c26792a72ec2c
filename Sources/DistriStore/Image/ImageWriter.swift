// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import SystemPackage

/// Packs a tree into a SquashFS 4.0 image. The same entries in the same order give the same bytes, however many threads
/// take part.
///
/// Uncompressed, which is the default, every file's content is one run of the image, aligned to 4096 bytes, that can be
/// mapped or copied as it is; runs of zeros are holes of the image file.
public struct ImageWriter: Sendable {
  /// How blocks are stored.
  public enum Compression: Sendable, Hashable {
    /// As they are: largest, fastest to write and to read.
    case none
    /// Level 1 to 22.
    case zstd(level: Int = 15)
    /// Fast to read.
    case lz4
  }

  /// What a writer may be told.
  public struct Options: Sendable, Hashable {
    /// How blocks are stored.
    public var compression: Compression
    /// Of data blocks, in bytes: a power of two from 4096 to 1048576.
    public var blockSize: UInt32
    /// In seconds since 1970, as `SOURCE_DATE_EPOCH`: later times of entries become this one, and it is stamped on the
    /// image. When nil, the image is stamped with the latest time of its entries.
    public var modificationTime: Int64?

    /// Makes options.
    public init(compression: Compression = .none, blockSize: UInt32 = 131072, modificationTime: Int64? = nil) {
      self.compression = compression
      self.blockSize = blockSize
      self.modificationTime = modificationTime
    }
  }

  /// What the writer was told.
  public let options: Options

  /// Makes a writer.
  public init(options: Options = .init()) { self.options = options }

  /// Packs all entries of the tree. Memory grows with the number of entries, not with their content.
  ///
  /// Directories that entries lie in and that are no entries themselves are made: mode 0755, owner root.
  ///
  /// - Parameters:
  ///   - file: open for reading and writing; what it holds is replaced. It is not synced.
  ///   - path: for errors.
  /// - Throws: ``StoreError/invalidArchive(_:entry:reason:)`` for an entry that cannot be packed, naming it;
  ///   ``StoreError/system(operation:path:_:)``; what the tree throws.
  public func write<Tree: FileTree>(
    _ tree: inout Tree, to file: FileDescriptor, path: FilePath
  ) throws -> ImageSummary {
    try write(&tree, to: file, path: path) { _ in nil }
  }

  /// The same for trees whose contents lie in files: the kernel copies them, and shares their blocks where the file
  /// system can.
  public func write<Tree: DescriptorBackedTree>(
    _ tree: inout Tree, to file: FileDescriptor, path: FilePath
  ) throws -> ImageSummary {
    try write(&tree, to: file, path: path) { try $0.contentsDescriptor() }
  }

  private func write<Tree: FileTree>(
    _ tree: inout Tree, to file: FileDescriptor, path: FilePath, descriptor: (inout Tree) throws -> FileDescriptor?
  ) throws -> ImageSummary {
    let size = options.blockSize
    guard size >= 4096, size <= 1 << 20, size & (size - 1) == 0 else {
      throw StoreError.system(operation: "write blocks of \(size) bytes to", path: path, .invalidArgument)
    }
    let output = try ImageOutput(file, path: path)
    defer { output.wait() }
    let tables = try MetadataTables(output, options)
    var plan = ImagePlan(image: path, latestTime: options.modificationTime)
    let contents: any ContentStore =
      switch options.compression {
      case .none: PlainContents(output)
      case .zstd, .lz4: try CompressedContents(output, options)
      }
    while let entry = try tree.next() {
      let node = try plan.add(entry)
      guard case .regular(let byteCount) = entry.kind, byteCount > 0 else { continue }
      guard byteCount / UInt64(size) < Inode.maximumBlocks else { throw plan.invalid(entry.path, "it is too large") }
      let source = try descriptor(&tree)
      try contents.append(node: node, byteCount: byteCount, descriptor: source) { output in
        let before = output.byteCount
        try tree.readContents(into: &output)
        if output.byteCount == before { throw plan.invalid(entry.path, "its content ends before the size that was announced") }
      }
    }
    try contents.finish(into: &plan)
    return try tables.write(&plan)
  }
}

/// What became of a tree.
public struct ImageSummary: Sendable, Hashable {
  /// Of the image, in bytes.
  public let byteCount: UInt64
  /// Of all regular files together, in bytes; hard links counted once.
  public let contentByteCount: UInt64
  /// How many inodes the image has: directories, files and so on; hard links counted once.
  public let inodeCount: Int
}
