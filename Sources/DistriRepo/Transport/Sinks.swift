// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore
import Synchronization
import SystemPackage

/// Keeps a small body in memory. The request's limit bounds it.
final class BufferSink: TransferSink {
  private let buffer = Mutex<[UInt8]>([])

  var bytes: [UInt8] { buffer.withLock { $0 } }

  func consume(_ bytes: RawSpan) throws -> Flow {
    buffer.withLock { $0.append(bytes) }
    return .proceed
  }

  func restart() throws { buffer.withLock { $0.removeAll() } }
}

/// The beginning of a file that has come, and its hash so far.
struct ReceivedPrefix: Sendable {
  var byteCount: UInt64 = 0
  var digester = Digester()

  /// What the file is if there is no more of it.
  var digest: RepositoryIndex.FileDigest { .init(byteCount: byteCount, sha256: digester.finish()) }
}

/// Writes a body to a file, behind what is there, and hashes it, off the transport's thread.
///
/// The transport's thread only copies bytes into pieces; ``write(to:path:)`` hashes and writes them in its own task. When that
/// falls behind, this transfer pauses and others go on.
final class FileSink: TransferSink {
  private enum Piece {
    case bytes([UInt8])
    case restart
  }

  private struct State {
    var filling: [UInt8] = []
    var queuedByteCount = 0
    var gate: TransferGate?
    var failure: (any Error)?
  }

  /// Bytes hashed and written at a time.
  private static let pieceByteCount = 256 << 10
  /// Bytes that may wait to be written before the transfer pauses.
  private static let maximumQueuedByteCount = 4 * pieceByteCount

  /// Bytes after which the kernel is told to write them out already, so that the store has little to wait for when it commits.
  private static let writebackByteCount: UInt64 = 8 << 20

  private let start: ReceivedPrefix
  private let isPart: Bool
  private let state = Mutex(State())
  private let pieces: AsyncStream<Piece>
  private let queue: AsyncStream<Piece>.Continuation

  /// - Parameters:
  ///   - start: what the file has already.
  ///   - isPart: whether what lies behind is left alone when the body begins anew.
  init(after start: ReceivedPrefix = ReceivedPrefix(), isPart: Bool = false) {
    self.start = start
    self.isPart = isPart
    (pieces, queue) = AsyncStream.makeStream()
  }

  func consume(_ bytes: RawSpan) throws -> Flow {
    try state.withLock { state in
      if let failure = state.failure { throw failure }
      if state.queuedByteCount >= Self.maximumQueuedByteCount {
        let gate = state.gate ?? TransferGate()
        state.gate = gate
        return .pause(gate)
      }
      if state.filling.isEmpty { state.filling.reserveCapacity(Self.pieceByteCount) }
      state.filling.append(bytes)
      if state.filling.count >= Self.pieceByteCount { flush(&state) }
      return .proceed
    }
  }

  func restart() throws {
    state.withLock { state in
      state.filling.removeAll(keepingCapacity: true)
      queue.yield(.restart)
    }
  }

  /// The transfer is over; what was taken is still to be written.
  func finish() {
    state.withLock { flush(&$0) }
    queue.finish()
  }

  private func flush(_ state: inout State) {
    guard !state.filling.isEmpty else { return }
    state.queuedByteCount += state.filling.count
    queue.yield(.bytes(state.filling))
    state.filling = []
  }

  /// Writes until ``finish()``.
  ///
  /// - Returns: what the file has then.
  func write(to file: FileDescriptor, path: FilePath) async throws -> ReceivedPrefix {
    var received = start
    var writtenBack = start.byteCount
    do {
      for await piece in pieces {
        switch piece {
        case .restart:
          received = start
          writtenBack = start.byteCount
          if !isPart { try file.resize(to: Int64(start.byteCount)) }
        case .bytes(let bytes):
          received.digester.update(bytes)
          try file.writeAll(toAbsoluteOffset: Int64(received.byteCount), bytes)
          received.byteCount += UInt64(bytes.count)
          written(bytes.count)
          if received.byteCount - writtenBack >= Self.writebackByteCount {
            file.startWriteback(from: Int64(writtenBack), byteCount: Int64(received.byteCount - writtenBack))
            writtenBack = received.byteCount
          }
        }
      }
    } catch {
      let failure = RepositoryError.system(operation: "write", path: path, error as? Errno ?? .ioError)
      fail(failure)
      throw failure
    }
    // A cancelled task sees the end of the pieces early.
    try Task.checkCancellation()
    return received
  }

  private func written(_ count: Int) {
    let gate = state.withLock { state -> TransferGate? in
      state.queuedByteCount -= count
      guard state.queuedByteCount <= Self.maximumQueuedByteCount / 2 else { return nil }
      return state.gate.take()
    }
    gate?.open()
  }

  private func fail(_ error: any Error) {
    let gate = state.withLock { state -> TransferGate? in
      state.failure = error
      return state.gate.take()
    }
    gate?.open()
  }
}
