// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore
import SystemPackage

/// Puts an image together of blocks of another version, and of what is missing: ranges of the image, or frames of the compressed one, whichever
/// is less.
struct BlockAssembly: Sendable {
  let download: ImageDownload
  let blocks: RepositoryIndex.FileDigest
  /// Nil where it may not be used.
  let compressed: RepositoryIndex.FileDigest?
  /// What the image costs otherwise, in bytes.
  let limit: UInt64

  /// Ranges that are asked for at the same time.
  private static let maximumRequests = 6
  /// What a request for a range costs beside the range, in bytes.
  private static let requestByteCount: UInt64 = 512
  /// The most frames of one request: what is fetched and decompressed is in memory.
  private static let maximumFrames = 64

  /// What a request brings, and where it goes.
  private struct Part: Sendable {
    /// Of the image, or of the compressed one.
    var range: Range<UInt64>
    /// The first byte of the image that comes of it.
    var target: UInt64
    /// How many bytes of the image come of it.
    var byteCount: UInt64
  }

  /// Creates the image.
  ///
  /// - Returns: false where it would not be cheaper than the limit; then nothing was made.
  func make(_ path: FilePath, from basePath: FilePath) async throws -> Bool {
    guard blocks.byteCount < limit, blocks.byteCount <= UInt64(BlockHashes.maximumByteCount) else { return false }
    let hashes = try await hashes()
    let base = try Files.open(reading: basePath)
    defer { try? base.close() }
    let plan = try await blocking { try Self.plan(for: hashes, from: base, basePath) }
    let ranges = plan.missing.map { Part(range: $0, target: $0.lowerBound, byteCount: $0.byteCount) }
    let frames = try await frames(with: plan.missing, cheaperThan: Self.cost(ranges))
    let parts = frames ?? ranges
    guard blocks.byteCount + Self.cost(parts) < limit else { return false }
    let file = try Files.open(creating: path)
    defer { try? file.close() }
    try await blocking { try Self.copy(plan.copies, from: base, to: file, path) }
    try await fetch(parts) { root, part in
      guard frames == nil else { return try await decompress(part, from: root, into: file, path) }
      var received = ReceivedPrefix(byteCount: part.range.lowerBound)
      let request = TransferRequest(url: download.url(imageName)(root), range: part.range)
      try await download.transport.receive(request, into: file, path: path, &received, isPart: true)
    }
    try await download.check(file, path, madeOf: imageName)
    let transferred = parts.reduce(0) { $0 + $1.range.byteCount }
    download.options.onReused(download.image.byteCount - min(transferred, download.image.byteCount))
    return true
  }

  private var imageName: String { download.entry.id.imageFileName }

  private static func cost(_ parts: [Part]) -> UInt64 { parts.reduce(0) { $0 + $1.range.byteCount + requestByteCount } }

  // MARK: What is there

  private func hashes() async throws -> BlockHashes {
    let url = download.url(imageName + BlockHashes.fileSuffix)
    let bytes = try await download.mirrors.firstGood { root in
      let bytes = try await download.transport.bytes(
        of: url(root), maximumByteCount: blocks.byteCount, timeLimit: download.options.smallFileTimeLimit)
      try blocks.check(bytes, subject: download.entry.id.description, url: url(root))
      return bytes
    }
    let subject = url(download.mirrors.root).withoutCredentials
    let hashes = try BlockHashes(serialized: bytes, subject: subject)
    guard hashes.fileByteCount == download.image.byteCount else {
      throw StoreError.invalidMetadata(of: subject, line: nil, reason: "is of another image than that of the index")
    }
    return hashes
  }

  private static func plan(for blocks: BlockHashes, from base: FileDescriptor, _ path: FilePath) throws -> BlockPlan {
    do { return try BlockPlan(for: blocks, from: base) } catch {
      throw RepositoryError.system(operation: "read", path: path, error)
    }
  }

  private static func copy(_ parts: [BlockPlan.Copy], from base: FileDescriptor, to file: FileDescriptor, _ path: FilePath) throws {
    do {
      for part in parts {
        try Files.copy(from: base, at: part.source, to: file, at: part.target.lowerBound, byteCount: part.target.byteCount)
      }
    } catch {
      throw RepositoryError.system(operation: "copy to", path: path, error as? Errno ?? .ioError)
    }
  }

  // MARK: What is missing

  private func fetch(_ parts: [Part], _ body: @escaping @Sendable (_ root: String, Part) async throws -> Void) async throws {
    try await withThrowingTaskGroup(of: Void.self) { group in
      for (index, part) in parts.enumerated() {
        if index >= Self.maximumRequests { try await group.next() }
        group.addTask { try await download.mirrors.firstGood { try await body($0, part) } }
      }
      try await group.waitForAll()
    }
  }

  /// The frames of the compressed image that hold what is missing; nil where that is no cheaper, or the file has other frames than ours.
  private func frames(with missing: [Range<UInt64>], cheaperThan limit: UInt64) async throws -> [Part]? {
    guard let compressed else { return nil }
    let tableByteCount = CompressedFrames.tableByteCount(of: download.image.byteCount)
    guard tableByteCount < limit, tableByteCount < compressed.byteCount else { return nil }
    let url = download.url(download.compressedName)
    let bytes = try await download.mirrors.firstGood {
      try await download.transport.bytes(of: url($0), range: compressed.byteCount - tableByteCount..<compressed.byteCount)
    }
    guard
      let frames = try? CompressedFrames(
        table: bytes, of: download.image.byteCount, compressedByteCount: compressed.byteCount, subject: url(download.mirrors.root))
    else { return nil }
    let parts = Self.parts(of: frames, for: missing, imageByteCount: download.image.byteCount)
    return Self.cost(parts) + tableByteCount < limit ? parts : nil
  }

  /// - Parameter missing: ascending.
  private static func parts(of frames: CompressedFrames, for missing: [Range<UInt64>], imageByteCount: UInt64) -> [Part] {
    let size = CompressedFrames.frameByteCount
    var parts: [Part] = []
    var next: UInt64 = 0
    for range in missing {
      next = max(next, range.lowerBound / size)
      while next * size < range.upperBound {
        let place = frames.places[Int(next)]
        let byteCount = min(size, imageByteCount - next * size)
        if let last = parts.last, last.range.upperBound == place.lowerBound, last.byteCount < UInt64(maximumFrames) * size {
          parts[parts.count - 1].range = last.range.lowerBound..<place.upperBound
          parts[parts.count - 1].byteCount += byteCount
        } else {
          parts.append(Part(range: place, target: next * size, byteCount: byteCount))
        }
        next += 1
      }
    }
    return parts
  }

  private func decompress(_ part: Part, from root: String, into file: FileDescriptor, _ path: FilePath) async throws {
    let url = download.url(download.compressedName)(root)
    let bytes = try await download.transport.bytes(of: url, range: part.range)
    let contents = try CompressedBytes.contents(of: bytes, limit: Int(part.byteCount), subject: FilePath(url.withoutCredentials))
    do { try file.writeAll(toAbsoluteOffset: Int64(part.target), contents) } catch {
      throw RepositoryError.system(operation: "write", path: path, error as? Errno ?? .ioError)
    }
  }
}
