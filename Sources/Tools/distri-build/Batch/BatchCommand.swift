// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import DistriBuild
import DistriStore
import FoundationEssentials
import SystemPackage
import ToolSupport

/// `distri-build batch`: all definitions of a directory become packages.
struct BatchCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "batch",
    abstract: "Build what is missing of a whole set of definitions.",
    discussion: """
      Definitions are built after those that they need, several at once, the longest way first by the times of earlier batches. What is in
      the store of the same inputs is left alone; what is there of other inputs is «stale» and needs a new revision (--bump, or
      distri-build bump). A failure stops what is not started yet; with --keep-going only what needs the failed package. Interrupted or
      killed, a batch goes on where it was when it is run again. Logs are <work>/<package>/build-<architecture>-<version>.log.

        distri-build batch pkgs --store /roimg --sources ~/sources --bootstrap-toolchain --keep-going
        distri-build batch pkgs --store /roimg --dry-run nano
        distri-build batch pkgs --store /roimg --bootstrap-toolchain --scaling
        distri-build batch pkgs --store /roimg --executor grpc://10.0.0.7:8980/main --workers 64

      Prints the full name of every package that was built, a line each. The status is 1 when something failed.
      """)

  @OptionGroup var set: SetOptions

  @OptionGroup var sourceOptions: SourceOptions

  @Option(
    help: ArgumentHelp("Where builds happen and logs and times stay. Without it, _build beside the definitions.", valueName: "dir"))
  var work: String?

  @Option(help: "How many jobs all builds together may start at once.")
  var jobs = ProcessInfo.processInfo.activeProcessorCount

  @Option(help: "How many builds may run at once. Without it, as many as jobs, at most 8; on other machines, one a server.")
  var workers: Int?

  @Option(
    help: ArgumentHelp(
      "How much memory all builds together may take. Without it, three quarters of the machine's.", valueName: "size"),
    transform: LimitOptions.byteCount)
  var memoryBudget: UInt64?

  @OptionGroup(title: "Limits of each build") var limitOptions: LimitOptions

  @OptionGroup(title: "Other machines") var clusterOptions: ClusterOptions

  @Flag(help: "After a failure, go on with all that does not need the failed package.")
  var keepGoing = false

  @Flag(help: "Give stale definitions new revisions first, as distri-build bump --write does.")
  var bump = false

  @Flag(help: "Say what would be built, and build nothing.")
  var dryRun = false

  @Flag(help: "Say when what would be built, by the times of earlier batches, and build nothing.")
  var simulate = false

  @Flag(
    help: """
      Say how long all of the set would take from nothing with 1 to 512 workers, by the times of earlier batches, and how many definitions are in \
      each level of the graph; what neither the set nor the store has is taken to be there. Builds nothing.
      """)
  var scaling = false

  @Option(
    help: ArgumentHelp(
      "Times of another place: a file as _build/batch-times, a definition a line, with milliseconds and jobs.", valueName: "file"))
  var times: String?

  @Option(help: ArgumentHelp("Write when what happened, for Perfetto or Chrome's about:tracing.", valueName: "file"))
  var trace: String?

  func validate() throws {
    if !(1...4096).contains(jobs) { throw ValidationError("--jobs is a number from 1 to 4096.") }
    if clusterOptions.executor != nil, limitOptions.isUsed { throw ValidationError(ClusterOptions.noLimits) }
    if let workers, !(1...256).contains(workers) { throw ValidationError("--workers is a number from 1 to 256.") }
  }

  func run() async throws {
    let store = try LocalStore(path: set.storeOptions.storePath)
    if scaling { return try ScalingReport(set: set, store: store, history: BuildHistory(path: timesPath)).print() }
    if bump { try await BumpCommand.write(try await plannedChanges(store), in: set.files()) }
    let graph = try set.graph(try set.files(), try store.packages())
    let batch = try await Batch(graph, in: store, selection: try set.selection(in: graph))
    let history = BuildHistory(path: timesPath)
    let schedule = Schedule(
      graph, building: batch.missing, budget: budget, keepsGoing: keepGoing,
      duration: { history.records[graph.nodes[$0].name]?.duration },
      memory: { history.records[graph.nodes[$0].name].flatMap { $0.memory > 0 ? $0.memory : nil } })
    let report = BatchReport(batch)
    if dryRun { return report.printPlan() }
    if simulate { return try printSimulation(of: schedule, graph, history) }
    report.announce()
    try await run(batch, schedule, store, history, report)
  }

  private func plannedChanges(_ store: LocalStore) async throws -> (BuildGraph, [Revisions.Change]) {
    let graph = try set.graph(try set.files(), try store.packages())
    return (graph, try await Revisions(graph, in: store).changes)
  }

  private func run(
    _ batch: Batch, _ schedule: Schedule, _ store: LocalStore, _ history: BuildHistory, _ report: BatchReport
  ) async throws {
    var builder = Builder(
      store: store, dependencyRoot: MountedDependencies(store: store), fetcher: sourceOptions.cache(below: workPath), work: workPath
    )
    builder.limits = limitOptions.limits
    let recorder = BatchRecorder(history: history, path: historyPath)
    let spans = Trace()
    let local = LocalExecutor(builder)
    let task = Task { [clusterOptions, sourceOptions, workPath, budget] in
      try await clusterOptions.withExecutor(
        else: local, store: store, work: workPath, sources: sourceOptions, workers: budget.workers
      ) { executor in
        try await batch.run(schedule, on: executor) { event in
          report.handle(event)
          recorder.handle(event)
          spans.add(event)
        }
      }
    }
    // Times go on where nothing else happens.
    let clock = Task {
      while !Task.isCancelled {
        report.redraw()
        try? await Task.sleep(for: .milliseconds(500))
      }
    }
    defer {
      clock.cancel()
      report.finish()
      if let trace { try? Data(spans.json.utf8).write(to: URL(filePath: trace)) }
    }
    let result = try await Interruption.cancelling(task) {
      report.finish()
      Terminal.standardError.write("distri-build: interrupted; run the same command again to go on\n")
    }
    report.finish()
    report.summarize(result)
    if !result.isSuccess { throw BatchFailure() }
  }

  private func printSimulation(of schedule: Schedule, _ graph: BuildGraph, _ history: BuildHistory) throws {
    let usual = history.usualDuration
    let builds = schedule.simulated { history.records[graph.nodes[$0].name]?.duration ?? usual }
    let spans = Trace()
    for build in builds {
      let package = graph.nodes[build.start.node].package
      spans.add(package.description, category: "build", worker: build.start.worker, from: build.begin, to: build.end)
      let isKnown = history.records[package.name] != nil
      Terminal.standardOutput.write(
        "\(clock(build.begin)) \(clock(build.end)) worker \(build.start.worker + 1) \(package)\(isKnown ? "" : " (never built: the usual time)")\n"
      )
    }
    let end = builds.map(\.end).max() ?? .zero
    Terminal.standardError.write(
      "\(builds.count) builds would end after \(clock(end)); the longest way takes \(clock(schedule.longestWay))\n")
    if let trace { try Data(spans.json.utf8).write(to: URL(filePath: trace)) }
  }

  private var workPath: FilePath {
    work.map { absolutePath($0) } ?? set.definitionsPath.removingLastComponent().appending("_build")
  }

  private var historyPath: FilePath { workPath.appending("batch-times") }

  private var timesPath: FilePath { times.map { absolutePath($0) } ?? historyPath }

  private var budget: Schedule.Budget {
    // Other machines decide by themselves how much a build takes.
    if clusterOptions.executor != nil {
      let count = workers ?? clusterOptions.executorCount
      return Schedule.Budget(workers: count, jobs: count)
    }
    return Schedule.Budget(
      workers: workers ?? min(jobs, 8), jobs: jobs, memory: memoryBudget ?? ProcessInfo.processInfo.physicalMemory / 4 * 3)
  }
}

/// The summary has said what failed.
private struct BatchFailure: SilentError {
  var exitStatus: ExitCode { ExitCode(1) }
}

/// Hours, minutes and seconds of a duration, such as `0:02:05`.
func clock(_ duration: Duration) -> String {
  let seconds = duration.components.seconds
  func two(_ number: Int64) -> String { number < 10 ? "0\(number)" : "\(number)" }
  return "\(seconds / 3600):\(two(seconds / 60 % 60)):\(two(seconds % 60))"
}
