// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import Logging
import SystemPackage

/// Serves a connection that is there already, on the calling thread and others, until the mount is gone. The connection stays open.
///
/// For programs in which one process holds the mount and another one serves it, so that the server can be replaced while the mount is in use:
///
/// ```swift
/// let connection = try Connection.mount(at: "/ro")      // in the supervisor, which then forks
/// try serve(view, on: connection, takingOver: false) {} // in the server
/// ```
///
/// A server that takes over must give the files the node ids that they had.
///
/// - Parameters:
///   - takingOver: whether a server before has read requests that it may not have answered: the kernel is asked to send them again.
///   - maximumThreadCount: how many threads answer at most.
///   - record: where it is noted which requests are being answered.
///   - started: is called when the kernel's requests are about to be read.
/// - Throws: ``MountError``; what the subscription of a ``LiveFileSystem`` throws.
public func serve(
  _ fileSystem: some FileSystem, on connection: Connection, takingOver: Bool = false, maximumThreadCount: Int = 8,
  record: RequestRecord? = nil, logger: Logger = Logger(label: "distri.fs"), started: () -> Void = {}
) throws {
  let session = try Session(of: fileSystem, on: connection, maximumThreadCount: maximumThreadCount, record: record)
  if takingOver {
    do throws(Errno) {
      try session.resumeRequests()
    } catch {
      logger.debug("the kernel cannot send requests again: those that were being answered wait", metadata: ["reason": "\(error)"])
    }
  }
  let subscription = try (fileSystem as? any LiveFileSystem)?.subscribe { changes in
    logger.debug("the view has changed", metadata: ["changes": "\(changes.count)"])
    session.invalidate(changes)
  }
  started()
  session.run()
  subscription?.cancel()
}
