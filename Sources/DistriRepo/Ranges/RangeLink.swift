// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import Synchronization

/// The way to a repository, for all files that come from it in parts: while nobody answers, nobody waits for it again and again.
final class RangeLink: Sendable {
  /// How long one attempt to bring a part may take, however steadily it comes.
  private static let timeLimit: Duration = .seconds(60)
  /// For so long after nobody could be reached, others fail at once.
  private static let pause: Duration = .seconds(5)

  let mirrors: MirrorSet
  private let transport: any Transport
  private let failure = Mutex<(until: ContinuousClock.Instant, error: RepositoryError)?>(nil)

  init(_ mirrors: MirrorSet, _ transport: any Transport) {
    self.mirrors = mirrors
    self.transport = transport
  }

  /// A part of a file, from the first place that gives what the body takes.
  ///
  /// - Parameters:
  ///   - url: of the file, at a place.
  ///   - body: gets the URL and all bytes of the part; what it throws is the place's fault.
  /// - Throws: what the transport and the body throw.
  func part<Value: Sendable>(
    _ range: Range<UInt64>, of url: (_ root: String) -> String, _ body: (String, [UInt8]) async throws -> Value
  ) async throws -> Value {
    if let failure = failure.withLock({ $0 }), ContinuousClock.now < failure.until { throw failure.error }
    do {
      let value = try await mirrors.firstGood { root in
        let url = url(root)
        let sink = BufferSink()
        try await transport.download(TransferRequest(url: url, range: range, timeLimit: Self.timeLimit), into: sink)
        return try await body(url, sink.bytes)
      }
      failure.withLock { $0 = nil }
      return value
    } catch let error as RepositoryError {
      switch error {
      case .transferFailed(_, .timedOut), .transferFailed(_, .unreachable): failure.withLock { $0 = (.now + Self.pause, error) }
      default: break
      }
      throw error
    }
  }
}
