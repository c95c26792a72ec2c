// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriFS
import DistriStore
import Glibc
import SystemPackage

/// The process that serves a mount: forked by the supervisor, and replaced when it dies.
struct Server: Sendable {
  let recipe: Recipe
  let record: RequestRecord
  let channel: Channel
  /// What the server before has left.
  let inherited: [String: FileDescriptor]
  /// Lets go of the caller's terminal once it serves.
  let isDetached: Bool
  /// Says what is wrong, and ends the process.
  let end: @Sendable (any Error) -> Never

  /// Runs until the mount is gone. Only a process of one thread may become a server; it has several from here on.
  func run() throws -> Never {
    SignalQueue.letCrashesEndTheProcess()
    try FaultGuard.install()
    ProcessCalls.raiseDescriptorLimit()
    let signals = try SignalQueue()
    let keeper = ServerKeeper(inherited: inherited, channel: channel)
    let log = ServerLog()
    let view = try recipe.makeView(keeper: keeper) { log.write($0) }
    try channel.send(Message(.prepared))
    channel.waitForInput()
    // The supervisor has given up, and said why.
    guard let go = try channel.receive(waiting: true), go.kind == .go else { exit(ServerFailure.abandoned) }
    let (connection, isTakingOver) = try Self.connection(of: go)
    if isDetached { ProcessCalls.leaveDirectory() }
    try ProcessCalls.detachThread { [self] in serve(view, connection, isTakingOver, log) }
    watch(signals, view, connection)
  }

  private func serve(_ view: ServedView, _ connection: Connection, _ isTakingOver: Bool, _ log: ServerLog) {
    do {
      try DistriFS.serve(view.fileSystem, on: connection, takingOver: isTakingOver, record: record) {
        if isDetached {
          log.leaveStandardError()
          ProcessCalls.detach([.standardError])
        }
        try? channel.send(Message(.serving))
        // In the background: nobody waits for that.
        try? ProcessCalls.detachThread { ProcessCalls.stayResident() }
      }
      exit(0)
    } catch {
      end(error)
    }
  }

  /// Signals and the supervisor's wishes, on the first thread.
  private func watch(_ signals: SignalQueue, _ view: ServedView, _ connection: Connection) -> Never {
    var hasSupervisor = true
    let supervisor = getppid()
    while true {
      var polled = [
        pollfd(fd: signals.descriptor.rawValue, events: Int16(POLLIN), revents: 0),
        pollfd(fd: hasSupervisor ? channel.descriptor.rawValue : -1, events: Int16(POLLIN), revents: 0),
      ]
      if poll(&polled, 2, -1) < 0 { continue }
      if polled[1].revents != 0 {
        do throws(Errno) {
          let message = try channel.receive(waiting: false)
          if message == nil { hasSupervisor = false }
          if message?.kind == .rescan {
            view.rescan()
            try channel.send(Message(.rescanned))
          }
        } catch .resourceTemporarilyUnavailable {
        } catch {
          hasSupervisor = false
        }
      }
      while let signal = signals.next() {
        switch signal {
        case SIGUSR1: view.rescan()
        case SIGCHLD: break
        case _ where hasSupervisor: kill(supervisor, SIGTERM)
        default:
          connection.unmount()
          exit(0)
        }
      }
    }
  }

  // MARK: The message that starts it

  /// Whether requests of a server before are open, the mount point, NUL, the greeting.
  static func go(on connection: Connection, takingOver: Bool) -> Message {
    Message(.go, [takingOver ? 1 : 0] + state(of: connection), [connection.descriptor])
  }

  static func state(of connection: Connection) -> [UInt8] { Array(connection.mountPoint.string.utf8) + [0] + connection.greeting }

  private static func connection(of message: Message) throws -> (Connection, Bool) {
    let descriptors = message.descriptors
    return (try connection(from: message.bytes.dropFirst(), descriptors), message.bytes.first == 1)
  }

  static func connection(from bytes: ArraySlice<UInt8>, _ descriptors: [FileDescriptor]) throws -> Connection {
    guard let end = bytes.firstIndex(of: 0), let descriptor = descriptors.first else { throw Errno.badMessage }
    return Connection(
      adopting: descriptor, greeting: Array(bytes[(end + 1)...]),
      mountPoint: FilePath(String(decoding: bytes[..<end], as: UTF8.self)))
  }
}

/// A server has ended instead of serving, and has said why.
package struct ServerFailure: Error {
  /// The server's.
  package let status: Int32

  /// The supervisor did not want it any more.
  static let abandoned: Int32 = 75
}

extension ProcessCalls {
  /// A daemon keeps no directory in use but the root.
  package static func leaveDirectory() { _ = chdir("/") }
}
