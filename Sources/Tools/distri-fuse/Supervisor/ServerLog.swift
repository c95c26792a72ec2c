// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import Synchronization
import SystemPackage

/// What a server has to say: on standard error as long as somebody may read that, to the system's log from then on.
final class ServerLog: Sendable {
  private let hasReader = Atomic(true)

  /// Nobody reads standard error any more.
  func leaveStandardError() { hasReader.store(false, ordering: .relaxed) }

  /// Says something, once for all who may want to know.
  func write(_ line: String) {
    if hasReader.load(ordering: .relaxed) {
      _ = try? FileDescriptor.standardError.writeAll("distri-fuse: \(line)\n".utf8)
    } else {
      ProcessCalls.log(line)
    }
  }
}
