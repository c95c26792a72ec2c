// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import Foundation
import SystemPackage
import TestSupport
import Testing

/// `distri-build batch` and its kin, with a store of imported packages, in the real sandbox.
@Suite(.serialized) struct BatchSystemTests {
  private typealias Bench = DefinitionBench

  private static let diamond = [
    "a": Bench.chain("a"), "b": Bench.chain("b", needs: ["a"]), "c": Bench.chain("c", needs: ["a"]),
    "d": Bench.chain("d", needs: ["b", "c"]),
  ]

  @Test func `a set is built in order, left alone when nothing changes, and built again with new revisions when something does`()
    async throws
  {
    let bench = try await Bench(Self.diamond)
    let plan = try await bench.run("batch", ["--dry-run"])
    #expect(plan.output == "build a-amd64-1-1\nbuild b-amd64-1-1\nbuild c-amd64-1-1\nbuild d-amd64-1-1\n")
    #expect(try bench.built == [])

    // What was never built takes the usual time.
    try Data("a 120000 1 0\n".utf8).write(to: URL(filePath: "\(bench.path)/times"))
    let scaling = try await bench.run("batch", ["--scaling", "--times", "\(bench.path)/times"])
    #expect(
      scaling.output.hasPrefix("workers 1 0:08:00 1.00\nworkers 2 0:06:00 1.33\nworkers 4 0:06:00 1.33\n"), "\(scaling.output)")
    #expect(scaling.output.hasSuffix("workers 512 0:06:00 1.33\nlevel 1 1\nlevel 2 2\nlevel 3 1\n"))
    #expect(scaling.errors.contains("a → b → d") && scaling.errors.contains("3 were never built"), "\(scaling.errors)")

    let first = try await bench.run("batch", ["--workers", "2", "--jobs", "2", "--trace", "\(bench.path)/trace.json"])
    try #require(first.status == 0, "\(first.errors)")
    #expect(first.output.split(separator: "\n").sorted() == ["a-amd64-1-1", "b-amd64-1-1", "c-amd64-1-1", "d-amd64-1-1"])
    #expect(first.output.hasPrefix("a-") && first.output.hasSuffix("d-amd64-1-1\n"))
    let cat = try await ToolProcess.run(
      "distri-fuse", ["run", "--store", "\(bench.path)/store", "--", "cat", "/ro/d-amd64-1-1/out/share/d"])
    #expect(cat.output == "a\nb\na\nc\nd\n", "\(cat.errors)")

    let trace = try JSONSerialization.jsonObject(with: Data(try bench.text("trace.json").utf8)) as? [String: Any]
    let events = try #require(trace?["traceEvents"] as? [[String: Any]])
    #expect(events.count { $0["cat"] as? String == "build" } == 4)
    #expect(events.contains { ($0["name"] as? String)?.hasPrefix("bash -euc") == true })

    let second = try await bench.run("batch", [])
    #expect(second.output == "" && second.errors.contains("0 to build, 4 current"))

    try bench.write("a", Bench.chain("a") + "\n# a comment changes nothing")
    #expect(try await bench.run("batch", ["--dry-run"]).output.split(separator: "\n").allSatisfy { $0.hasPrefix("current") })
    try bench.write("a", Bench.chain("a").replacing("echo a", with: "echo A") + "\n# a comment stays")
    #expect(try await bench.run("batch", ["--dry-run"]).output.contains("stale a-amd64-1-1"))
    let bump = try await bench.run("bump", [])
    #expect(bump.output == "a 1-1 1-2\nb 1-1 1-2 a\nc 1-1 1-2 a\nd 1-1 1-2 b,c\n")
    #expect(try bench.text("pkgs/a/build.textproto").contains("1-1"))
    #expect(try await bench.run("bump", ["--write"]).status == 0)
    #expect(try bench.text("pkgs/a/build.textproto").hasSuffix("# a comment stays\n"))
    let third = try await bench.run("batch", [])
    #expect(third.output.split(separator: "\n").count == 4, "\(third.errors)")
    #expect(try await bench.run("bump", []).output == "")
    let simulated = try await bench.run("batch", ["--simulate"])
    #expect(simulated.output == "" && simulated.errors.contains("0 builds"))
  }

  @Test func `a failure is told last, what needs it is skipped, and the rest is built when asked for`() async throws {
    let bench = try await Bench([
      "a": Bench.step("echo THE REASON; exit 3"), "b": Bench.chain("b", needs: ["a"]), "c": Bench.chain("c", needs: ["b"]),
      "x": Bench.chain("x"),
    ])
    let outcome = try await bench.run("batch", ["--keep-going", "--workers", "1"])
    #expect(outcome.status == 1)
    #expect(outcome.errors.contains("skipped: b needs a") && outcome.errors.contains("skipped: c needs b"))
    #expect(outcome.errors.contains("1 built, 1 failed, 2 skipped"))
    #expect(outcome.errors.split(separator: "\n").suffix(3).contains { $0.contains("THE REASON") }, "\(outcome.errors)")
    #expect(try bench.built == ["x-amd64-1-1.squashfs"])
    let log = try await ToolProcess.run("distri-build", ["log", "--definitions", "\(bench.path)/pkgs", "a"])
    #expect(log.output.contains("THE REASON"))
    let stopped = try await bench.run("batch", [])
    #expect(stopped.status == 1)
    try bench.write("a", Bench.chain("a"))
    #expect(try await bench.run("batch", []).status == 0)
    #expect(try bench.built.count == 4)
  }

  @Test func `a batch that was killed goes on where it was`() async throws {
    // b waits for a file that is never there: whoever kills the batch does it in the middle.
    var definitions = Self.diamond
    definitions["b"] = Bench.step("echo waiting; while true; do sleep 0.1; done", needs: ["a"])
    let bench = try await Bench(definitions)
    let process = Process()
    process.executableURL = URL(filePath: ToolProcess.binaries.appending("distri-build").string)
    process.arguments = ["batch", "\(bench.path)/pkgs", "--store", "\(bench.path)/store", "--workers", "2", "--jobs", "2"]
    process.standardError = FileHandle.nullDevice
    let output = Pipe()
    process.standardOutput = output
    try process.run()
    // a, then c: after that only b runs.
    var seen = ""
    while !seen.contains("c-amd64-1-1\n") {
      let data = output.fileHandleForReading.availableData
      try #require(!data.isEmpty, "the batch ended: \(seen)")
      seen += String(decoding: data, as: UTF8.self)
    }
    kill(process.processIdentifier, SIGKILL)
    process.waitUntilExit()
    #expect(try bench.built == ["a-amd64-1-1.squashfs", "c-amd64-1-1.squashfs"])
    try bench.write("b", Bench.chain("b", needs: ["a"]))
    let again = try await bench.run("batch", [])
    #expect(again.status == 0, "\(again.errors)")
    #expect(again.output == "b-amd64-1-1\nd-amd64-1-1\n")
    let mounts = try String(contentsOfFile: "/proc/self/mounts", encoding: .utf8)
    #expect(!mounts.contains("distri-build-\(process.processIdentifier)-"), "a dead mount is left")
    #expect(try FileManager.default.contentsOfDirectory(atPath: "\(bench.path)/store/.staging") == ["lock"])
  }

  @Test func `circles are named, and a bootstrapped package breaks them`() async throws {
    let bench = try await Bench(["a": Bench.chain("a", needs: ["b"]), "b": Bench.chain("b", needs: ["a"])])
    let circle = try await bench.run("batch", [])
    #expect(circle.status == 65 && circle.errors.contains("a → b → a") && circle.errors.contains("--bootstrap b"))
    // bash is there in an older version, so that a definition of it can need itself.
    try bench.write("b", Bench.chain("b"))
    #expect(try await bench.run("batch", []).status == 0)
    try bench.write("b", "version: \"1-2\"\n" + Bench.chain("b", needs: ["a"]))
    try bench.write("a", "version: \"1-2\"\n" + Bench.chain("a", needs: ["b"]))
    let outcome = try await bench.run("batch", ["--bootstrap", "b"])
    #expect(outcome.output == "a-amd64-1-2\nb-amd64-1-2\n", "\(outcome.errors)")
    let lint = try await bench.run("lint", [])
    #expect(lint.status == 0 && lint.output == "")
    try bench.write("a", "version: \"1\"\ndep: \"nowhere\"\ncherry_pick: \"lost.patch\"\n")
    let findings = try await bench.run("lint", ["a"])
    #expect(findings.status == 65)
    for expected in [
      "build.textproto:4:1: error: the version ends", "«nowhere» is neither", "lost.patch is not beside", "neither a builder",
    ] {
      #expect(findings.output.contains(expected), "\(findings.output)")
    }
  }

  @Test func `changes of a source become patches, which the next build and the next change begin with`() async throws {
    let bench = try await Bench([:])
    let text = """
      # What stays: comments, and spaces  at odd  places.
      source: "./upstream"   # a directory
      version:   "1-1"
      dep: "bash" dep: "coreutils" dep: "patch"
      build_step: {
        argv: "bash" argv: "-euc"
        argv: "mkdir -p ${DISTRI_DESTDIR}${DISTRI_PREFIX}/share; cat ${DISTRI_SOURCEDIR}/*.txt > ${DISTRI_DESTDIR}${DISTRI_PREFIX}/share/x"
      }

      """
    try FileManager.default.createDirectory(atPath: "\(bench.path)/pkgs/x/upstream", withIntermediateDirectories: true)
    try Data(text.utf8).write(to: URL(filePath: "\(bench.path)/pkgs/x/build.textproto"))
    try Data("one\ntwo\nthree\n".utf8).write(to: URL(filePath: "\(bench.path)/pkgs/x/upstream/a.txt"))
    func change(_ script: String, _ options: [String] = []) async throws -> ToolProcess.Outcome {
      try await ToolProcess.run(
        "distri-build", ["patch", "--definitions", "\(bench.path)/pkgs", "x"] + options + ["--", "sh", "-euc", script])
    }
    let nothing = try await change("cat a.txt")
    #expect(nothing.status == 0 && nothing.output == "one\ntwo\nthree\n" && nothing.errors.contains("nothing was changed"))
    #expect(try await change("sed -i s/one/lost/ a.txt; exit 3").status == 3)
    #expect(try bench.text("pkgs/x/build.textproto") == text)

    let first = try await change("sed -i s/two/2/ a.txt")
    #expect(first.output == "\(bench.path)/pkgs/x/x.patch\n", "\(first.errors)")
    let second = try await change("grep -qx 2 a.txt; echo four > b.txt; rm -f lost", ["--output", "four.patch"])
    #expect(second.output == "\(bench.path)/pkgs/x/four.patch\n", "\(second.errors)")
    #expect(try await change("true", ["--output", "four.patch"]).status == 64)
    // Everything but the new fields is as it was.
    var rest = try bench.text("pkgs/x/build.textproto")
    for line in ["cherry_pick: \"four.patch\"\n", "\ncherry_pick: \"x.patch\"\n"] {
      let range = try #require(rest.firstRange(of: line), "\(rest)")
      rest.removeSubrange(range)
    }
    #expect(rest == text)
    #expect(try bench.text("pkgs/x/upstream/a.txt") == "one\ntwo\nthree\n")

    let built = try await ToolProcess.run(
      "distri-build", ["build", "--definitions", "\(bench.path)/pkgs", "--store", "\(bench.path)/store", "x"])
    #expect(built.status == 0, "\(built.errors)")
    let file = try await ToolProcess.run(
      "distri-fuse", ["run", "--store", "\(bench.path)/store", "--", "cat", "/ro/x-amd64-1-1/out/share/x"])
    #expect(file.output == "one\n2\nthree\nfour\n", "\(file.errors)")
  }
}
