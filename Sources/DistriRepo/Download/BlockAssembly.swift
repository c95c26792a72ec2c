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

  /// What a request brings.
  private struct Part: Sendable {
    /// Of the image, or of the compressed one.
    var range: Range<UInt64>
    /// Of the compressed image: the frames that lie there.
    var frames = 0..<0
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
    let ranges = plan.missing.map { Part(range: $0) }
    let frames = try await frames(cheaperThan: Self.cost(ranges), for: plan.missing)
    let parts = frames?.parts ?? ranges
    guard blocks.byteCount + Self.cost(parts) < limit else { return false }
    let file = try Files.open(creating: path)
    defer { try? file.close() }
    try await blocking { try Self.copy(plan.copies, from: base, to: file, path) }
    try await fetch(parts) { root, part in
      if let frames { return try await decompress(part, of: frames.table, from: root, into: file, path) }
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
        try base.copy(at: part.source, to: file, at: part.target.lowerBound, byteCount: part.target.byteCount)
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
  private func frames(
    cheaperThan limit: UInt64, for missing: [Range<UInt64>]
  ) async throws -> (table: CompressedFrames, parts: [Part])? {
    guard let compressed else { return nil }
    let byteCount = download.image.byteCount
    let tableByteCount = CompressedFrames.tableByteCount(of: byteCount)
    guard tableByteCount < min(limit, compressed.byteCount), tableByteCount <= UInt64(BlockHashes.maximumByteCount) else {
      return nil
    }
    let url = download.url(download.compressedName)
    let bytes = try await download.mirrors.firstGood {
      try await download.transport.bytes(of: url($0), range: compressed.byteCount - tableByteCount..<compressed.byteCount)
    }
    let subject = url(download.mirrors.root).withoutCredentials
    guard
      let table = try? CompressedFrames(
        table: bytes, of: byteCount, compressedByteCount: compressed.byteCount, subject: subject)
    else { return nil }
    let parts = Self.parts(of: table, for: missing)
    return Self.cost(parts) + tableByteCount < limit ? (table, parts) : nil
  }

  /// - Parameter missing: ascending, within the image.
  private static func parts(of table: CompressedFrames, for missing: [Range<UInt64>]) -> [Part] {
    var parts: [Part] = []
    var next = 0
    for range in missing {
      next = max(next, Int(range.lowerBound / CompressedFrames.frameByteCount))
      while UInt64(next) * CompressedFrames.frameByteCount < range.upperBound {
        let place = table.places[next]
        if let last = parts.last, last.frames.upperBound == next, last.frames.count < maximumFrames {
          parts[parts.count - 1] = Part(
            range: last.range.lowerBound..<place.upperBound, frames: last.frames.lowerBound..<next + 1)
        } else {
          parts.append(Part(range: place, frames: next..<next + 1))
        }
        next += 1
      }
    }
    return parts
  }

  private func decompress(
    _ part: Part, of table: CompressedFrames, from root: String, into file: FileDescriptor, _ path: FilePath
  ) async throws {
    let url = download.url(download.compressedName)(root)
    let bytes = try await download.transport.bytes(of: url, range: part.range)
    for frame in part.frames {
      let place = table.places[frame]
      let start = Int(place.lowerBound - part.range.lowerBound)
      let contents = try table.contents(
        of: Array(bytes[start..<start + Int(place.byteCount)]), frame: frame, subject: url.withoutCredentials)
      do { try file.writeAll(toAbsoluteOffset: Int64(frame) * Int64(CompressedFrames.frameByteCount), contents) } catch {
        throw RepositoryError.system(operation: "write", path: path, error as? Errno ?? .ioError)
      }
    }
  }
}
