// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import Synchronization

/// Brings files here: over HTTP, from a directory, or from a test.
public protocol Transport: Sendable {
  /// Gives the decoded body of the file to the sink, in order, and returns when all of it was consumed.
  ///
  /// After it returned or threw, the sink is not called any more. A cancelled task ends the transfer.
  ///
  /// - Throws: ``RepositoryError/notFound(url:)``, ``RepositoryError/transferFailed(url:_:)``,
  ///   ``RepositoryError/tooLarge(url:limit:)``, ``RepositoryError/invalidURL(_:)``, `CancellationError`, or what the sink throws.
  @discardableResult
  func download(_ request: TransferRequest, into sink: any TransferSink) async throws -> TransferResponse
}

/// Takes the body of one transfer. Called by one thread at a time, which is the transport's: it must not block.
public protocol TransferSink: Sendable {
  /// Takes the next bytes of the body, all or none.
  ///
  /// - Returns: ``Flow/proceed`` when they were taken; ``Flow/pause(_:)`` when none was: the same bytes come again once the gate
  ///   is open. Only this transfer waits.
  /// - Throws: anything; it ends the transfer and is thrown by ``Transport/download(_:into:)``.
  func consume(_ bytes: RawSpan) throws -> Flow
  /// The transfer failed and is tried again: the body comes anew from its first byte.
  func restart() throws
}

/// What a sink says to the bytes that it was offered.
public enum Flow: Sendable {
  /// They were taken.
  case proceed
  /// None was taken; offer them again when the gate is open.
  case pause(TransferGate)
}

/// What to bring.
public struct TransferRequest: Sendable, Hashable {
  /// An `http://`, `https://` or `file://` URL, or a path.
  public var url: String
  /// The most bytes, decoded, that the sink is ever given.
  public var maximumByteCount: UInt64
  /// How long one attempt may take altogether; nil leaves that to the transport's limit on slowness.
  public var timeLimit: Duration?

  /// Makes a request.
  public init(url: String, maximumByteCount: UInt64, timeLimit: Duration? = nil) {
    self.url = url
    self.maximumByteCount = maximumByteCount
    self.timeLimit = timeLimit
  }
}

/// What came.
public struct TransferResponse: Sendable, Hashable {
  /// Where the body came from in the end, after redirects.
  public var url: String
  /// Decoded bytes that the sink took.
  public var byteCount: UInt64

  /// Makes a response.
  public init(url: String, byteCount: UInt64) {
    self.url = url
    self.byteCount = byteCount
  }
}

/// Holds a transfer back until somebody opens it, once.
public final class TransferGate: Sendable {
  private enum State {
    case closed([@Sendable () -> Void])
    case open
  }

  private let state = Mutex(State.closed([]))

  /// Makes a closed gate.
  public init() {}

  /// Lets the transfer proceed. May be called from anywhere, more than once.
  public func open() {
    let actions = state.withLock { state -> [@Sendable () -> Void] in
      defer { state = .open }
      guard case .closed(let actions) = state else { return [] }
      return actions
    }
    for action in actions { action() }
  }

  /// For transports: runs the action when the gate opens, at once if it is open.
  public func whenOpen(_ action: @escaping @Sendable () -> Void) {
    let isOpen = state.withLock { state in
      guard case .closed(let actions) = state else { return true }
      state = .closed(actions + [action])
      return false
    }
    if isOpen { action() }
  }

  /// For transports that run in a task: returns when the gate is open.
  func wait() async {
    await withCheckedContinuation { continuation in
      whenOpen { continuation.resume() }
    }
  }
}
