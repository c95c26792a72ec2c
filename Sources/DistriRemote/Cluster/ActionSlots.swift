// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

#if RemoteExecution

import Synchronization

/// Which server executes the next action: the one that has the fewest, among those that have not just failed. Tasks wait while all are busy.
final class ActionSlots: Sendable {
  private struct State {
    var used: [Int]
    /// Until when a server that failed is asked only if there is no other.
    var avoidedUntil: [ContinuousClock.Instant?]
    var waiting: [(id: UInt64, continuation: CheckedContinuation<Int?, Never>)] = []
    var nextID: UInt64 = 0
  }

  private let limit: Int
  private let state: Mutex<State>

  private static let avoidance = Duration.seconds(30)

  /// - Parameters:
  ///   - count: of servers.
  ///   - limit: of actions on each.
  init(servers count: Int, limit: Int) {
    self.limit = max(1, limit)
    state = Mutex(State(used: Array(repeating: 0, count: count), avoidedUntil: Array(repeating: nil, count: count)))
  }

  /// Runs the body with the index of a server.
  ///
  /// - Throws: what the body throws; `CancellationError`.
  func withSlot<R>(_ body: (Int) async throws -> R) async throws -> R {
    let index = try await take()
    defer { giveBack(index) }
    return try await body(index)
  }

  /// The server has failed: others come first for a while.
  func avoid(_ index: Int) { state.withLock { $0.avoidedUntil[index] = .now + Self.avoidance } }

  /// The server works.
  func trust(_ index: Int) { state.withLock { $0.avoidedUntil[index] = nil } }

  /// All servers, those that have not just failed first.
  var order: [Int] {
    state.withLock { state in
      let now = ContinuousClock.now
      let isAvoided = state.avoidedUntil.map { $0.map { now < $0 } ?? false }
      return state.used.indices.filter { !isAvoided[$0] } + state.used.indices.filter { isAvoided[$0] }
    }
  }

  private func take() async throws -> Int {
    let id = state.withLock { state in
      state.nextID += 1
      return state.nextID
    }
    let index = await withTaskCancellationHandler {
      await withCheckedContinuation { (continuation: CheckedContinuation<Int?, Never>) in
        let index = state.withLock { state -> Int?? in
          if Task.isCancelled { return .some(nil) }
          if let index = choose(&state) { return index }
          state.waiting.append((id, continuation))
          return .none
        }
        if let index { continuation.resume(returning: index) }
      }
    } onCancel: {
      let waiter = state.withLock { state in
        state.waiting.firstIndex { $0.id == id }.map { state.waiting.remove(at: $0) }
      }
      waiter?.continuation.resume(returning: nil)
    }
    guard let index else { throw CancellationError() }
    return index
  }

  private func choose(_ state: inout State) -> Int? {
    let now = ContinuousClock.now
    func isAvoided(_ index: Int) -> Bool { state.avoidedUntil[index].map { now < $0 } ?? false }
    let usable = state.used.indices.filter { !isAvoided($0) }
    let candidates = usable.isEmpty ? Array(state.used.indices) : usable
    guard let index = candidates.filter({ state.used[$0] < limit }).min(by: { (state.used[$0], $0) < (state.used[$1], $1) })
    else { return nil }
    state.used[index] += 1
    return index
  }

  private func giveBack(_ index: Int) {
    let started = state.withLock { state in
      state.used[index] -= 1
      var started: [(CheckedContinuation<Int?, Never>, Int)] = []
      while let first = state.waiting.first, let next = choose(&state) {
        state.waiting.removeFirst()
        started.append((first.continuation, next))
      }
      return started
    }
    for (continuation, next) in started { continuation.resume(returning: next) }
  }
}

#endif
