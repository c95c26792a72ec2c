// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import Synchronization

/// The places that have the same repository, in the order in which they are asked.
///
/// All of them have the same signed files, so that it does not matter who gives one. A server that could not be reached, or that was too slow, is asked
/// last from then on.
public final class MirrorSet: Sendable {
  /// URLs or paths without a slash at the end. The first is the repository's name: what is trusted is bound to it.
  public let roots: [String]

  private let onFailure: @Sendable (_ root: String, _ error: RepositoryError) -> Void
  private let unreachable = Mutex<Set<String>>([])

  /// Names the places.
  ///
  /// - Parameters:
  ///   - root: the repository, a URL or a path.
  ///   - mirrors: further ones, in order; those that are named before are left out.
  ///   - onFailure: called when a place has not given a file, or a wrong one, and the next one is asked.
  public init(
    _ root: String, mirrors: [String] = [],
    onFailure: @escaping @Sendable (_ root: String, _ error: RepositoryError) -> Void = { _, _ in }
  ) {
    var roots: [String] = []
    for root in ([root] + mirrors).map(\.withoutTrailingSlashes) where !roots.contains(root) { roots.append(root) }
    self.roots = roots
    self.onFailure = onFailure
  }

  /// The repository's name.
  public var root: String { roots[0] }

  /// Gives the body one place after the other until it does not throw an error that another one may be spared.
  ///
  /// - Throws: what the body throws; when it has thrown at all of them, what it has thrown first.
  public func firstGood<Value>(_ body: (_ root: String) async throws -> Value) async throws -> Value {
    let late = unreachable.withLock { $0 }
    var rest = roots.filter { !late.contains($0) } + roots.filter(late.contains)
    var failure: RepositoryError?
    while true {
      let root = rest.removeFirst()
      do {
        return try await body(root)
      } catch let error as RepositoryError where error.isOfServer {
        if case .transferFailed(_, let reason) = error, reason.isOfConnection { unreachable.withLock { _ = $0.insert(root) } }
        failure = failure ?? error
        guard !rest.isEmpty else { throw failure ?? error }
        onFailure(root, error)
      }
    }
  }
}

extension RepositoryError {
  /// Whether another server may have what this one has not given.
  fileprivate var isOfServer: Bool {
    switch self {
    case .notFound, .transferFailed, .tooLarge, .mismatch, .untrusted: true
    case .unverifiable, .invalidURL, .unresolved, .unsigned, .signing, .declaration, .units, .system: false
    }
  }
}

extension TransferFailure {
  /// Whether the next file would fare no better.
  fileprivate var isOfConnection: Bool {
    switch self {
    case .timedOut, .unreachable, .untrusted, .refusedByProxy, .offline: true
    case .status, .interrupted, .redirectRefused, .malformed, .rangeUnavailable: false
    }
  }
}

extension String {
  var withoutTrailingSlashes: String {
    var text = self
    while text.utf8.count > 1, text.hasSuffix("/") { text.removeLast() }
    return text
  }
}
