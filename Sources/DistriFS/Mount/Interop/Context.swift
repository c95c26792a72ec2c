// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import SystemPackage
import Synchronization

/// What libfuse's callbacks find behind their user data: the file system, and the requests that wait for something.
final class Context: Sendable {
  let fileSystem: any FileSystem
  /// Opens when no more requests are read.
  let ended = Latch()
  private let parked = Mutex(Parked())

  private struct Parked {
    var tasks: [UInt64: Task<Void, Never>] = [:]
    var next: UInt64 = 0
    var isClosed = false
  }

  init(fileSystem: any FileSystem) { self.fileSystem = fileSystem }

  /// Answers the request again when the wait is over.
  func park(
    _ request: Request, until isReady: @escaping @Sendable () async throws -> Void, _ body: @escaping Request.Body
  ) {
    let isClosed = parked.withLock { state in
      if state.isClosed { return true }
      let key = state.next
      state.next &+= 1
      // Made under the lock, so that its removal at the end comes after it was added.
      state.tasks[key] = Task.detached { [self] in
        do {
          try await isReady()
          request.serve(body)
        } catch {
          request.reply(error: Errno(answeringWait: error))
        }
        parked.withLock { $0.tasks[key] = nil }
      }
      return false
    }
    if isClosed { request.reply(error: .interrupted) }
  }

  /// Answers all parked requests with `EINTR`, and returns when that is done.
  func close() async {
    let tasks = parked.withLock { state in
      state.isClosed = true
      return Array(state.tasks.values)
    }
    for task in tasks { task.cancel() }
    for task in tasks { await task.value }
  }
}

/// Opens once; who comes later does not wait.
final class Latch: Sendable {
  private struct State {
    var isOpen = false
    var waiters: [UInt64: CheckedContinuation<Void, Never>] = [:]
    var next: UInt64 = 0
  }
  private let state = Mutex(State())

  var isOpen: Bool { state.withLock { $0.isOpen } }

  func open() {
    let waiters = state.withLock { state in
      state.isOpen = true
      defer { state.waiters = [:] }
      return state.waiters.values
    }
    for waiter in waiters { waiter.resume() }
  }

  /// Returns when the latch is open, also in a task that is cancelled.
  func waitUninterrupted() async {
    await withCheckedContinuation { continuation in
      let isOpen = state.withLock { state in
        if state.isOpen { return true }
        state.waiters[state.next] = continuation
        state.next &+= 1
        return false
      }
      if isOpen { continuation.resume() }
    }
  }

  /// Returns when the latch is open or the task is cancelled.
  func wait() async {
    let key = state.withLock { state in
      defer { state.next &+= 1 }
      return state.next
    }
    await withTaskCancellationHandler {
      await withCheckedContinuation { continuation in
        let isOver = state.withLock { state in
          if state.isOpen || Task.isCancelled { return true }
          state.waiters[key] = continuation
          return false
        }
        if isOver { continuation.resume() }
      }
    } onCancel: {
      state.withLock { $0.waiters.removeValue(forKey: key) }?.resume()
    }
  }
}
