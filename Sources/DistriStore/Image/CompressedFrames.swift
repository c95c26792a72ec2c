// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import SystemPackage

/// A file compressed with zstd in frames that can be decompressed one by one, so that parts of it can be fetched: where they lie.
///
/// Format: zstd's seekable format 0.1.0 without checksums. Each frame holds ``frameByteCount`` bytes, the last one the rest; a table of their sizes, in a
/// frame that decompressors skip, ends the file. Any zstd decompresses the whole.
public struct CompressedFrames: Sendable, Hashable {
  /// Decompressed bytes of a frame. Larger ones make the file smaller, smaller ones what is fetched of it.
  public static let frameByteCount: UInt64 = 64 << 10

  /// Where each frame lies in the compressed file, one behind the other.
  public let places: [Range<UInt64>]
  /// Decompressed bytes of the last frame.
  private let lastByteCount: UInt64

  private static let skippableMagic: UInt32 = 0x184d_2a5e
  private static let seekableMagic: UInt32 = 0x8f92_eab1
  private static let headerByteCount = 8
  private static let footerByteCount = 9

  /// How large the table at the end of a compressed file is, in bytes.
  ///
  /// - Parameter byteCount: of what was compressed.
  public static func tableByteCount(of byteCount: UInt64) -> UInt64 {
    8 * frameCount(of: byteCount) + UInt64(headerByteCount + footerByteCount)
  }

  private static func frameCount(of byteCount: UInt64) -> UInt64 {
    byteCount / frameByteCount + (byteCount % frameByteCount > 0 ? 1 : 0)
  }

  /// Parses the table.
  ///
  /// - Parameters:
  ///   - bytes: the last ``tableByteCount(of:)`` bytes of the compressed file.
  ///   - byteCount: of what was compressed.
  ///   - compressedByteCount: the size of the compressed file.
  ///   - subject: the file, for errors.
  /// - Throws: ``StoreError/invalidMetadata(of:line:reason:)`` for what is no table, or that of another file.
  public init(
    table bytes: [UInt8], of byteCount: UInt64, compressedByteCount: UInt64, subject: String
  ) throws(StoreError) {
    func refuse(_ reason: String) -> StoreError { .invalidMetadata(of: subject, line: nil, reason: reason) }
    func number(_ offset: Int) -> UInt32 { bytes[offset..<offset + 4].reversed().reduce(0) { $0 << 8 | UInt32($1) } }
    let count = Self.frameCount(of: byteCount)
    guard UInt64(bytes.count) == Self.tableByteCount(of: byteCount), number(0) == Self.skippableMagic,
      UInt64(number(4)) == UInt64(bytes.count - Self.headerByteCount), UInt64(number(bytes.count - Self.footerByteCount)) == count,
      bytes[bytes.count - 5] == 0, number(bytes.count - 4) == Self.seekableMagic
    else { throw refuse("has no table of frames at its end") }
    var places: [Range<UInt64>] = []
    var (end, rest) = (UInt64(0), byteCount)
    for index in 0..<Int(count) {
      let (compressed, plain) = (UInt64(number(8 + 8 * index)), UInt64(number(12 + 8 * index)))
      // What does not get smaller is stored, with a few bytes around it.
      guard plain == min(rest, Self.frameByteCount), compressed > 0, compressed <= plain + 64 else {
        throw refuse("has frames of other sizes than ours")
      }
      places.append(end..<end + compressed)
      (end, rest) = (end + compressed, rest - plain)
    }
    guard end.addingReportingOverflow(UInt64(bytes.count)) == (compressedByteCount, false) else {
      throw refuse("is not as long as its frames")
    }
    self.places = places
    lastByteCount = byteCount - UInt64(max(1, places.count) - 1) * Self.frameByteCount
  }

  /// Compresses a file, which is not empty, into another, from its start: the same bytes for the same file, level and library.
  ///
  /// - Parameters:
  ///   - level: from 1, fast, to 19, small.
  ///   - output: for writing, empty.
  /// - Throws: ``StoreError/system(operation:path:_:)``.
  public static func compress(_ path: FilePath, level: Int, to output: FileDescriptor) throws(StoreError) {
    let file = try OwnedDescriptor(reading: path)
    guard let compressor = FrameCompressor(level: level, byteCount: Int(frameByteCount)) else {
      throw .system(operation: "compress", path: path, .notSupported)
    }
    var table: [UInt8] = []
    var offset: UInt64 = 0
    do {
      while true {
        let input = try [UInt8](capacity: Int(frameByteCount)) { span throws(Errno) in
          _ = try file.descriptor.readAppending(at: offset, limit: .max, to: &span)
        }
        if input.isEmpty { break }
        guard let frame = compressor.frame(of: input) else { throw Errno.ioError }
        try output.writeAll(frame)
        append(UInt32(frame.count), to: &table)
        append(UInt32(input.count), to: &table)
        offset += UInt64(input.count)
      }
      var header: [UInt8] = []
      append(skippableMagic, to: &header)
      append(UInt32(table.count + footerByteCount), to: &header)
      append(UInt32(table.count / 8), to: &table)
      table.append(0)
      append(seekableMagic, to: &table)
      try output.writeAll(header + table)
    } catch {
      throw .system(operation: "compress", path: path, error as? Errno ?? .ioError)
    }
  }

  /// Decompresses a file into another, from its start.
  ///
  /// - Parameters:
  ///   - byteCount: of what was compressed; as many bytes come out, or an error.
  ///   - output: for writing, empty.
  /// - Throws: ``StoreError/invalidMetadata(of:line:reason:)`` for a file that is damaged, or has other frames than ours;
  ///   ``StoreError/system(operation:path:_:)``.
  public static func decompress(_ path: FilePath, of byteCount: UInt64, to output: FileDescriptor) throws(StoreError) {
    let file = try OwnedDescriptor(reading: path)
    func read(_ range: Range<UInt64>) throws(StoreError) -> [UInt8] {
      do {
        return try [UInt8](capacity: Int(range.upperBound - range.lowerBound)) { span throws(Errno) in
          _ = try file.descriptor.readAppending(at: range.lowerBound, limit: .max, to: &span)
        }
      } catch {
        throw .system(operation: "read", path: path, error)
      }
    }
    let size: UInt64
    do { size = try file.descriptor.status().byteCount } catch { throw .system(operation: "stat", path: path, error) }
    let tableStart = size - min(size, tableByteCount(of: byteCount))
    let frames = try CompressedFrames(
      table: try read(tableStart..<size), of: byteCount, compressedByteCount: size, subject: path.string)
    for (index, place) in frames.places.enumerated() {
      let contents = try frames.contents(of: try read(place), frame: index, subject: path.string)
      do { try output.writeAll(toAbsoluteOffset: Int64(index) * Int64(frameByteCount), contents) } catch {
        throw .system(operation: "write", path: path, error as? Errno ?? .ioError)
      }
    }
  }

  /// Decompresses a frame.
  ///
  /// - Parameters:
  ///   - bytes: what lies at its place.
  ///   - subject: the file, for errors.
  /// - Throws: ``StoreError/invalidMetadata(of:line:reason:)`` for what is no frame of the right size.
  public func contents(of bytes: [UInt8], frame: Int, subject: String) throws(StoreError) -> [UInt8] {
    let expected = Int(frame == places.count - 1 ? lastByteCount : Self.frameByteCount)
    guard let contents = Self.decompressors.decompress(Bytes(bytes), limit: expected), contents.count == expected else {
      throw .invalidMetadata(of: subject, line: nil, reason: "frame \(frame) is damaged")
    }
    return contents.array
  }

  /// libsquashfs's, whose blocks are whole frames. Nothing else is tried, and what comes out is not looked into.
  private static let decompressors = DecompressorPool(compression: 6, blockSize: UInt32(frameByteCount))

  private static func append(_ number: UInt32, to bytes: inout [UInt8]) {
    for shift in stride(from: UInt32(0), to: 32, by: 8) { bytes.append(UInt8(truncatingIfNeeded: number >> shift)) }
  }
}
