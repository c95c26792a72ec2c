// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import CChannel
import Glibc
import SystemPackage

/// Which requests a server is answering, in memory that it shares with its supervisor: made by the supervisor, before it forks the server.
///
/// A request that is being answered in three deaths of servers is answered `EIO` by the next one; before that it is served alone, so that no
/// other one is taken for the culprit.
///
/// `@unchecked Sendable`: the memory is only touched with atomic operations, but for ``countDeath()``, which the supervisor calls alone.
@safe public final class RequestRecord: @unchecked Sendable {
  let memory: OpaquePointer

  /// Makes an empty record.
  ///
  /// - Throws: `ENOMEM`.
  public init() throws(Errno) {
    guard let memory = unsafe cchannel_record_create() else { throw Errno(rawValue: errno) }
    unsafe self.memory = memory
  }

  deinit { unsafe cchannel_record_destroy(memory) }

  /// The server is dead: counts it for what it was answering.
  public func countDeath() { unsafe cchannel_record_settle(memory) }

  /// How many requests were answered `EIO` because servers died of them.
  public var refusedCount: Int { Int(clamping: unsafe cchannel_record_refused(memory)) }

  /// A server's thread begins with a request. False when it is to be answered `EIO` instead.
  func begin(_ request: UInt64, on thread: UInt32) -> Bool { unsafe cchannel_record_begin(memory, thread, request) == 0 }

  /// The request has been answered.
  func end(_ request: UInt64, on thread: UInt32) { unsafe cchannel_record_end(memory, thread, request) }
}
