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
  /// The bytes of the file that are wanted, counted from 0; nil for all. The sink gets exactly these, or the transfer fails with
  /// ``TransferFailure/rangeUnavailable``; an empty range asks nobody.
  public var range: Range<UInt64>?
  /// With a range: the ``TransferResponse/entityTag`` that the file has to have, so that a file which changed between two parts is noticed.
  public var entityTag: String?

  /// Whether the server may encode the file for the way, if that is a whole one: of no use for what is compressed already.
  public var allowsEncoding = true

  /// Makes a request for a file.
  public init(url: String, maximumByteCount: UInt64, timeLimit: Duration? = nil) {
    self.url = url
    self.maximumByteCount = maximumByteCount
    self.timeLimit = timeLimit
  }

  /// Makes a request for a part of a file.
  public init(url: String, range: Range<UInt64>, entityTag: String? = nil, timeLimit: Duration? = nil) {
    self.init(url: url, maximumByteCount: range.byteCount, timeLimit: timeLimit)
    self.range = range
    self.entityTag = entityTag
  }
}

extension Range<UInt64> {
  /// `count`, which is an `Int`, has no room for all of them.
  var byteCount: UInt64 { upperBound - lowerBound }
}

extension String {
  /// Whether the text is written as an entity tag that is not weak: also, that it can stand in a header.
  var isStrongEntityTag: Bool {
    utf8.count >= 2 && utf8.count <= 256 && hasPrefix("\"") && hasSuffix("\"")
      && utf8.dropFirst().dropLast().allSatisfy { $0 > 0x20 && $0 != UInt8(ascii: "\"") && $0 != 0x7f }
  }
}

/// What came.
public struct TransferResponse: Sendable, Hashable {
  /// Where the body came from in the end, after redirects.
  public var url: String
  /// Decoded bytes that the sink took.
  public var byteCount: UInt64
  /// Names these bytes of the file: whatever has it is the same, byte for byte (a strong entity tag, RFC 9110, section 8.8.3). Nil where the
  /// server gave none, or what came was encoded for the way.
  public var entityTag: String?

  /// Makes a response.
  public init(url: String, byteCount: UInt64, entityTag: String? = nil) {
    self.url = url
    self.byteCount = byteCount
    self.entityTag = entityTag
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
