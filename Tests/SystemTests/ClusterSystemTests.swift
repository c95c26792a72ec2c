// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

#if RemoteExecution

import Foundation
import SystemPackage
import TestSupport
import Testing

/// Batches on workers of a real cluster, on this machine.
@Suite(.serialized) struct ClusterSystemTests {
  private typealias Bench = DefinitionBench

  /// The tool beside these tests: the one that is released has no remote execution.
  private static let tool: String = {
    let test = (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")) ?? ""
    return FilePath(test).removingLastComponent().appending("distri-build").string
  }()

  /// Ten packages, five of them in a row.
  private static let ten = [
    "a": Bench.chain("a"), "b": Bench.chain("b", needs: ["a"]), "c": Bench.chain("c", needs: ["b"]),
    "d": Bench.chain("d", needs: ["c"]),
    "e": Bench.chain("e", needs: ["d", "a"]), "f": Bench.chain("f"), "g": Bench.chain("g", needs: ["f"]),
    "h": Bench.chain("h", needs: ["a", "f"]),
    "i": Bench.chain("i"), "j": Bench.chain("j", needs: ["h", "i"]),
  ]

  private static func arguments(_ bench: Bench, _ more: [String]) -> [String] {
    let arguments = ["batch", "\(bench.path)/pkgs", "--store", "\(bench.path)/store"] + more
    return more.contains("--sources") ? arguments : arguments + ["--sources", "\(bench.path)/sources"]
  }

  private static func batch(_ bench: Bench, _ more: [String]) async throws -> ToolProcess.Outcome {
    try await ToolProcess.run(tool, arguments(bench, more))
  }

  private static func isSame(_ file: String, in one: Bench, and other: Bench) throws -> Bool {
    try Data(contentsOf: URL(filePath: "\(one.path)/store/\(file)"))
      == Data(contentsOf: URL(filePath: "\(other.path)/store/\(file)"))
  }

  @Test func `a batch over two workers makes the same bytes as this machine, and a second client has them without an execution`()
    async throws
  {
    let cluster = try await BuildboxCluster()
    let (here, there, second) = (try await Bench(Self.ten), try await Bench(Self.ten), try await Bench(Self.ten))
    let local = try await Self.batch(here, [])
    try #require(local.status == 0, "\(local.errors)")
    // Images stay where they are, and what is built of them has them there.
    let lazy = try await Self.batch(there, cluster.options + ["--download", "none"])
    try #require(lazy.status == 0 && lazy.output.split(separator: "\n").count == 10, "\(lazy.errors)")
    #expect(cluster.executionCount == 10)
    #expect(cluster.workers.allSatisfy { $0.count(of: "StageTree request") > 0 }, "one worker did everything")
    #expect(try !FileManager.default.contentsOfDirectory(atPath: "\(there.path)/store").contains { $0.hasPrefix("j-") })
    #expect(try there.text("_build/a/build-amd64-1-1.log").contains("run bash"))

    let times = try there.text("_build/batch-times")
    let eager = try await Self.batch(there, cluster.options)
    #expect(eager.status == 0 && eager.errors.contains("j-amd64-1-1: known, and taken"), "\(eager.errors)")
    // What it takes to look something up is not what it takes to build it.
    #expect(try there.text("_build/batch-times") == times)
    for name in Self.ten.keys.sorted() {
      for kind in ["squashfs", "meta.textproto"] {
        #expect(try Self.isSame("\(name)-amd64-1-1.\(kind)", in: here, and: there), "\(name).\(kind) differs")
      }
    }
    let other = try await Self.batch(second, cluster.options + ["--download", "all"])
    #expect(other.status == 0, "\(other.errors)")
    #expect(try Self.isSame("j-amd64-1-1.squashfs", in: here, and: second))
    #expect(FileManager.default.fileExists(atPath: "\(second.path)/_build/j/j-amd64-1-1.spdx.json"))
    #expect(cluster.executionCount == 10)
  }

  /// Ten of the examples' packages, of real sources, that are built in little time: compiled by autotools, and of Perl, Python and Go. file and pkg-config
  /// are tools that all others are built with then, so that zlib, file, pkg-config and acl are in a row.
  private static let realTen = [
    "acl", "attr", "file", "go-github.com-russross-blackfriday-v2", "go-md2man", "perl-YAML", "pkg-config", "python3-MarkupSafe",
    "python3-six", "zlib",
  ]

  @Test func `ten real packages of two workers are the bytes of this machine, and a second client has them at once`() async throws {
    let sources = WholeLifeTests.folder.appending("sources").string
    let fetch = try await ToolProcess.run(
      Bench.examples.appending("fetch-sources.sh").string, [sources] + Self.realTen, environment: ["LC_ALL": "C.UTF-8"])
    try #require(fetch.status == 0, "\(fetch.errors)")
    let cluster = try await BuildboxCluster()
    func bench() async throws -> Bench { try await Bench([:], examples: Self.realTen) }
    let (here, there, second) = (try await bench(), try await bench(), try await bench())
    let options = ["--sources", sources, "--bootstrap-toolchain"]
    let plan = try await Self.batch(here, options + ["--scaling"])
    #expect(plan.output.split(separator: "\n").count { $0.hasPrefix("level ") } >= 4, "\(plan.output)")
    // At once: for most of the time each of them has one build that all others wait for.
    let arguments = [
      Self.arguments(here, options + ["--workers", "2"]),
      Self.arguments(there, options + cluster.options + ["--download", "none"]),
    ]
    async let local = ToolProcess.run(Self.tool, arguments[0])
    async let remote = ToolProcess.run(Self.tool, arguments[1])
    let outcomes = try await [local, remote]
    for outcome in outcomes { try #require(outcome.status == 0, "\(outcome.errors)") }
    #expect(cluster.executionCount == 10)
    #expect(cluster.workers.allSatisfy { $0.count(of: "StageTree request") > 0 }, "one worker did everything")

    // What is known takes next to no time, be it here, be it with a store that has only what was imported. Others may use this machine, too: the quickest
    // of up to ten counts.
    var times: [Duration] = []
    repeat {
      times.append(
        try await ContinuousClock().measure {
          let again = try await Self.batch(there, options + cluster.options + ["--download", "none"])
          #expect(again.status == 0 && again.output.split(separator: "\n").count == 10, "\(again.errors)")
        })
    } while times.count < 10 && times[times.count - 1] >= .seconds(2)
    #expect(times[times.count - 1] < .seconds(2), "\(times)")
    let taken = try await Self.batch(second, options + cluster.options + ["--download", "all"])
    try #require(taken.status == 0, "\(taken.errors)")
    #expect(cluster.executionCount == 10)
    let packages = outcomes[0].output.split(separator: "\n").map(String.init)
    #expect(packages.count == 10)
    for package in packages {
      let files = ["\(package).squashfs", "\(package).meta.textproto", "debug/\(package).squashfs", "src/\(package).squashfs"]
      for (index, file) in files.enumerated() {
        // Not all have debug symbols; images and metadata all have.
        if index > 1, !FileManager.default.fileExists(atPath: "\(here.path)/store/\(file)") {
          #expect(!FileManager.default.fileExists(atPath: "\(second.path)/store/\(file)"), "\(file) is not of this machine")
        } else {
          #expect(try Self.isSame(file, in: here, and: second), "\(file) differs")
        }
      }
    }
  }

  @Test(arguments: ["worker", "cache"])
  func `a server that is killed in the middle of a build does not fail the batch`(victim: String) async throws {
    let cluster = try await BuildboxCluster()
    let bench = try await Bench([
      "a": Bench.step("sleep 2; echo a > ${DISTRI_DESTDIR}${DISTRI_PREFIX}/share/a"), "b": Bench.chain("b", needs: ["a"]),
    ])
    let arguments = Self.arguments(bench, cluster.options)
    async let batch = ToolProcess.run(Self.tool, arguments)
    // One action alone goes to the first.
    try await cluster.workers[0].wait(for: "StageTree request")
    if victim == "worker" {
      cluster.kill(cluster.workers[0])
    } else {
      cluster.kill(cluster.central)
      try await cluster.central.start()
    }
    let outcome = try await batch
    #expect(outcome.status == 0 && outcome.output == "a-amd64-1-1\nb-amd64-1-1\n", "\(outcome.errors)")
    if victim == "worker" { #expect(cluster.workers[1].count(of: "StageTree request") == 2) }
  }

  @Test func `a failure says why, where, and has a log`() async throws {
    let cluster = try await BuildboxCluster(devices: [true])
    let bench = try await Bench(["a": Bench.step("echo THE REASON; exit 3"), "b": Bench.chain("b", needs: ["a"])])
    for _ in 0..<2 {
      let outcome = try await Self.batch(bench, cluster.options)
      #expect(outcome.status == 1)
      #expect(outcome.errors.contains("skipped: b needs a") && outcome.errors.contains("THE REASON"), "\(outcome.errors)")
      #expect(outcome.errors.contains(cluster.workers[0].url))
      #expect(try bench.text("_build/a/build-amd64-1-1.log").contains("THE REASON"))
    }
    // A failure that the cache keeps is no result.
    #expect(cluster.executionCount == 2)
  }

  @Test func `a worker that cannot build is passed over`() async throws {
    let cluster = try await BuildboxCluster(devices: [false, true])
    let bench = try await Bench(["a": Bench.chain("a")])
    let outcome = try await Self.batch(bench, cluster.options)
    #expect(outcome.status == 0, "\(outcome.errors)")
    let alone = try await Self.batch(
      try await Bench(["b": Bench.chain("b")]), ["--executor", cluster.workers[0].url] + BuildboxCluster.options)
    #expect(alone.status == 1 && alone.errors.contains("/dev/fuse"), "\(alone.errors)")
  }

  @Test func `an interrupt ends what the workers do`() async throws {
    let cluster = try await BuildboxCluster(devices: [true])
    let bench = try await Bench(["a": Bench.step("while true; do sleep 0.1; done")])
    let process = Process()
    process.executableURL = URL(filePath: Self.tool)
    process.arguments = Self.arguments(bench, cluster.options)
    process.standardError = FileHandle.nullDevice
    process.standardOutput = FileHandle.nullDevice
    try process.run()
    try await cluster.workers[0].wait(for: "StageTree request")
    kill(process.processIdentifier, SIGINT)
    process.waitUntilExit()
    #expect(process.terminationStatus == 130)
    // The next one has the only worker for itself.
    try bench.write("a", Bench.chain("a"))
    let outcome = try await Self.batch(bench, cluster.options)
    #expect(outcome.status == 0, "\(outcome.errors)")
  }

  @Test func `the action cache gives one what another has built`() async throws {
    let cluster = try await BuildboxCluster(devices: [])
    let (first, second) = (try await Bench(["a": Bench.chain("a")]), try await Bench(["a": Bench.chain("a")]))
    func build(_ bench: Bench, _ more: [String]) async throws -> ToolProcess.Outcome {
      try await ToolProcess.run(
        Self.tool,
        ["build", "--definitions", "\(bench.path)/pkgs", "--store", "\(bench.path)/store", "a", "--cache", cluster.central.url]
          + BuildboxCluster.options + more)
    }
    let unknown = try await build(second, ["--cache-only"])
    #expect(unknown.status == 66 && unknown.errors.contains("not in the action cache"), "\(unknown.errors)")
    #expect(try await build(first, []).status == 0)
    #expect(try await build(second, ["--cache-only"]).status == 66)
    try FileManager.default.removeItem(atPath: "\(first.path)/store/a-amd64-1-1.squashfs")
    try FileManager.default.removeItem(atPath: "\(first.path)/store/a-amd64-1-1.meta.textproto")
    let written = try await build(first, ["--cache-write"])
    #expect(written.status == 0, "\(written.errors)")
    let known = try await build(second, ["--cache-only"])
    #expect(known.status == 0 && known.output == "a-amd64-1-1\n", "\(known.errors)")
    #expect(try Self.isSame("a-amd64-1-1.squashfs", in: first, and: second))
    let again = try await build(second, ["--cache-only"])
    #expect(again.status == 65 && again.errors.contains("is in the store already"), "\(again.errors)")
  }
}

#endif
