// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

/// Decides what is built when, within a budget. A value without clock and threads: a simulation decides as the real thing does.
///
/// Of what can be built, the definition with the longest way to the end of the batch comes first, by recorded times.
public struct Schedule: Sendable {
  /// What a batch may use at once.
  public struct Budget: Sendable, Hashable {
    /// How many builds may run at once, at least 1.
    public var workers: Int
    /// How many jobs all of them may start, at least 1 each.
    public var jobs: Int
    /// How much memory they may take, in bytes, as far as that is known beforehand.
    public var memory: UInt64

    /// Makes a budget.
    public init(workers: Int, jobs: Int, memory: UInt64 = .max) {
      self.workers = max(1, workers)
      self.jobs = max(1, jobs)
      self.memory = memory
    }
  }

  /// A build that starts now.
  public struct Start: Sendable, Hashable {
    /// Index of the definition in the graph.
    public var node: Int
    /// From 0, below the budget's number.
    public var worker: Int
    /// How many jobs the build's steps may start at once.
    public var jobs: Int
  }

  /// How it went with a definition.
  public enum Outcome: Sendable, Hashable {
    /// Its packages are there.
    case built
    /// A step or pass failed.
    case failed
    /// Not tried, since a definition that it needs failed, or was not tried itself; the index of that.
    case skipped(because: Int)
    /// Not tried, since another build failed and nothing new was to be started.
    case leftOut
  }

  /// What a build is thought to take per job where nobody knows, in bytes.
  public static let usualMemoryPerJob: UInt64 = 512 << 20

  private let dependencies: [[Int]]
  private let dependants: [[Int]]
  private let budget: Budget
  private let keepsGoing: Bool
  private let memory: @Sendable (Int) -> UInt64?
  /// By each definition, how long the way from its start to the end of the batch takes.
  private let priority: [Int: Duration]
  private var waiting: Set<Int>
  private var running: [Int: (worker: Int, jobs: Int, memory: UInt64)] = [:]
  private var hasFailed = false
  /// How it went so far.
  public private(set) var outcomes: [Int: Outcome] = [:]

  /// Makes a schedule.
  ///
  /// - Parameters:
  ///   - nodes: what is to be built; whatever else they need is there.
  ///   - keepsGoing: whether a failure stops only what needs the failed package.
  ///   - duration: how long a definition took to build; nil where nobody knows.
  ///   - memory: how many bytes its build took per job at most.
  public init(
    _ graph: BuildGraph, building nodes: Set<Int>, budget: Budget, keepsGoing: Bool = false,
    duration: (Int) -> Duration? = { _ in nil }, memory: @escaping @Sendable (Int) -> UInt64? = { _ in nil }
  ) {
    dependencies = graph.dependencies.map { $0.filter(nodes.contains) }
    dependants = graph.dependants.map { $0.filter(nodes.contains) }
    self.budget = budget
    self.keepsGoing = keepsGoing
    self.memory = memory
    waiting = nodes
    let known = nodes.compactMap(duration).sorted()
    let usual = known.isEmpty ? Duration.seconds(60) : known[known.count / 2]
    var priority: [Int: Duration] = [:]
    for node in graph.order.reversed() where nodes.contains(node) {
      let rest = dependants[node].compactMap { priority[$0] }.max() ?? .zero
      priority[node] = rest + (duration(node) ?? usual)
    }
    self.priority = priority
  }

  /// Whether nothing runs and nothing will.
  public var isDone: Bool { running.isEmpty && waiting.isEmpty }

  /// How long the longest way through the batch takes, whatever the budget.
  public var longestWay: Duration { priority.values.max() ?? .zero }

  /// What starts now; none while everything has to wait for the end of something that runs.
  public mutating func start() -> [Start] {
    var result: [Start] = []
    let ready = waiting.filter { node in dependencies[node].allSatisfy { outcomes[$0] == .built } }
      .sorted { (priority[$1] ?? .zero, $0) < (priority[$0] ?? .zero, $1) }
    var rest = ready.count
    for node in ready {
      let usedJobs = running.values.reduce(0) { $0 + $1.jobs }
      guard running.count < budget.workers, usedJobs < budget.jobs || running.isEmpty else { break }
      // What is free is shared by those that could start now.
      let share = max(1, (budget.jobs - usedJobs) / min(rest, budget.workers - running.count))
      let perJob = max(1, memory(node) ?? Self.usualMemoryPerJob)
      let used = running.values.reduce(UInt64(0)) { $0 &+ $1.memory }
      let fitting = Int(clamping: (budget.memory - min(used, budget.memory)) / perJob)
      rest -= 1
      // One alone may take more than there is: it would never be built otherwise.
      if fitting == 0, !running.isEmpty { continue }
      let jobs = max(1, min(share, fitting))
      let taken = Set(running.values.map(\.worker))
      let worker = (0..<budget.workers).first { !taken.contains($0) } ?? 0
      running[node] = (worker, jobs, perJob &* UInt64(jobs))
      waiting.remove(node)
      result.append(Start(node: node, worker: worker, jobs: jobs))
    }
    return result
  }

  /// A build has ended.
  public mutating func end(_ node: Int, succeeded: Bool) {
    guard running.removeValue(forKey: node) != nil else { return }
    outcomes[node] = succeeded ? .built : .failed
    if succeeded { return }
    skip(dependantsOf: node)
    if !keepsGoing { leaveOutTheRest() }
  }

  /// Starts nothing new any more: the batch was interrupted.
  public mutating func leaveOutTheRest() {
    for node in waiting { outcomes[node] = .leftOut }
    waiting = []
  }

  private mutating func skip(dependantsOf failed: Int) {
    var open = [failed]
    while let node = open.popLast() {
      for dependant in dependants[node] where waiting.remove(dependant) != nil {
        outcomes[dependant] = .skipped(because: node)
        open.append(dependant)
      }
    }
  }
}

extension Schedule {
  /// A build in a simulated batch; times from its start.
  public struct SimulatedBuild: Sendable, Hashable {
    /// What starts.
    public var start: Start
    /// When it starts.
    public var begin: Duration
    /// When it ends.
    public var end: Duration
  }

  /// Lets the clock run through the rest of the schedule, as if everything succeeded.
  ///
  /// - Parameter duration: how long a definition takes.
  public func simulated(_ duration: (Int) -> Duration) -> [SimulatedBuild] {
    var schedule = self
    var result: [SimulatedBuild] = []
    var running: [SimulatedBuild] = []
    var now = Duration.zero
    while !schedule.isDone {
      running += schedule.start().map { SimulatedBuild(start: $0, begin: now, end: now + duration($0.node)) }
      guard let next = running.min(by: { ($0.end, $0.start.node) < ($1.end, $1.start.node) }) else { break }
      now = next.end
      running.removeAll { $0.start.node == next.start.node }
      schedule.end(next.start.node, succeeded: true)
      result.append(next)
    }
    return result.sorted { ($0.begin, $0.start.worker) < ($1.begin, $1.start.worker) }
  }
}
