// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import Dispatch
import DistriStore
import Synchronization
import SystemPackage

/// Writes views to the store's index directory, some time after they have changed.
final class ViewSaver: Sendable {
  /// The name under which the view's file is kept for the next server.
  static let keeperName = "view"
  /// Changes come in bursts.
  private static let delay = DispatchTimeInterval.seconds(1)

  private let queue = DispatchQueue(label: "distri.view")
  private let isScheduled = Mutex(false)

  /// What tells views with different exchange directories from each other.
  static func digest(of sources: [ExchangeSource]) -> UInt64 {
    let text = sources.sorted { $0.name < $1.name }.map { "\($0.name)\n\($0.source)\n" }.joined()
    return IndexBytes(Array(text.utf8)).checksum
  }

  /// The file's name.
  static func fileName(_ sources: [ExchangeSource]) -> String { "view-\(String(digest(of: sources), radix: 16))" }

  /// Calls the body soon, once for all calls until then.
  func schedule(_ body: @escaping @Sendable () -> Void) {
    let isFirst = isScheduled.withLock { isScheduled in
      defer { isScheduled = true }
      return !isScheduled
    }
    if !isFirst { return }
    queue.asyncAfter(deadline: .now() + Self.delay) { [isScheduled = Weak(self)] in
      isScheduled.saver?.isScheduled.withLock { $0 = false }
      body()
    }
  }

  private struct Weak: Sendable {
    weak let saver: ViewSaver?
    init(_ saver: ViewSaver) { self.saver = saver }
  }
}
