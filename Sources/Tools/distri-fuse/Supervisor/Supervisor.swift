// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriFS
import Glibc
import SystemPackage

/// The process that holds a mount while servers come and go: the line to the kernel, what the server has left, and a socket for questions.
///
/// It has one thread, and never touches the mount: it would wait for the server that it is to replace. A server that dies is replaced at once.
package final class Supervisor {
  let recipe: Recipe
  let record: RequestRecord
  /// Whether the caller's terminal is let go of when the mount answers.
  let isDetached: Bool
  let manager: ServiceManager
  /// Says what is wrong, and ends a server's process.
  private let end: @Sendable (any Error) -> Never
  private let signals: SignalQueue
  /// Nil before the mount is there.
  private(set) var connection: Connection?
  var kept: KeptDescriptors
  var server: (process: pid_t, channel: Channel)?
  var socket: ControlSocket?
  /// Clients that wait for the server to have looked at the store.
  var waitingForRescan: [Channel] = []
  /// Whether the mount was another supervisor's: a server that does not start is then no reason to end it.
  var hasTakenOver = false
  private(set) var replacementCount = 0
  private(set) var wasEverServing = false
  private var isServing = false
  private var backoff = Backoff(now: ProcessCalls.now)
  var restartTime: Int64?
  private var stopTime: Int64?

  /// A supervisor of a mount that is to be made, or of one that is taken over.
  ///
  /// - Parameter end: says what is wrong, and ends the process; called in that of a server.
  package init(
    recipe: Recipe, isDetached: Bool, manager: ServiceManager, end: @escaping @Sendable (any Error) -> Never
  ) throws {
    self.end = end
    self.recipe = recipe
    self.isDetached = isDetached
    self.manager = manager
    record = try RequestRecord()
    signals = try SignalQueue()
    kept = KeptDescriptors(limit: max(64, ProcessCalls.raiseDescriptorLimit() - 256))
    SignalQueue.letCrashesEndTheProcess()
  }

  // MARK: Starting

  /// Starts a server, and mounts when it has the view: what is wrong with the store is known before anything is seen of the mount.
  package func start(at mountPoint: FilePath, options: MountOptions) throws {
    try startServer()
    try waitUntilPrepared()
    let connection: Connection
    do {
      connection = try Connection.mount(at: mountPoint, options: options)
    } catch {
      endServer()
      throw error
    }
    try go(on: connection, takingOver: false)
    if !connection.canResend {
      note("this kernel is older than 6.9: when a server dies, requests that it was answering wait for ever")
    }
  }

  /// Lets the server that has the view serve the connection.
  func go(on connection: Connection, takingOver: Bool) throws {
    self.connection = connection
    guard let server else { throw Errno.noSuchProcess }
    try server.channel.send(Server.go(on: connection, takingOver: takingOver))
  }

  /// - Throws: ``ServerFailure`` of the server that ends instead, or of a signal that ends us.
  func waitUntilPrepared() throws {
    while let server {
      var polled = [server.channel.descriptor, signals.descriptor].map {
        pollfd(fd: $0.rawValue, events: Int16(POLLIN), revents: 0)
      }
      _ = poll(&polled, 2, -1)
      while let signal = signals.next() {
        if signal == SIGCHLD || signal == SIGUSR1 { continue }
        endServer()
        throw ServerFailure(status: 128 + signal)
      }
      if polled[0].revents == 0 { continue }
      guard let message = try? server.channel.receive(waiting: false) else {
        let end = ProcessCalls.waitForEnd(of: server.process)
        server.channel.close()
        self.server = nil
        throw ServerFailure(status: end.exitStatus)
      }
      if message.kind == .prepared { return }
      handle(message)
    }
  }

  /// - Throws: `EAGAIN` and the like of fork.
  func startServer() throws {
    let (ours, its) = try Channel.pair()
    let process = try ProcessCalls.fork()
    if process == 0 {
      // Our sockets, and what the caller of a mount in the foreground waits for the end of.
      ProcessCalls.closeOthers(than: [its.descriptor] + kept.byName.values)
      let server = Server(recipe: recipe, record: record, channel: its, inherited: kept.byName, isDetached: isDetached, end: end)
      do {
        try ProcessCalls.leaveFirstThread {
          do { try server.run() } catch { server.end(error) }
        }
      } catch {
        end(error)
      }
    }
    its.close()
    server = (process, ours)
    isServing = false
  }

  /// Ends a server that is not needed, without a word to the kernel.
  func endServer() {
    guard let server else { return }
    kill(server.process, SIGKILL)
    _ = ProcessCalls.waitForEnd(of: server.process)
    server.channel.close()
    self.server = nil
  }

  // MARK: Watching

  /// Watches until the mount is gone. `ready` is called once, when it answers.
  ///
  /// - Throws: `ServerFailure` of a first server that ends before it serves.
  package func run(ready: () throws -> Void) throws {
    while true {
      if isServing && !wasEverServing {
        wasEverServing = true
        openSocket()
        do { try ready() } catch { return stop(connection) }
      }
      let channel = server?.channel.descriptor.rawValue ?? -1
      var polled = [signals.descriptor.rawValue, channel, socket?.listener.rawValue ?? -1].map {
        pollfd(fd: $0, events: Int16(POLLIN), revents: 0)
      }
      let clients = socket?.clients ?? []
      polled += clients.map { pollfd(fd: $0.descriptor.rawValue, events: Int16(POLLIN), revents: 0) }
      _ = poll(&polled, nfds_t(polled.count), timeout)
      if polled[1].revents != 0 { receiveFromServer() }
      if try handleSignals() { return }
      if polled[2].revents != 0 { socket?.accept() }
      for (index, client) in clients.enumerated() where polled[3 + index].revents != 0 {
        if handle(client) { return }
      }
      if try handleTime() { return }
    }
  }

  /// Milliseconds until something is due.
  private var timeout: Int32 {
    let due = [restartTime, stopTime].compactMap(\.self).min()
    return due.map { Int32(clamping: max(0, $0 - ProcessCalls.now)) } ?? -1
  }

  private func openSocket() {
    guard let connection else { return }
    socket = ControlSocket(device: connection.device)
  }

  private func handle(_ message: Message) {
    switch message.kind {
    case .keep:
      if let descriptor = message.descriptors.first { kept.keep(descriptor, as: message.text) }
    case .release: kept.release(message.text)
    case .serving:
      isServing = true
      // Its view is newer than any question.
      answerRescans()
    case .rescanned: answerRescans()
    default: for descriptor in message.descriptors { try? descriptor.close() }
    }
  }

  /// All that the server has sent.
  func receiveFromServer() {
    while let server {
      do throws(Errno) {
        guard let message = try server.channel.receive(waiting: false) else { return }
        handle(message)
      } catch .tooManyOpenFiles {
        kept.noteRefusal()
      } catch {
        return
      }
    }
  }

  func answerRescans() {
    for client in waitingForRescan {
      try? client.send(Message(.done), waiting: false)
      client.close()
    }
    waitingForRescan = []
  }

  /// True when all is over.
  private func handleSignals() throws -> Bool {
    while let signal = signals.next() {
      switch signal {
      case SIGCHLD: if try reap() { return true }
      case SIGUSR1: try? server?.channel.send(Message(.rescan), waiting: false)
      default: beginToStop()
      }
    }
    return false
  }

  /// True when the server has ended and none is to follow.
  func reap() throws -> Bool {
    guard let server, let end = ProcessCalls.end(of: server.process) else { return false }
    // What it has sent before it died.
    receiveFromServer()
    let hadServed = isServing
    server.channel.close()
    self.server = nil
    if stopTime != nil || connection?.hasEnded == true {
      finish()
      return true
    }
    if !wasEverServing && !hasTakenOver {
      connection?.unmount()
      throw ServerFailure(status: end.exitStatus)
    }
    record.countDeath()
    replacementCount += 1
    let delay = backoff.delay(now: ProcessCalls.now, hadServed: hadServed)
    note("the server has died (\(end.description)); another one takes over" + (delay > 0 ? " in \(delay) ms" : ""))
    restartTime = ProcessCalls.now + delay
    return false
  }

  private func handleTime() throws -> Bool {
    if let due = restartTime, ProcessCalls.now >= due { restart() }
    if let due = stopTime, ProcessCalls.now >= due {
      endServer()
      finish()
      return true
    }
    return false
  }

  private func restart() {
    restartTime = nil
    guard let connection else { return }
    do {
      try startServer()
      // It finds this when it has the view: we do not wait.
      try go(on: connection, takingOver: true)
    } catch {
      note("no server can be started: \(error)")
      endServer()
      restartTime = ProcessCalls.now + 1000
    }
  }

  // MARK: Ending

  /// Unmounts, and gives the server a moment to see that.
  private func beginToStop() {
    if stopTime != nil { return }
    manager.notify("STOPPING=1")
    connection?.unmount()
    stopTime = ProcessCalls.now + (server == nil ? 0 : 300)
  }

  private func stop(_ connection: Connection?) {
    connection?.unmount()
    endServer()
    finish()
  }

  /// Leaves nothing behind.
  private func finish() {
    answerRescans()
    socket?.remove()
  }

  func note(_ line: String) {
    if !(isDetached && wasEverServing) { _ = try? FileDescriptor.standardError.writeAll("distri-fuse: \(line)\n".utf8) }
  }
}
