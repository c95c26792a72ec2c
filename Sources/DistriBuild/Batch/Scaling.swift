// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

/// How long a set takes to build from nothing, by the number of builds that run at once: a simulation, in which a build takes as long wherever it
/// runs and whatever runs beside it.
public struct Scaling: Sendable, Hashable {
  /// One number of workers.
  public struct Row: Sendable, Hashable {
    /// How many builds run at once.
    public var workers: Int
    /// How long the set takes.
    public var duration: Duration
  }

  /// By the numbers that were asked for.
  public let rows: [Row]
  /// How long all builds take one after the other.
  public let total: Duration
  /// How long the longest way through the graph takes: no number of workers is quicker.
  public let longestWay: Duration
  /// The definitions of the longest way, first things first.
  public let longestWayNodes: [Int]
  /// How many definitions have so many others in a row before them: first those that need none.
  public let widths: [Int]

  /// Simulates.
  ///
  /// - Parameter duration: how long a definition takes to build.
  public init(_ graph: BuildGraph, workers: [Int], duration: @escaping (Int) -> Duration) {
    let all = Set(graph.nodes.indices)
    rows = workers.map { workers in
      let schedule = Schedule(
        graph, building: all, budget: .init(workers: workers, jobs: workers), duration: duration, memory: { _ in 1 })
      return Row(workers: workers, duration: schedule.simulated(duration).map(\.end).max() ?? .zero)
    }
    total = graph.nodes.indices.reduce(.zero) { $0 + duration($1) }
    var ends: [(time: Duration, depth: Int, before: Int?)] = Array(repeating: (.zero, 0, nil), count: graph.nodes.count)
    for node in graph.order {
      let last = graph.dependencies[node].max { (ends[$0].time, $1) < (ends[$1].time, $0) }
      let depth = graph.dependencies[node].map { ends[$0].depth + 1 }.max() ?? 0
      ends[node] = ((last.map { ends[$0].time } ?? .zero) + duration(node), depth, last)
    }
    longestWay = ends.map(\.time).max() ?? .zero
    var way: [Int] = []
    var next = ends.indices.max { (ends[$0].time, $1) < (ends[$1].time, $0) }
    while let node = next {
      way.append(node)
      next = ends[node].before
    }
    longestWayNodes = way.reversed()
    var widths = [Int](repeating: 0, count: (ends.map(\.depth).max() ?? -1) + 1)
    for end in ends { widths[end.depth] += 1 }
    self.widths = widths
  }
}
