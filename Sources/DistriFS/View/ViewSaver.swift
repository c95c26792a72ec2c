// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import Dispatch
import DistriStore
import Synchronization
import SystemPackage

/// Puts off work that changes of the store bring about, such as writing the view to the store's index directory.
final class ViewSaver: Sendable {
  /// The name under which the view's file is kept for the next server.
  static let keeperName = "view"
  private let queue = DispatchQueue(label: "distri.view")
  private let isScheduled = Mutex(false)

  /// What tells views with different exchange directories from each other, and those with remote packages from those without.
  static func digest(of sources: [ExchangeSource], _ remote: RemoteCatalog? = nil) -> UInt64 {
    let text = sources.sorted { $0.name < $1.name }.map { "\($0.name)\n\($0.source)\n" }.joined()
    return IndexBytes(Array((text + (remote == nil ? "" : "remote\n")).utf8)).checksum
  }

  /// The file's name, for a ``digest(of:_:)``.
  static func fileName(_ digest: UInt64) -> String { "view-\(String(digest, radix: 16))" }

  /// Calls the body soon, since changes come in bursts: once for all calls until then.
  func schedule(after seconds: Int = 1, _ body: @escaping @Sendable () -> Void) {
    let isFirst = isScheduled.withLock { isScheduled in
      defer { isScheduled = true }
      return !isScheduled
    }
    if !isFirst { return }
    queue.asyncAfter(deadline: .now() + .seconds(seconds)) { [weak self] in
      self?.isScheduled.withLock { $0 = false }
      body()
    }
  }
}
