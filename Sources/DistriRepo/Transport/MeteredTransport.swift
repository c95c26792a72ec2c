// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import Synchronization

/// Tells how many bytes come through another transport, for a progress display.
public struct MeteredTransport: Transport {
  private let base: any Transport
  private let onBytes: @Sendable (Int64) -> Void

  /// Wraps a transport.
  ///
  /// - Parameter onBytes: called with the decoded bytes that a sink just took, often and on the transport's thread; with a negative
  ///   number when a transfer starts again and what it had is void.
  public init(_ base: any Transport, onBytes: @escaping @Sendable (Int64) -> Void) {
    self.base = base
    self.onBytes = onBytes
  }

  /// As the other transport.
  @discardableResult
  public func download(_ request: TransferRequest, into sink: any TransferSink) async throws -> TransferResponse {
    try await base.download(request, into: MeteredSink(sink, onBytes))
  }
}

private final class MeteredSink: TransferSink {
  private let base: any TransferSink
  private let onBytes: @Sendable (Int64) -> Void
  private let total = Atomic<Int64>(0)

  init(_ base: any TransferSink, _ onBytes: @escaping @Sendable (Int64) -> Void) {
    self.base = base
    self.onBytes = onBytes
  }

  func consume(_ bytes: RawSpan) throws -> Flow {
    let flow = try base.consume(bytes)
    if case .proceed = flow {
      total.add(Int64(bytes.byteCount), ordering: .relaxed)
      onBytes(Int64(bytes.byteCount))
    }
    return flow
  }

  func restart() throws {
    onBytes(-total.exchange(0, ordering: .relaxed))
    try base.restart()
  }
}
