// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import SystemPackage

extension PackageImage {
  /// More than any image of a package has; it is held in memory.
  private static let maximumMetadataByteCount: UInt64 = 512 << 20
  /// What is copied at a time, in bytes.
  private static let pieceByteCount: UInt64 = 4 << 20
  /// How often a piece that was fetched may have had to make room again before it was read.
  private static let maximumAttempts = 4

  /// An image that lies elsewhere: everything but the contents of files is fetched, and copied into memory; contents are read from
  /// the source, with `EAGAIN` as ``StoreError/system(operation:path:_:)`` for those that are not here.
  ///
  /// - Parameter path: for errors.
  /// - Throws: what the source throws; ``StoreError/damagedImage(_:place:reason:)``; ``StoreError/system(operation:path:_:)``.
  package static func fetchingMetadata(of source: any RemoteByteSource, path: FilePath) async throws -> PackageImage {
    let copy = OwnedDescriptor(try MappedFile.anonymousFile([]))
    try copy.descriptor.resize(to: Int64(clamping: source.byteCount))
    let start = 0..<min(Superblock.byteCount, source.byteCount)
    // What describes the files lies at the end. Mostly it is small: then this is all of it.
    let guess = max(start.upperBound, source.byteCount - min(source.byteCount, 64 << 10))..<source.byteCount
    try await source.fetch([start, guess])
    try await copy.descriptor.copy(start, of: source)
    let superblock = try PackageImage(try MappedFile(descriptor: copy.descriptor), path: path).superblock
    let metadata = superblock.inodeTable.lowerBound..<superblock.bytesUsed
    guard metadata.upperBound - metadata.lowerBound <= maximumMetadataByteCount else {
      throw StoreError.damagedImage(path, place: "superblock", reason: "tables of more than \(maximumMetadataByteCount) bytes")
    }
    var next = metadata.lowerBound
    while next < metadata.upperBound {
      // Not all at once: a small cache may have no room for it.
      let piece = next..<min(next + pieceByteCount, metadata.upperBound)
      if next < guess.lowerBound { try await source.fetch([piece]) }
      try await copy.descriptor.copy(piece, of: source)
      next = piece.upperBound
    }
    return try PackageImage(try MappedFile(descriptor: copy.descriptor), path: path, contents: source)
  }

  /// Reads a part of the source that is here, or was a moment ago.
  fileprivate static func bytes(_ range: Range<UInt64>, of source: any RemoteByteSource) async throws -> [UInt8] {
    var attempt = 1
    while true {
      do throws(Errno) {
        return try [UInt8](capacity: Int(range.upperBound - range.lowerBound)) { output throws(Errno) in
          try source.read(into: &output, at: range.lowerBound)
        }
      } catch {
        guard error == .resourceTemporarilyUnavailable, attempt < maximumAttempts else { throw error }
        attempt += 1
      }
      try await source.fetch([range])
    }
  }
}

extension FileDescriptor {
  /// Writes a part of the source to its place.
  fileprivate func copy(_ range: Range<UInt64>, of source: any RemoteByteSource) async throws {
    try writeAll(toAbsoluteOffset: Int64(clamping: range.lowerBound), try await PackageImage.bytes(range, of: source))
  }
}

extension PackageIndex {
  /// The index of a remote image: fetches what describes its files, and nothing else.
  ///
  /// - Parameters:
  ///   - name: of the index' file, which is kept in the directory for ``kept(_:in:of:)``, where that can be written.
  ///   - identity: what the index is bound to.
  /// - Throws: as ``PackageImage/fetchingMetadata(of:path:)``.
  package static func making(
    _ name: String, in directory: IndexDirectory, of source: any RemoteByteSource, _ identity: ImageIdentity, path: FilePath
  ) async throws -> PackageIndex {
    let image = try await PackageImage.fetchingMetadata(of: source, path: path)
    return try directory.index(name, PackageIndexBuilder.bytes(of: image, identity), of: identity, path: path)
  }

  /// The index that is there; nil where there is none of this image.
  package static func kept(_ name: String, in directory: IndexDirectory, of identity: ImageIdentity) -> PackageIndex? {
    guard let file = directory.map(name) else { return nil }
    // All of it is about to be checked.
    file.prefetch()
    return PackageIndex(file, of: identity)
  }
}
