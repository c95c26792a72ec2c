// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore
import Foundation
import Synchronization
import SystemPackage
import TestSupport
import Testing

@testable import DistriBuild

private func definition(_ name: String, _ text: String) throws -> DefinitionFile {
  let step = text.contains("builder") ? "" : " build_step: { argv: \"install\" }"
  return try DefinitionFile(
    bytes: Array("source: \"empty://\" \(text.contains("version:") ? "" : "version: \"1-2\" ")\(text)\(step)".utf8),
    path: FilePath("/pkgs/\(name)/build.textproto"), name: name)
}

private func graph(
  _ definitions: [String: String], store: [String] = [], _ bootstrap: BuildGraph.Bootstrap = .init()
) throws -> BuildGraph {
  try BuildGraph(
    try definitions.map { try definition($0.key, $0.value) }, for: .amd64, store: try store.map { try PackageID(parsing: $0) },
    bootstrap: bootstrap)
}

@Suite struct BuildGraphTests {
  @Test func `what a definition makes comes before what needs it`() throws {
    let graph = try graph([
      "app": "dep: \"lib\" dep: \"lib-dev\"", "lib": "split_package: { name: \"lib-dev\" claim: { glob: \"out/include/*\" } }",
      "zoo": "runtime_dep: \"app\" runtime_union: { dir: \"x\" pkg: \"lib\" }",
    ])
    #expect(graph.order.map { graph.nodes[$0].name } == ["lib", "app", "zoo"])
    #expect(graph.nodes[0].needs.map(\.package.description) == ["lib-amd64-1-2", "lib-dev-amd64-1-2"])
    #expect(graph.dependencies == [[1], [], [0, 1]])
    #expect(graph.closure(of: [0]) == [0, 1])
  }

  @Test func `a package of the set is never taken from the store unless it is older and bootstrapped`() throws {
    let definitions = ["app": "dep: \"tool\"", "tool": "version: \"5-3\""]
    let store = ["tool-amd64-4-2", "tool-amd64-5-3", "tool-amd64-9-10", "tool-i686-1-1"]
    #expect(try graph(definitions, store: store).nodes[0].needs.map(\.package.description) == ["tool-amd64-5-3"])
    let bootstrapped = try graph(definitions, store: store, .init(packages: ["tool"])).nodes[0].needs
    #expect(bootstrapped.map(\.package.description) == ["tool-amd64-4-2"])
    #expect(bootstrapped[0].node == nil)
    #expect(throws: BuildError.missingDependency("tool", of: "app")) {
      try graph(definitions, store: ["tool-amd64-5-3"], .init(packages: ["tool"]))
    }
  }

  @Test func `a definition that needs itself takes an older one`() throws {
    let bash = "dep: \"bash\" version: \"5-7\""
    #expect(
      try graph(["bash": bash], store: ["bash-amd64-5-6", "bash-amd64-5-7"]).nodes[0].needs.map(\.package.description)
        == ["bash-amd64-5-6"])
    #expect(throws: BuildError.missingDependency("bash", of: "bash")) { try graph(["bash": bash], store: ["bash-amd64-5-7"]) }
  }

  @Test func `an exact version leads to the definition only when it makes that`() throws {
    let store = ["tool-amd64-4-2", "tool-amd64-5-3"]
    let graph = try graph(
      ["app": "dep: \"tool-amd64-4-2\"", "new": "dep: \"tool-amd64-5-3\"", "tool": "version: \"5-3\""], store: store)
    #expect(graph.nodes.map { $0.needs.first?.node } == [nil, 2, nil])
    #expect(graph.nodes[0].needs[0].package.description == "tool-amd64-4-2")
  }

  @Test func `circles are told by their paths, each once`() throws {
    let definitions = [
      "a": "dep: \"b\"", "b": "dep: \"c\"", "c": "dep: \"a\" dep: \"d\"", "d": "dep: \"e\"", "e": "dep: \"d\"", "f": "dep: \"a\"",
      "g": "",
    ]
    #expect(throws: BuildError.dependencyCycles([["a", "b", "c", "a"], ["d", "e", "d"]])) { try graph(definitions) }
    let store = ["a-amd64-1-1", "e-amd64-1-1"]
    let broken = try graph(definitions, store: store, .init(packages: ["a", "e"]))
    #expect(broken.order.count == 7)
  }

  @Test func `what an implied tool needs is built by an older one, and all else by the set's`() throws {
    let implied = BuildDependency.toolchain.filter(\.isRequired).map(\.name)
    let store = implied.map { "\($0)-amd64-1-1" }
    let definitions = [
      "bash": "version: \"1-2\" cbuilder: {} dep: \"readline\"", "readline": "cbuilder: {} dep: \"ncurses\"",
      "ncurses": "cbuilder: {}",
      "grep": "version: \"1-2\" cbuilder: {} dep: \"pcre\"", "pcre": "cbuilder: {}", "app": "cbuilder: {}",
      "deep": "version: \"1-2\" dep: \"grep\"", "strace": "version: \"1-2\" cbuilder: {}",
    ]
    #expect(throws: BuildError.self) { try graph(definitions, store: store) }
    let made = try graph(definitions, store: store, .init(breaksImpliedCircles: true))
    func tools(_ name: String) throws -> [String] {
      try made.nodes[#require(made.index(of: name))].needs.filter { ["bash", "grep"].contains($0.name) }.map(
        \.package.description)
    }
    for name in ["bash", "readline", "ncurses"] { #expect(try tools(name) == ["bash-amd64-1-1", "grep-amd64-1-1"]) }
    for name in ["grep", "pcre"] { #expect(try tools(name) == ["bash-amd64-1-2", "grep-amd64-1-1"]) }
    #expect(try tools("app") == ["bash-amd64-1-2", "grep-amd64-1-2"])
    // A convenience is nothing to wait for.
    #expect(try made.nodes[#require(made.index(of: "app"))].needs.allSatisfy { $0.name != "strace" })
    // One that is named is that of the set in any case.
    #expect(try tools("deep") == ["grep-amd64-1-2"])
    #expect(made.order.count == definitions.count)
  }

  @Test func `whatever the set, its tools are in no circle`() throws {
    let tools = BuildDependency.toolchain.filter(\.isRequired).map(\.name)
    var random = SplitMix(state: 7)
    for _ in 0..<50 {
      var definitions: [String: String] = [:]
      let names = (tools + (0..<12).map { "p\($0)" }).filter { _ in random.next() % 4 > 0 }
      for (index, name) in names.enumerated() {
        // Named needs lead to those before, as in a set that can be built.
        let named = names[..<index].filter { _ in random.next() % 6 == 0 }.map { "dep: \"\($0)\"" }
        definitions[name] = "version: \"1-2\" \(random.next() % 5 > 0 ? "cbuilder: {} " : "")\(named.joined(separator: " "))"
      }
      let made = try graph(definitions, store: tools.map { "\($0)-amd64-1-1" }, .init(breaksImpliedCircles: true))
      #expect(made.order.count == names.count)
    }
  }

  @Test func `two definitions of one package, and a version without revision, are errors of their files`() throws {
    #expect(throws: BuildError.self) {
      try graph(["a": "split_package: { name: \"b\" claim: { glob: \"x\" } }", "b": ""])
    }
    #expect(throws: BuildError.self) { try graph(["a": "version: \"1\""]) }
  }

  @Test func `a long chain neither recurses nor takes long`() throws {
    var definitions: [String: String] = [:]
    for index in 0..<3000 { definitions["p\(index)"] = index > 0 ? "dep: \"p\(index - 1)\"" : "" }
    #expect(try graph(definitions).order.count == 3000)
  }
}

@Suite struct ScheduleTests {
  private func run(
    _ graph: BuildGraph, _ budget: Schedule.Budget, keepsGoing: Bool = false, failing: Set<String> = [],
    duration: [String: Int] = [:], memory: [String: UInt64] = [:]
  ) -> (starts: [[String]], outcomes: [String: Schedule.Outcome]) {
    let names = graph.nodes.map(\.name)
    var schedule = Schedule(
      graph, building: Set(graph.nodes.indices), budget: budget, keepsGoing: keepsGoing,
      duration: { duration[names[$0]].map { .seconds($0) } }, memory: { memory[names[$0]] })
    var starts: [[String]] = []
    var running: [Int] = []
    while !schedule.isDone {
      let begun = schedule.start()
      if !begun.isEmpty { starts.append(begun.map { "\(names[$0.node])/\($0.worker)/\($0.jobs)" }) }
      running += begun.map(\.node)
      guard !running.isEmpty else { break }
      let ended = running.removeFirst()
      schedule.end(ended, succeeded: !failing.contains(names[ended]))
    }
    return (starts, Dictionary(uniqueKeysWithValues: schedule.outcomes.map { (names[$0.key], $0.value) }))
  }

  @Test func `the longest way comes first, and jobs are shared by what can start`() throws {
    let graph = try graph(["a": "", "b": "dep: \"a\"", "c": "", "d": ""])
    let (starts, outcomes) = run(graph, .init(workers: 2, jobs: 5), duration: ["a": 10, "b": 100, "c": 50, "d": 20])
    #expect(starts == [["a/0/2", "c/1/3"], ["b/0/2"], ["d/1/3"]])
    #expect(outcomes.values.allSatisfy { $0 == .built })
    let alone = run(graph, .init(workers: 1, jobs: 5)).starts
    #expect(alone.flatMap(\.self).allSatisfy { $0.hasSuffix("/0/5") })
  }

  @Test func `a failure stops the rest, or only what needs it`() throws {
    let graph = try graph(["a": "", "b": "dep: \"a\"", "c": "dep: \"b\"", "d": ""])
    let stopped = run(graph, .init(workers: 1, jobs: 1), failing: ["a"]).outcomes
    #expect(stopped == ["a": .failed, "b": .skipped(because: 0), "c": .skipped(because: 1), "d": .leftOut])
    let going = run(graph, .init(workers: 1, jobs: 1), keepsGoing: true, failing: ["a"]).outcomes
    #expect(going == ["a": .failed, "b": .skipped(because: 0), "c": .skipped(because: 1), "d": .built])
  }

  @Test func `memory is a limit, but nothing waits for ever`() throws {
    let graph = try graph(["a": "", "b": "", "c": ""])
    let gigabyte: UInt64 = 1 << 30
    let (starts, outcomes) = run(
      graph, .init(workers: 3, jobs: 3, memory: 2 * gigabyte), memory: ["a": gigabyte, "b": 9 * gigabyte, "c": gigabyte])
    #expect(starts == [["a/0/1", "c/1/1"], ["b/0/1"]])
    #expect(outcomes.count == 3)
  }

  @Test func `a simulation takes the time that the budget makes it take`() throws {
    let graph = try graph(["a": "", "b": "dep: \"a\"", "c": "", "d": ""])
    let seconds = [3, 4, 5, 6]
    func length(_ workers: Int) -> Duration {
      let schedule = Schedule(
        graph, building: [0, 1, 2, 3], budget: .init(workers: workers, jobs: 4), duration: { .seconds(seconds[$0]) })
      #expect(schedule.longestWay == .seconds(7))
      return schedule.simulated { .seconds(seconds[$0]) }.map(\.end).max() ?? .zero
    }
    #expect(length(1) == .seconds(18))
    // a and d, then c, then b: the longest first.
    #expect(length(2) == .seconds(10))
    #expect(length(4) == .seconds(7))
  }

  @Test func `more workers help until the longest way is all that is left`() throws {
    let graph = try graph(["a": "", "b": "dep: \"a\"", "c": "dep: \"b\"", "d": "", "e": "dep: \"a\"", "f": ""])
    let seconds = [1, 2, 4, 8, 1, 4]
    let scaling = Scaling(graph, workers: [1, 2, 3, 512]) { .seconds(seconds[$0]) }
    #expect(scaling.total == .seconds(20) && scaling.longestWay == .seconds(8))
    // With two: d and e beside a, b, c and f.
    #expect(scaling.rows.map(\.workers) == [1, 2, 3, 512])
    #expect(scaling.rows.map(\.duration) == [.seconds(20), .seconds(11), .seconds(8), .seconds(8)])
    #expect(scaling.widths == [3, 2, 1])
    #expect(scaling.longestWayNodes.map { graph.nodes[$0].name } == ["d"])
    let longer = Scaling(graph, workers: [1]) { .seconds(graph.nodes[$0].name == "c" ? 9 : 1) }
    #expect(longer.longestWayNodes.map { graph.nodes[$0].name } == ["a", "b", "c"] && longer.longestWay == .seconds(11))
  }

  @Test func `random graphs are built whole, never beyond the budget, always after their needs`() throws {
    var random = SystemRandomNumberGenerator()
    for _ in 0..<40 {
      let count = Int.random(in: 1...30, using: &random)
      var definitions: [String: String] = [:]
      for index in 0..<count {
        let needs = (0..<index).filter { _ in Int.random(in: 0..<4, using: &random) == 0 }
        definitions["p\(index)"] = needs.map { "dep: \"p\($0)\"" }.joined(separator: " ")
      }
      let graph = try graph(definitions)
      let budget = Schedule.Budget(workers: Int.random(in: 1...5), jobs: Int.random(in: 1...8), memory: 3 << 30)
      var schedule = Schedule(graph, building: Set(graph.nodes.indices), budget: budget)
      var running: [Schedule.Start] = []
      var done: Set<Int> = []
      while !schedule.isDone {
        let begun = schedule.start()
        for start in begun { #expect(done.isSuperset(of: graph.dependencies[start.node])) }
        running += begun
        #expect(running.count <= budget.workers && Set(running.map(\.worker)).count == running.count)
        #expect(running.count == 1 || running.reduce(0) { $0 + $1.jobs } <= budget.jobs)
        let ended = running.remove(at: try #require(running.indices.randomElement(using: &random)))
        done.insert(ended.node)
        schedule.end(ended.node, succeeded: true)
      }
      #expect(done.count == count)
    }
  }
}

@Suite struct BatchTests {
  /// Definitions in a folder, and a store.
  private final class Bench {
    let folder: TemporaryDirectory
    let store: LocalStore

    init(_ definitions: [String: String]) throws {
      folder = try TemporaryDirectory()
      try FileManager.default.createDirectory(atPath: "\(folder.path)/store", withIntermediateDirectories: true)
      store = try LocalStore(path: folder.path.appending("store"))
      for (name, text) in definitions { try write(name, text) }
    }

    func write(_ name: String, _ text: String) throws {
      let directory = "\(folder.path)/pkgs/\(name)"
      try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
      try Data(definition(name, text).bytes).write(to: URL(filePath: "\(directory)/build.textproto"))
    }

    func graph() throws -> BuildGraph {
      let names = try FileManager.default.contentsOfDirectory(atPath: "\(folder.path)/pkgs").sorted()
      let files = try names.map { try DefinitionFile(directory: folder.path.appending("pkgs").appending($0)) }
      return try BuildGraph(files, for: .amd64, store: store.packages())
    }

    func states() async throws -> [String: Batch.State] {
      let graph = try graph()
      let batch = try await Batch(graph, in: store)
      return Dictionary(uniqueKeysWithValues: zip(graph.nodes.map(\.name), batch.states))
    }
  }

  /// Puts packages into the store that have nothing but the digest of what they are made of.
  private final class DigestExecutor: Executor {
    let store: LocalStore
    let failing: Set<String>
    let order = Mutex<[String]>([])

    init(_ store: LocalStore, failing: Set<String> = []) {
      self.store = store
      self.failing = failing
    }

    func build(_ order: BuildOrder, report: @escaping @Sendable (BuildEvent) -> Void) async throws -> [PackageID] {
      let name = order.file.definition.name
      self.order.withLock { $0.append(name) }
      if failing.contains(name) { throw BuildError.tool(name, reason: "is to fail") }
      let dependencies = try order.choices.values.map {
        InputDigest.Dependency(package: $0, digest: try store.metadata(of: $0).inputDigest)
      }
      let digest = try InputDigest(definition: order.file, dependencies: dependencies, architecture: .amd64).text
      let packages = try order.file.packages(for: .amd64)
      try await store.transaction { staging in
        for package in packages {
          let path = staging.imagePath(of: package)
          let file = try FileDescriptor.open(path, .readWrite, options: .create, permissions: .ownerReadWrite)
          var tree = SampleTree(of: package)
          _ = try ImageWriter().write(&tree, to: file, path: path)
          try file.close()
          try staging.stage(PackageMetadata(version: package.version, inputDigest: digest), of: package)
        }
      }
      return packages
    }
  }

  private func run(_ bench: Bench, failing: Set<String> = [], keepsGoing: Bool = false) async throws -> (Batch.Result, [String]) {
    let graph = try bench.graph()
    let batch = try await Batch(graph, in: bench.store)
    let executor = DigestExecutor(bench.store, failing: failing)
    let schedule = Schedule(graph, building: batch.missing, budget: .init(workers: 3, jobs: 3), keepsGoing: keepsGoing)
    let result = try await batch.run(schedule, on: executor) { _ in }
    return (result, executor.order.withLock { $0 })
  }

  @Test func `what is missing is built once, then all is current`() async throws {
    let bench = try Bench(["app": "dep: \"lib\"", "lib": "", "tool": "dep: \"app\" dep: \"lib\""])
    #expect(try await bench.states() == ["app": .missing, "lib": .missing, "tool": .missing])
    let (result, order) = try await run(bench)
    #expect(result.isSuccess && order == ["lib", "app", "tool"])
    #expect(result.records.count == 3)
    #expect(try await bench.states() == ["app": .current, "lib": .current, "tool": .current])
    #expect(try await run(bench).1 == [])
  }

  @Test func `only what was asked for and what that needs is built`() async throws {
    let bench = try Bench(["app": "dep: \"lib\"", "lib": "", "tool": ""])
    let graph = try bench.graph()
    let batch = try await Batch(graph, in: bench.store, selection: [0])
    #expect(batch.missing == [0, 1])
  }

  @Test func `a failure goes on to what needs it, and the next batch tries again`() async throws {
    let bench = try Bench(["app": "dep: \"lib\"", "lib": "", "other": ""])
    let (result, _) = try await run(bench, failing: ["lib"], keepsGoing: true)
    #expect(result.outcomes == [0: .skipped(because: 1), 1: .failed, 2: .built])
    #expect(result.failures.map(\.node) == [1] && !result.isSuccess)
    let (again, order) = try await run(bench)
    #expect(again.isSuccess && order == ["lib", "app"])
  }

  @Test func `a change makes stale what it reaches, and new revisions make it missing`() async throws {
    let bench = try Bench(["app": "dep: \"lib\"", "lib": "", "other": "", "zoo": "dep: \"app\""])
    _ = try await run(bench)
    try bench.write("lib", "extra_file: \"more\"")
    try Data("1".utf8).write(to: URL(filePath: "\(bench.folder.path)/pkgs/lib/more"))
    // app is as it was built: the lib that it was built of is still the one of the store.
    #expect(try await bench.states() == ["app": .current, "lib": .stale, "other": .current, "zoo": .current])
    let graph = try bench.graph()
    let changes = try await Revisions(graph, in: bench.store).changes
    #expect(changes.map(\.new.description) == ["lib-amd64-1-3", "app-amd64-1-3", "zoo-amd64-1-3"])
    #expect(changes.map(\.causes) == [[], [1], [0]])
    for change in changes {
      var file = graph.nodes[change.node].file
      try file.replace(.version, with: change.new.version)
      try Data(file.bytes).write(to: URL(filePath: file.path.string))
    }
    let (result, order) = try await run(bench)
    #expect(result.isSuccess && order == ["lib", "app", "zoo"])
    #expect(try await Revisions(try bench.graph(), in: bench.store).changes.isEmpty)
    #expect(try await bench.states().values.allSatisfy { $0 == .current })
  }

  @Test func `a new revision is one that nobody has`() async throws {
    let bench = try Bench(["lib": "version: \"1-2\""])
    _ = try await run(bench)
    try bench.write("lib", "version: \"1-7\"")
    _ = try await run(bench)
    try bench.write("lib", "version: \"1-2\" runtime_dep: \"lib\" in_tree_build: true")
    let changes = try await Revisions(try bench.graph(), in: bench.store).changes
    #expect(changes.map(\.new.description) == ["lib-amd64-1-8"])
  }

  @Test func `a cancelled batch starts nothing new`() async throws {
    struct Waiting: Executor {
      let started: AsyncStream<Void>.Continuation
      func build(_ order: BuildOrder, report: @escaping @Sendable (BuildEvent) -> Void) async throws -> [PackageID] {
        started.yield()
        try await Task.sleep(for: .seconds(600))
        return []
      }
    }
    let bench = try Bench(["a": "", "b": "", "c": "dep: \"a\""])
    let graph = try bench.graph()
    let batch = try await Batch(graph, in: bench.store)
    let (stream, continuation) = AsyncStream<Void>.makeStream()
    let schedule = Schedule(graph, building: batch.missing, budget: .init(workers: 1, jobs: 1))
    let task = Task { try await batch.run(schedule, on: Waiting(started: continuation)) { _ in } }
    var iterator = stream.makeAsyncIterator()
    await iterator.next()
    task.cancel()
    await #expect(throws: CancellationError.self) { try await task.value }
    continuation.finish()
    #expect(await iterator.next() == nil)
  }

  @Test func `times are kept, and what is damaged is left out`() throws {
    let folder = try TemporaryDirectory()
    let path = folder.path.appending("times")
    #expect(BuildHistory(path: path).records.isEmpty)
    var history = BuildHistory()
    history.records = [
      "b": .init(duration: .milliseconds(12_345), jobs: 2), "a": .init(duration: .seconds(1), jobs: 1, memory: 4096),
    ]
    try history.write(to: path)
    #expect(BuildHistory(path: path) == history)
    #expect(try String(contentsOfFile: path.string, encoding: .utf8) == "a 1000 1 4096\nb 12345 2 0\n")
    try Data("a 1 1\nb x 1\nc 5\nd -1 1\ne 1 0\n\u{0}\nf 2 2 -2\nh 1 1 1 1\ng 7 1".utf8).write(to: URL(filePath: path.string))
    #expect(BuildHistory(path: path).records.keys.sorted() == ["a", "g"])
  }

  @Test func `a trace is JSON that viewers read`() throws {
    let trace = Trace()
    let package = try PackageID(parsing: "nano-amd64-1-1")
    trace.add(.progress(package, worker: 1, .finished("make \"all\"\u{1}", .milliseconds(5))))
    trace.add(.ended(package, worker: 1, .milliseconds(9), BuildError.tool("x", reason: "y")))
    let object = try #require(try JSONSerialization.jsonObject(with: Data(trace.json.utf8)) as? [String: Any])
    let events = try #require(object["traceEvents"] as? [[String: Any]])
    #expect(events.map { $0["ph"] as? String } == ["M", "X", "X"])
    #expect(Set(events.compactMap { $0["cat"] as? String }) == ["step", "failed build"])
    #expect(events.contains { $0["name"] as? String == "make \"all\"\u{1}" })
  }
}
