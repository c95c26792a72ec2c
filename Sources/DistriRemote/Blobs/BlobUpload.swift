// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

#if RemoteExecution

import DistriBuild
import DistriStore
import GRPCCore
import Synchronization

/// Sends content too large for one message, piece by piece, and goes on where it broke off where the server knows how far it came.
struct BlobUpload: Sendable {
  let blob: Blob
  let connection: Connection
  let compresses: Bool

  /// Bytes of a message's content.
  private static let pieceByteCount = 1 << 20
  /// Bytes of the content in a frame of zstd: as many as the compressor takes.
  fileprivate static let frameByteCount = 128 << 10

  /// - Throws: ``RemoteError``; `CancellationError`.
  func run() async throws {
    let reader = try BlobReader(blob)
    let name = resourceName
    let sent = Atomic<UInt64>(0)
    var isResumed = false
    try await connection.retrying(progress: { sent.load(ordering: .relaxed) }) {
      let start = isResumed && !compresses ? try await committedByteCount(name) : 0
      isResumed = true
      if start == blob.digest.byteCount { return }
      try await send(reader, to: name, from: start) { sent.store($0, ordering: .relaxed) }
    }
  }

  private var resourceName: String {
    let kind = compresses ? "compressed-blobs/zstd" : "blobs"
    let instance = connection.endpoint.instance
    return "\(instance)\(instance.isEmpty ? "" : "/")uploads/\(Self.uuid())/\(kind)/\(blob.digest)"
  }

  /// A random UUID (RFC 9562, version 4).
  private static func uuid() -> String {
    var bytes = (0..<16).map { _ in UInt8.random(in: 0...255) }
    bytes[6] = bytes[6] & 0x0f | 0x40
    bytes[8] = bytes[8] & 0x3f | 0x80
    return [0..<4, 4..<6, 6..<8, 8..<10, 10..<16].map { Array(bytes[$0]).hexadecimal }.joined(separator: "-")
  }

  /// How far the server came; 0 where it does not know.
  private func committedByteCount(_ name: String) async throws -> UInt64 {
    do {
      let answer = try await connection.call(RemoteMethods.queryWriteStatus, .with { $0.resourceName = name })
      guard let count = UInt64(exactly: answer.committedSize), count <= blob.digest.byteCount else { return 0 }
      return count
    } catch let error as CallError where !error.mayPass {
      return 0
    }
  }

  private func send(
    _ reader: BlobReader, to name: String, from start: UInt64, progress: @escaping @Sendable (UInt64) -> Void
  ) async throws {
    let failure = Mutex<(any Error)?>(nil)
    let size = blob.digest.byteCount
    let answer: Google_Bytestream_WriteResponse
    do {
      answer = try await connection.send(RemoteMethods.write, timeout: connection.timeout(forBytes: size - start)) { writer in
        var pieces = UploadPieces(
          reader: reader, from: start, byteCount: size,
          compressor: compresses ? FrameCompressor(level: 3, byteCount: Self.frameByteCount) : nil)
        do {
          while let piece = try pieces.next(atLeast: Self.pieceByteCount) {
            let message = Google_Bytestream_WriteRequest.with {
              $0.resourceName = piece.isFirst ? name : ""
              $0.writeOffset = Int64(clamping: piece.offset)
              $0.finishWrite = piece.isLast
              $0.data = .init(piece.bytes)
            }
            // A server that has the content already answers at once, and takes no more: the answer counts.
            do { try await writer.write(message) } catch { return }
            progress(pieces.position)
          }
        } catch {
          failure.withLock { $0 = error }
          throw error
        }
      }
    } catch {
      throw failure.withLock { $0 } ?? error
    }
    // -1 stands for compressed content that the server has already.
    guard answer.committedSize == Int64(clamping: size) || compresses else {
      throw CallError(
        endpoint: connection.endpoint, call: "Write",
        RPCError(code: .aborted, message: "only \(answer.committedSize) of \(size) bytes of \(blob.digest) arrived"))
    }
  }
}

/// What is sent of content, as messages carry it.
private struct UploadPieces {
  struct Piece {
    var bytes: [UInt8]
    /// In what is sent.
    var offset: UInt64
    var isFirst: Bool
    var isLast: Bool
  }

  private let reader: BlobReader
  private let byteCount: UInt64
  private let compressor: FrameCompressor?
  /// How far the content was read.
  private(set) var position: UInt64
  private var sent: UInt64
  private var isStarted = false
  private var isEnded = false

  init(reader: BlobReader, from start: UInt64, byteCount: UInt64, compressor: FrameCompressor?) {
    self.reader = reader
    self.byteCount = byteCount
    self.compressor = compressor
    position = start
    sent = start
  }

  mutating func next(atLeast count: Int) throws(RemoteError) -> Piece? {
    if isEnded { return nil }
    var bytes: [UInt8] = []
    repeat {
      let piece = try reader.bytes(at: position, atMost: compressor == nil ? count : BlobUpload.frameByteCount)
      position += UInt64(piece.count)
      guard let compressor else {
        bytes += piece
        continue
      }
      guard let frame = compressor.frame(of: piece) else { throw .system(operation: "compress", path: reader.path, .ioError) }
      bytes += frame
    } while position < byteCount && bytes.count < count
    isEnded = position == byteCount
    defer { (sent, isStarted) = (sent + UInt64(bytes.count), true) }
    return Piece(bytes: bytes, offset: sent, isFirst: !isStarted, isLast: isEnded)
  }
}

#endif
