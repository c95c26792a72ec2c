// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore
import Foundation
import Synchronization
import SystemPackage
import TestSupport
import Testing

@testable import DistriBuild

/// A sandbox whose commands are closures by the name of the program; they get the directory that is bound on `/dest/tmp`.
struct ScriptedSandbox: Sandbox {
  typealias Program = @Sendable (_ arguments: [String], _ destination: String, _ plan: SandboxPlan) throws -> Int32
  var programs: [String: Program]

  func checkAvailability() async throws {}

  func run(
    sequence commands: [[String]], in plan: SandboxPlan, io: StandardStreams,
    whenEnded: @escaping @Sendable (Int, CommandEnd) -> Void
  ) async throws -> DistriBuild.ExitStatus {
    let destination = plan.operations.compactMap { operation in
      if case .bind(let from, "/dest/tmp", _, _) = operation { from.string } else { nil }
    }.first
    for (index, command) in commands.enumerated() {
      let program = try #require(programs[command[0]], "no program \(command[0])")
      if case .descriptor(let log) = io.output { try log.writeAll("words of \(command[0])\n".utf8) }
      let status = DistriBuild.ExitStatus.exited(try program(command, try #require(destination), plan))
      whenEnded(index, CommandEnd(status: status))
      if !status.isSuccess { return status }
    }
    return .exited(0)
  }
}

/// A view that is a plain directory.
struct FolderRoot: DependencyRoot {
  func withRoot<R: Sendable>(
    of packages: [PackageID], reserving own: PackageID, _ body: (FilePath) async throws -> R
  ) async throws -> R {
    let folder = try TemporaryDirectory()
    for package in packages + [own] { try makeDirectory("\(folder.path)/\(package)") }
    return try await body(folder.path)
  }
}

/// What programs of a test have seen.
final class Notes: Sendable {
  private let state = Mutex<[String]>([])
  var lines: [String] { state.withLock { $0 } }
  func add(_ line: String) { state.withLock { $0.append(line) } }
}

final class ArchiveFetcher: SourceFetcher {
  let file: FilePath
  init(_ file: FilePath) { self.file = file }
  func fetch(_ source: SourceReference, to path: FilePath) async throws {
    try FileManager.default.copyItem(atPath: file.string, toPath: path.string)
  }
}

private func makeDirectory(_ path: String) throws {
  try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
}

private func write(_ text: String, to path: String, mode: Int = 0o644) throws {
  try makeDirectory((path as NSString).deletingLastPathComponent)
  try Data(text.utf8).write(to: URL(filePath: path))
  try FileManager.default.setAttributes([.posixPermissions: mode], ofItemAtPath: path)
}

/// A store, a definition and a builder in a folder of their own.
final class Bench {
  let folder: TemporaryDirectory
  let store: LocalStore
  var builder: Builder

  init(programs: [String: ScriptedSandbox.Program] = [:], archive: FilePath = "/dev/null") throws {
    folder = try TemporaryDirectory()
    try makeDirectory("\(folder.path)/store")
    store = try LocalStore(path: folder.path.appending("store"))
    builder = Builder(
      store: store, dependencyRoot: FolderRoot(), fetcher: ArchiveFetcher(archive), work: folder.path.appending("_build"))
    builder.sandbox = ScriptedSandbox(programs: programs)
  }

  /// Puts a package with these files into the store.
  func add(_ name: String, _ files: [String], runtimeDependencies: [String] = []) async throws {
    let id = try PackageID(parsing: name)
    let tree = try package(files)
    try await store.transaction { staging in
      let path = staging.imagePath(of: id)
      let file = try FileDescriptor.open(path, .readWrite, options: .create, permissions: .ownerReadWrite)
      var stream = tree.stream()
      _ = try ImageWriter().write(&stream, to: file, path: path)
      try file.close()
      try staging.stage(
        PackageMetadata(runtimeDependencies: runtimeDependencies.map { try PackageID(parsing: $0) }, version: id.version), of: id)
    }
  }

  func build(_ text: String) async throws -> [PackageID] {
    try write(text, to: "\(folder.path)/pkgs/sample/build.textproto")
    return try await builder.build(DefinitionFile(directory: folder.path.appending("pkgs/sample")))
  }

  /// The names at a path of a package in the store.
  func names(_ package: PackageID, _ path: String) throws -> [String] {
    try store.image(of: package).names(in: TreePath(parsing: path)).map(\.description)
  }
}

private let home = "/ro/sample-amd64-1-1"
private let oneStep = "source: \"empty://\" version: \"1-1\" build_step: { argv: \"install\" }"

@Suite struct BuilderTests {
  @Test func `what the steps install becomes a package in the store`() async throws {
    let bench = try Bench(programs: [
      "install": { _, destination, _ in
        try write("#!/ro/tool-amd64-1-1/out/bin/tool\n", to: "\(destination)\(home)/out/bin/hello", mode: 0o755)
        try write("setting\n", to: "\(destination)/etc/sample.conf")
        try write("unit\n", to: "\(destination)/ro/lib/systemd/a.service")
        return 0
      }
    ])
    try await bench.add("tool-amd64-1-1", ["out/bin/tool"], runtimeDependencies: ["other-amd64-2-2"])
    try await bench.add("other-amd64-2-2", ["out/a"])
    try await bench.add("named-amd64-3-3", ["out/b"])
    let packages = try await bench.build(oneStep + " dep: \"tool\" runtime_dep: \"named\"")
    let id = try PackageID(parsing: "sample-amd64-1-1")
    #expect(packages == [id])
    #expect(try bench.names(id, "") == ["bin", "etc", "out"])
    #expect(try bench.names(id, "bin") == ["hello"])
    #expect(try bench.names(id, "etc") == ["sample.conf"])
    #expect(try bench.names(id, "out/lib/systemd") == ["a.service"])
    let metadata = try bench.store.metadata(of: id)
    #expect(metadata.runtimeDependencies.map(\.description) == ["named-amd64-3-3", "other-amd64-2-2", "tool-amd64-1-1"])
    #expect(metadata.sourcePackage == "sample" && metadata.version == "1-1")
    #expect(!FileManager.default.fileExists(atPath: "\(bench.folder.path)/_build/sample/amd64-1-1"))
    #expect(FileManager.default.fileExists(atPath: "\(bench.folder.path)/_build/sample/build-amd64-1-1.log"))
  }

  @Test func `a package's directory is one build's at a time`() async throws {
    let bench = try Bench(programs: ["install": { _, _, _ in 0 }])
    let directory = bench.folder.path.appending("_build/sample")
    try makeDirectory(directory.string)
    let lock = try await WorkspaceLock(directory)
    try write("in work", to: "\(directory)/amd64-1-1/file")
    await #expect(throws: BuildError.workspaceInUse(directory)) { try await bench.build(oneStep) }
    #expect(FileManager.default.fileExists(atPath: "\(directory)/amd64-1-1/file"))
    withExtendedLifetime(lock) {}
  }

  @Test func `somebody may look around where a patch does not apply`() async throws {
    let bench = try Bench(programs: ["patch": { _, _, _ in 1 }])
    let stops = Mutex<[(BuildStage, BuildError?, FilePath)]>([])
    bench.builder.inspection = BuildInspection(at: [.failure]) { stop in
      stops.withLock { $0.append((stop.stage, stop.failure, stop.plan.sandbox.workingDirectory)) }
    }
    try write("", to: "\(bench.folder.path)/pkgs/sample/a.patch")
    try await bench.add("patch-amd64-1-1", ["out/bin/patch"])
    await #expect(throws: BuildError.self) { try await bench.build(oneStep + " cherry_pick: \"a.patch\"") }
    let (stage, failure, place) = try #require(stops.withLock { $0.first })
    #expect(stage == .failure && place == "/usr/src/sample-amd64-1-1")
    guard case .stepFailed(let step, _, _, _) = failure else { Issue.record("no failed step"); return }
    #expect(step.contains("a.patch"))
  }

  @Test func `a builder that failed gives the directory up`() async throws {
    let bench = try Bench(programs: ["install": { arguments, _, _ in arguments.count > 1 ? 1 : 0 }])
    await #expect(throws: BuildError.self) {
      try await bench.build(oneStep.replacing("\"install\"", with: "\"install\" argv: \"x\""))
    }
    #expect(try await bench.build(oneStep).count == 1)
  }

  @Test func `the same build gives the same bytes`() async throws {
    func image() async throws -> String {
      let bench = try Bench(programs: [
        "install": { _, destination, _ in
          for name in ["b", "a", "c"] { try write(name, to: "\(destination)\(home)/out/share/\(name)") }
          return 0
        }
      ])
      let id = try #require(try await bench.build(oneStep).first)
      return try Checksum.sha256(of: bench.store.path.appending(id.imageFileName))
    }
    #expect(try await image() == image())
  }

  @Test func `split packages appear together with their package and depend as they should`() async throws {
    let bench = try Bench(programs: [
      "install": { _, destination, _ in
        try write("x", to: "\(destination)\(home)/out/share/data/x")
        try write("y", to: "\(destination)\(home)/out/share/y")
        return 0
      }
    ])
    try await bench.add("base-amd64-1-1", ["out/a"])
    let packages = try await bench.build(
      oneStep + " split_package: { name: \"sample-data\" runtime_dep: \"base\" claim: { glob: \"out/share/data\" } }")
    #expect(packages.map(\.description) == ["sample-amd64-1-1", "sample-data-amd64-1-1"])
    #expect(try bench.names(packages[1], "out/share/data") == ["x"])
    #expect(
      try bench.store.metadata(of: packages[0]).runtimeDependencies.map(\.description)
        == ["base-amd64-1-1", "sample-data-amd64-1-1"])
    #expect(try bench.store.metadata(of: packages[1]).runtimeDependencies.map(\.description) == ["base-amd64-1-1"])
    #expect(try bench.store.metadata(of: packages[1]).sourcePackage == "sample")
  }

  @Test func `the definition's own wrappers win`() async throws {
    let bench = try Bench(programs: [
      "install": { _, destination, _ in
        try write("#!/bin/sh\n", to: "\(destination)\(home)/out/bin/prog", mode: 0o755)
        return 0
      }
    ])
    try write("#!/bin/sh\nexec ${DISTRI_PREFIX}/bin/prog \"$@\"\n", to: "\(bench.folder.path)/pkgs/sample/wrappers/prog")
    let id = try #require(try await bench.build(oneStep).first)
    let image = try bench.store.image(of: id)
    let node = try #require(try image.node(at: TreePath(parsing: "bin/prog")))
    #expect(
      String(decoding: try image.contents(of: node, limit: 100), as: UTF8.self) == "#!/bin/sh\nexec \(home)/out/bin/prog \"$@\"\n")
  }

  @Test func `a step that fails is an error with the end of its output, and the store stays as it was`() async throws {
    let bench = try Bench(programs: ["install": { _, _, _ in 0 }, "fail": { _, _, _ in 3 }])
    await #expect {
      _ = try await bench.build(oneStep + " build_step: { argv: \"fail\" argv: \"a b\" }")
    } throws: { error in
      guard case .stepFailed("fail 'a b'", .exited(3), let log, let tail) = error as? BuildError else { return false }
      return tail.suffix(2) == ["words of install", "words of fail"] && log.lastComponent == "build-amd64-1-1.log"
    }
    #expect(try bench.store.packages().isEmpty)
  }

  @Test(arguments: ["etc", "ro", "ro/sample-amd64-1-1"])
  func `a step that puts a link in place of a directory gets nothing of the host packed`(place: String) async throws {
    let bench = try Bench(programs: [
      "install": { _, destination, _ in
        try? FileManager.default.removeItem(atPath: "\(destination)/\(place)")
        try FileManager.default.createSymbolicLink(atPath: "\(destination)/\(place)", withDestinationPath: "/etc")
        return 0
      }
    ])
    await #expect {
      _ = try await bench.build(oneStep)
    } throws: {
      "\($0)".contains("a step replaced the directory")
    }
    #expect(try bench.store.packages().isEmpty)
  }

  @Test func `a missing dependency names the definition, a package that is there asks for a new revision`() async throws {
    let bench = try Bench(programs: ["install": { _, _, _ in 0 }])
    await #expect(throws: BuildError.missingDependency("nothing", of: "sample")) {
      _ = try await bench.build(oneStep + " dep: \"nothing\"")
    }
    await #expect(throws: BuildError.missingDependency("bash", of: "sample")) {
      _ = try await bench.build("source: \"empty://\" version: \"1-1\" cbuilder: {}")
    }
    try await bench.add("sample-amd64-1-1", ["out/a"])
    await #expect {
      _ = try await bench.build(oneStep)
    } throws: {
      "\($0)".contains("build.textproto:1:20: sample-amd64-1-1 is in the store already")
    }
    await #expect {
      _ = try await bench.build(oneStep.replacingOccurrences(of: "1-1", with: "1.0"))
    } throws: {
      "\($0)".contains("no -<revision>")
    }
  }

  @Test func `the source is verified, unpacked without its first directory, patched and dated`() async throws {
    let tar = try TemporaryDirectory()
    try write("old\n", to: "\(tar.path)/sample-1/file.c")
    let time = Date(timeIntervalSince1970: 1_500_000_000)
    try FileManager.default.setAttributes([.modificationDate: time], ofItemAtPath: "\(tar.path)/sample-1/file.c")
    let process = Process()
    process.executableURL = URL(filePath: "/bin/tar")
    process.arguments = ["-C", tar.path.string, "-czf", "\(tar.path)/sample-1.tar.gz", "sample-1"]
    try process.run()
    process.waitUntilExit()
    let archive = tar.path.appending("sample-1.tar.gz")
    let notes = Notes()
    let bench = try Bench(
      programs: [
        "install": { _, _, plan in
          notes.add(plan.environment["SOURCE_DATE_EPOCH"] ?? "none")
          for case .bind(let from, "/usr/src/sample-amd64-1-1", true, _) in plan.operations {
            let names = try FileManager.default.contentsOfDirectory(atPath: from.string).sorted()
            #expect(names == ["extra", "file.c"])
          }
          return 0
        },
        "patch": { arguments, _, plan in
          notes.add(arguments.last ?? "")
          return plan.operations.contains(.bind(from: plan.source, to: "/usr/src/sample-amd64-1-1")) ? 0 : 1
        },
      ], archive: archive)
    try await bench.add("patch-amd64-1-1", ["out/bin/patch"])
    try write("1", to: "\(bench.folder.path)/pkgs/sample/extra")
    try write("", to: "\(bench.folder.path)/pkgs/sample/fix.patch")
    let rest = "version: \"1-1\" cherry_pick: \"fix.patch\" extra_file: \"extra\" build_step: { argv: \"install\" }"
    let url = "source: \"https://example.org/sample-1.tar.gz\""
    _ = try await bench.build("\(url) hash: \"\(try Checksum.sha256(of: archive))\" \(rest)")
    #expect(notes.lines == ["/usr/src/definition/fix.patch", "1500000000"])
    await #expect {
      _ = try await bench.build("\(url) hash: \"00\" \(rest.replacingOccurrences(of: "1-1", with: "1-2"))")
    } throws: {
      "\($0)".contains("the definition says 00")
    }
    await #expect(
      throws: BuildError.source("ftp://example.org/a-1.tar.gz", reason: "ftp is no scheme of sources")
    ) {
      _ = try await bench.build("source: \"ftp://example.org/a-1.tar.gz\" version: \"1-3\" build_step: { argv: \"install\" }")
    }
  }
}

extension SandboxPlan {
  /// What is bound, last, on the source's place.
  fileprivate var source: FilePath {
    operations.reversed().compactMap { operation -> FilePath? in
      if case .bind(let from, "/usr/src/sample-amd64-1-1", _, _) = operation { from } else { nil }
    }.first ?? ""
  }
}
