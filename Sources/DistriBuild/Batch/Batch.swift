// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore
import Synchronization

/// Builds what is missing of a set of definitions.
///
/// What is in the store is all that a batch remembers: killed at any time and run again, it goes on with what is not there yet.
public struct Batch: Sendable {
  /// What a definition's packages are, compared with the definition as it is now.
  public enum State: Sendable, Hashable {
    /// In the store, of the same inputs.
    case current
    /// Not in the store.
    case missing
    /// In the store, of other inputs. A package never changes: the definition needs a new revision.
    case stale
  }

  /// The definitions.
  public let graph: BuildGraph
  /// By each definition.
  public let states: [State]
  /// By each definition, the digest of its inputs as they are now.
  public let digests: [String]
  /// What is built: whatever is missing of what was asked for and of what that needs.
  public let missing: Set<Int>

  /// What a batch does, for whoever watches.
  public enum Event: Sendable {
    /// A build starts.
    case started(PackageID, worker: Int, jobs: Int)
    /// A build has come so far.
    case progress(PackageID, worker: Int, BuildEvent)
    /// A build has ended; the error that ended it.
    case ended(PackageID, worker: Int, Duration, (any Error)?)
  }

  /// How a batch ended.
  public struct Result: Sendable {
    /// By definition, for what was to be built.
    public var outcomes: [Int: Schedule.Outcome] = [:]
    /// What failed, in the order of failing, and why.
    public var failures: [(node: Int, error: any Error)] = []
    /// How long the builds took that succeeded, by definition; of what was known already, nothing.
    public var records: [Int: BuildHistory.Record] = [:]

    /// Whether all is there that was to be built.
    public var isSuccess: Bool { outcomes.values.allSatisfy { $0 == .built } }
  }

  /// Compares definitions with a store.
  ///
  /// - Parameter selection: definitions of the graph; what they need is looked at, too. Nil for all.
  /// - Throws: what reading the store's metadata and the definitions' files throws.
  public init(_ graph: BuildGraph, in store: any PackageCatalog & ImageSource, selection: [Int]? = nil) async throws {
    self.graph = graph
    var inputs = try await SetInputs(graph, in: store)
    var states = [State](repeating: .missing, count: graph.nodes.count)
    var digests = [String](repeating: "", count: graph.nodes.count)
    for index in graph.order {
      let digest = try await inputs.digest(of: index)
      digests[index] = digest
      if let recorded = inputs.recorded(graph.nodes[index].package) {
        states[index] = recorded == digest ? .current : .stale
      }
    }
    self.states = states
    self.digests = digests
    missing = graph.closure(of: selection ?? Array(graph.nodes.indices)).filter { states[$0] == .missing }
  }

  /// Builds what is missing, in the schedule's order. Cancelled, it starts nothing new, ends what runs, and throws `CancellationError`.
  ///
  /// - Returns: how it went; a failed build is no error of the batch.
  public func run(
    _ schedule: Schedule, on executor: any Executor, report: @escaping @Sendable (Event) -> Void
  ) async throws -> Result {
    let result = try await withThrowingTaskGroup(of: Ended.self) { group in
      var schedule = schedule
      var result = Result()
      func startMore() {
        for start in schedule.start() {
          group.addTask { await build(start, on: executor, report: report) }
        }
      }
      startMore()
      while let ended = try await group.next() {
        let node = ended.start.node
        if let error = ended.error {
          if !(error is CancellationError) { result.failures.append((node, error)) }
        } else if !ended.isKnown {
          result.records[node] = .init(duration: ended.duration, jobs: ended.start.jobs, memory: ended.memory)
        }
        schedule.end(node, succeeded: ended.error == nil)
        if Task.isCancelled { schedule.leaveOutTheRest() }
        startMore()
      }
      result.outcomes = schedule.outcomes
      return result
    }
    try Task.checkCancellation()
    return result
  }

  private struct Ended: Sendable {
    var start: Schedule.Start
    var duration: Duration
    var memory: UInt64
    var isKnown: Bool
    var error: (any Error)?
  }

  private func build(
    _ start: Schedule.Start, on executor: any Executor, report: @escaping @Sendable (Event) -> Void
  ) async -> Ended {
    let node = graph.nodes[start.node]
    let choices = Dictionary(node.needs.map { ($0.name, $0.package) }) { first, _ in first }
    let order = BuildOrder(file: node.file, choices: choices, jobs: start.jobs)
    let begin = ContinuousClock.now
    report(.started(node.package, worker: start.worker, jobs: start.jobs))
    var failure: (any Error)?
    let memory = Atomic<UInt64>(0)
    let isKnown = Atomic(false)
    do {
      _ = try await executor.build(order) { event in
        switch event {
        case .usedMemory(let count): memory.max(count, ordering: .relaxed)
        case .known: isKnown.store(true, ordering: .relaxed)
        default: break
        }
        report(.progress(node.package, worker: start.worker, event))
      }
    } catch {
      failure = error
    }
    let duration = ContinuousClock.now - begin
    report(.ended(node.package, worker: start.worker, duration, failure))
    return Ended(
      start: start, duration: duration, memory: memory.load(ordering: .relaxed), isKnown: isKnown.load(ordering: .relaxed),
      error: failure)
  }
}
