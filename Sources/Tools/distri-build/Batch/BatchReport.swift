// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriBuild
import DistriStore
import Synchronization
import SystemPackage
import ToolSupport

/// Tells of a batch: a line per worker on a terminal, a line per event elsewhere, and in the end what came of it.
final class BatchReport: Sendable {
  private struct Work {
    var package: PackageID
    var step = ""
    var since = ContinuousClock.now
    var isKnown = false
  }

  private struct State {
    var work: [Int: Work] = [:]
    var endedCount = 0
    var isFinished = false
  }

  private let batch: Batch
  private let display = StatusDisplay()
  private let state = Mutex(State())
  private let start = ContinuousClock.now

  init(_ batch: Batch) { self.batch = batch }

  /// What would be done with each definition that was asked for, in the order of building.
  func printPlan() {
    for index in batch.graph.order {
      let node = batch.graph.nodes[index]
      switch batch.states[index] {
      case .missing where batch.missing.contains(index): Terminal.standardOutput.write("build \(node.package)\n")
      case .missing: continue
      case .current: Terminal.standardOutput.write("current \(node.package)\n")
      case .stale: Terminal.standardOutput.write("stale \(node.package)\n")
      }
    }
    Terminal.standardError.write(counts + "\n")
  }

  /// What will be done.
  func announce() { display.note(counts) }

  private var counts: String {
    let stale = batch.states.count { $0 == .stale }
    let hint = stale > 0 ? ", \(stale) stale (distri-build bump gives them new revisions)" : ""
    return "\(batch.missing.count) to build, \(batch.states.count { $0 == .current }) current\(hint)"
  }

  func handle(_ event: Batch.Event) {
    switch event {
    case .started(let package, let worker, let jobs):
      state.withLock { $0.work[worker] = Work(package: package) }
      if !display.isLive { display.note("\(package): started with \(jobs) job\(jobs == 1 ? "" : "s")") }
    case .progress(_, let worker, let event):
      switch event {
      case .began(let step): state.withLock { $0.work[worker]?.step = step }
      case .known: state.withLock { $0.work[worker]?.isKnown = true }
      default: break
      }
    case .ended(let package, let worker, let duration, let error):
      let (count, isKnown) = state.withLock { state in
        let work = state.work.removeValue(forKey: worker)
        state.endedCount += 1
        return (state.endedCount, work?.isKnown ?? false)
      }
      let position = "[\(count)/\(batch.missing.count)]"
      switch error {
      case nil:
        display.note("\(position) \(package): \(isKnown ? "known, and taken" : "built") in \(clock(duration))")
        Terminal.standardOutput.write("\(package)\n")
      case is CancellationError: display.note("\(position) \(package): interrupted")
      case .some: display.note("\(position) \(package): failed after \(clock(duration))")
      }
    }
    redraw()
  }

  /// Draws the workers' lines as they are now.
  func redraw() {
    guard display.isLive else { return }
    let lines: [String] = state.withLock { state in
      if state.isFinished { return [] }
      let now = ContinuousClock.now
      let total = "\(state.endedCount) of \(batch.missing.count) after \(clock(now - start))"
      return [total]
        + state.work.sorted { $0.key < $1.key }.map { worker, work in
          "\(worker + 1) \(clock(now - work.since)) \(work.package) \(work.step)"
        }
    }
    display.show(lines)
  }

  /// Takes the lines away.
  func finish() {
    state.withLock { $0.isFinished = true }
    display.finish()
  }

  /// What was not built and why; the first failure last, whole, so that it is what one sees.
  func summarize(_ result: Batch.Result) {
    let names = batch.graph.nodes.map(\.name)
    for (node, outcome) in result.outcomes.sorted(by: { $0.key < $1.key }) {
      if case .skipped(let cause) = outcome { display.note("skipped: \(names[node]) needs \(names[cause])") }
    }
    let counts = [
      ("built", result.outcomes.values.count { $0 == .built }), ("failed", result.outcomes.values.count { $0 == .failed }),
      ("skipped", result.outcomes.values.count { if case .skipped = $0 { true } else { false } }),
      ("not started", result.outcomes.values.count { $0 == .leftOut }),
    ].filter { $0.0 == "built" || $0.1 > 0 }
    let elapsed = clock(ContinuousClock.now - start)
    display.note(counts.map { "\($0.1) \($0.0)" }.joined(separator: ", ") + " in \(elapsed)")
    for (node, _) in result.failures.dropFirst() {
      display.note("failed, too: \(names[node]), see distri-build log \(names[node])")
    }
    if let (node, error) = result.failures.first { display.note("\(names[node]): \(error)") }
  }
}

/// Remembers how long builds took, build by build, so that an interrupted batch knows it, too.
final class BatchRecorder: Sendable {
  private let history: Mutex<BuildHistory>
  private let path: FilePath
  private let running = Mutex<[PackageID: BuildHistory.Record]>([:])

  init(history: BuildHistory, path: FilePath) {
    self.history = Mutex(history)
    self.path = path
  }

  func handle(_ event: Batch.Event) {
    switch event {
    case .started(let package, _, let jobs): running.withLock { $0[package] = .init(duration: .zero, jobs: jobs) }
    case .progress(let package, _, .usedMemory(let count)): running.withLock { $0[package]?.memory = count }
    // Not how long its build takes.
    case .progress(let package, _, .known): running.withLock { $0[package] = nil }
    case .progress: break
    case .ended(let package, _, let duration, let error):
      guard var record = running.withLock({ $0.removeValue(forKey: package) }), error == nil else { return }
      record.duration = duration
      history.withLock { history in
        history.records[package.name] = record
        // Times are a help only: a disk that is full shows elsewhere.
        try? history.write(to: path)
      }
    }
  }
}
