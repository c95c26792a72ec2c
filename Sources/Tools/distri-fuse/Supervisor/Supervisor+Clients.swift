// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriFS
import Glibc
import SystemPackage

extension Supervisor {
  /// Answers a client's question. True when the mount is another supervisor's now, and this one has to end.
  func handle(_ client: Channel) -> Bool {
    let message: Message?
    do throws(Errno) {
      message = try client.receive(waiting: false)
    } catch .resourceTemporarilyUnavailable {
      return false
    } catch {
      message = nil
    }
    switch message?.kind {
    case .status: try? client.send(Message(.status, statusText), waiting: false)
    case .rescan:
      try? server?.channel.send(Message(.rescan), waiting: false)
      waitingForRescan.append(client)
      socket?.forget(client)
      return false
    case .takeOver: if handOver(to: client) { return true }
    default: break
    }
    socket?.forget(client)
    client.close()
    return false
  }

  /// A line a fact: name, tab, value.
  private var statusText: String {
    let facts: [(String, String)] = [
      ("supervisor", "\(getpid())"), ("server", "\(server?.process ?? 0)"), ("replacements", "\(replacementCount)"),
      ("refused", "\(record.refusedCount)"), ("kept", "\(kept.byName.count)"),
      ("resend", connection?.canResend == true ? "yes" : "no"),
    ]
    return facts.map { "\($0.0)\t\($0.1)\n" }.joined()
  }

  // MARK: Handing over

  /// Gives the mount to a newer program, whose server has to say that it is ready: until then ours only pauses, and goes on if anything fails.
  private func handOver(to client: Channel) -> Bool {
    guard let connection else { return false }
    if let server, !ProcessCalls.stop(server.process) {
      // One that has just died is not in the way.
      if (try? reap()) == true { return true }
      if self.server != nil {
        try? client.send(Message(.failure, "the server does not pause; try again"), waiting: false)
        return false
      }
    }
    // What it kept until it stopped belongs to the state.
    receiveFromServer()
    do {
      // A list of packages can be longer than a message.
      let recipe = recipe.bytes
      for start in stride(from: 0, to: recipe.count, by: 32 << 10) {
        try client.send(Message(.recipe, Array(recipe[start...].prefix(32 << 10))))
      }
      try client.send(Message(.connection, Server.state(of: connection), [connection.descriptor]))
      for message in kept.messages { try client.send(message) }
      try client.send(Message(.end))
      guard try answer(of: client)?.kind == .commit else { throw Errno.canceled }
    } catch {
      if let server { kill(server.process, SIGCONT) }
      return false
    }
    endServer()
    restartTime = nil
    do {
      try client.send(Message(.done))
      // Until it has told the service manager who we are now.
      if try answer(of: client) == nil { throw Errno.canceled }
    } catch Errno.resourceTemporarilyUnavailable {
      // It has been told that all is its own.
    } catch {
      // It has died: the mount is still ours.
      restartTime = ProcessCalls.now
      return false
    }
    answerRescans()
    return true
  }

  /// The other side's next message, for which it has half a minute; nil when it is gone.
  private func answer(of client: Channel) throws(Errno) -> Message? {
    for _ in 0..<6 {
      do throws(Errno) {
        return try client.receive(waiting: true)
      } catch .resourceTemporarilyUnavailable {
        continue
      }
    }
    throw .resourceTemporarilyUnavailable
  }

  /// Takes the mount over from its supervisor, which serves it until the server of this program has the view.
  ///
  /// - Parameters:
  ///   - parseRemote: as that of ``Recipe/init(parsing:parseRemote:)``.
  ///   - end: as that of ``init(recipe:isDetached:manager:end:)``.
  /// - Throws: ``TakeOverFailure``; ``ServerFailure``; `MountError.notMounted`.
  package static func takingOver(
    _ mountPoint: FilePath, isDetached: Bool, manager: ServiceManager,
    parseRemote: ([String: String]) throws -> (any RemoteRecipe)?, end: @escaping @Sendable (any Error) -> Never
  ) throws -> Supervisor {
    guard let entry = try MountTable.current().entry(at: Mount.canonical(mountPoint)), entry.isOurs else {
      throw MountError.notMounted(mountPoint)
    }
    guard let client = ControlSocket.connect(device: entry.device) else { throw TakeOverFailure.noSupervisor(mountPoint) }
    defer { client.close() }
    try client.send(Message(.takeOver))
    var recipe: [UInt8] = []
    var connection: Connection?
    var kept = KeptDescriptors(limit: max(64, ProcessCalls.raiseDescriptorLimit() - 256))
    receiving: while true {
      guard let message = try client.receive(waiting: true) else { throw TakeOverFailure.refused(mountPoint, "it has ended") }
      switch message.kind {
      case .recipe: recipe += message.bytes
      case .connection: connection = try Server.connection(from: message.bytes[...], message.descriptors)
      case .kept: kept.take(message)
      case .end: break receiving
      default: throw TakeOverFailure.refused(mountPoint, message.text)
      }
    }
    guard let connection else { throw Errno.badMessage }
    let supervisor = try Supervisor(
      recipe: try Recipe(parsing: recipe, parseRemote: parseRemote), isDetached: isDetached, manager: manager, end: end)
    supervisor.kept = kept
    try supervisor.startServer()
    do {
      try supervisor.waitUntilPrepared()
      try client.send(Message(.commit))
      guard try client.receive(waiting: true)?.kind == .done else {
        throw TakeOverFailure.refused(mountPoint, "it has changed its mind")
      }
      supervisor.hasTakenOver = true
      try supervisor.go(on: connection, takingOver: true)
    } catch {
      supervisor.endServer()
      throw error
    }
    manager.notify("MAINPID=\(getpid())")
    try? client.send(Message(.done))
    return supervisor
  }
}

/// Why a mount cannot be taken over.
package enum TakeOverFailure: Error, CustomStringConvertible {
  case noSupervisor(FilePath)
  case refused(FilePath, String)

  package var description: String {
    switch self {
    case .noSupervisor(let path):
      "no supervisor of yours watches \(path); «distri-fuse unmount \(path)» and mount it again, or ask as the user who mounted it"
    case .refused(let path, let reason): "the supervisor of \(path) does not hand it over: \(reason)"
    }
  }
}
