// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriRepo
import DistriStore
import Foundation
import Synchronization
import SystemPackage
import TestSupport
import Testing

/// The built `distri-fetch`, as a person runs it.
@Suite struct FetchToolTests {
  @Test func `publish, serve and install work together`() async throws {
    let scene = try await Scene(try smallSet())
    let repository = scene.directory.path.appending("published")
    let published = try await ToolProcess.run("distri-fetch", ["publish", scene.store.path.string, "--out", repository.string])
    #expect(published.status == 0, "\(published.errors)")
    #expect(published.output.hasPrefix("pkg\t11 packages\t11 new\t"))
    let server = try await RunningServer(of: repository)
    let arguments = ["install", "nano", "--root", scene.machine.string, "--insecure-unsigned", "--repo", server.root]
    let planned = try await ToolProcess.run("distri-fetch", arguments + ["--dry-run"])
    #expect(planned.status == 0, "\(planned.errors)")
    #expect(!FileManager.default.fileExists(atPath: scene.machine.string))
    let installed = try await ToolProcess.run("distri-fetch", arguments)
    #expect(installed.status == 0, "\(installed.errors)")
    #expect(installed.output == planned.output)
    #expect(installed.output.split(separator: "\n").count == 11)
    #expect(try scene.machineStore().files() == scene.store.files())
    let again = try await ToolProcess.run("distri-fetch", arguments + ["--json"])
    #expect(again.output.contains("\"installed\" : [\n\n  ]"))
    #expect(try await server.terminate() == 0)
  }

  struct Failure: Sendable {
    var arguments: String
    var status: Int32
  }

  @Test(arguments: [
    Failure(arguments: "install vim --insecure-unsigned --root ROOT --repo REPO", status: 66),
    Failure(arguments: "install a/b --insecure-unsigned --root ROOT --repo REPO", status: 64),
    Failure(arguments: "install nano --insecure-unsigned --root ROOT --repo REPO/missing", status: 66),
    Failure(arguments: "install nano --insecure-unsigned --root ROOT --repo gopher://x", status: 64),
    Failure(arguments: "install nano --insecure-unsigned --root ROOT --repo BAD", status: 65),
    Failure(arguments: "install nano --root ROOT --repo REPO --trust ROOT/trust", status: 65),
    Failure(arguments: "install --root ROOT", status: 64),
    Failure(arguments: "list", status: 64),
    Failure(arguments: "serve REPO --listen nowhere", status: 64),
    Failure(arguments: "serve REPO/missing", status: 66),
    Failure(arguments: "publish REPO/missing --out ROOT", status: 66),
    Failure(arguments: "search nothing-like-it --insecure-unsigned --repo REPO", status: 66),
  ])
  func `failures have their exit status and say why`(failure: Failure) async throws {
    let scene = try await Scene([try PackageFixture("nano-amd64-1-1")])
    let bad = scene.directory.path.appending("bad")
    try FileManager.default.createDirectory(atPath: bad.appending("pkg").string, withIntermediateDirectories: true)
    try write(Array("<html>".utf8), to: bad.appending("pkg/meta.binaryproto"))
    var arguments = failure.arguments
    for (word, path) in [("ROOT", scene.machine), ("REPO", scene.repository), ("BAD", bad)] {
      arguments = arguments.replacing(word, with: path.string)
    }
    let outcome = try await ToolProcess.run(
      "distri-fetch", arguments.split(separator: " ").map(String.init), environment: ["DISTRICFG": scene.directory.path.string])
    #expect(outcome.status == failure.status, "\(outcome.errors)")
    #expect(outcome.output == "")
    // Of usage errors, the argument parser says more.
    guard failure.status != 64 else { return }
    let lines = outcome.errors.split(separator: "\n").filter { !$0.contains("not verified") }
    #expect(lines.count == 1)
    #expect(lines.first?.hasPrefix("distri-fetch: ") == true)
  }

  @Test func `packages are listed, described and found`() async throws {
    let scene = try await Scene([
      try PackageFixture("nano-amd64-2-9"), try PackageFixture("nano-amd64-1-10", needs: ["zlib-amd64-1-1"]),
      try PackageFixture("zlib-amd64-1-1"),
    ])
    let configuration = scene.directory.path.appending("etc/repos.d")
    try FileManager.default.createDirectory(atPath: configuration.string, withIntermediateDirectories: true)
    try write(Array("\(scene.repository)\n".utf8), to: configuration.appending("main.repo"))
    let environment = ["DISTRICFG": configuration.removingLastComponent().string]
    let list = try await ToolProcess.run("distri-fetch", ["list", "--insecure-unsigned"], environment: environment)
    #expect(list.output == "nano-amd64-1-10\nzlib-amd64-1-1\n")
    let all = try await ToolProcess.run("distri-fetch", ["list", "--all", "--insecure-unsigned"], environment: environment)
    #expect(all.output == "nano-amd64-2-9\nnano-amd64-1-10\nzlib-amd64-1-1\n")
    let info = try await ToolProcess.run("distri-fetch", ["info", "nano", "--insecure-unsigned"], environment: environment)
    #expect(info.output.hasPrefix("package\tnano-amd64-1-10\n"))
    #expect(info.output.hasSuffix("needs\tzlib-amd64-1-1\n"))
    let search = try await ToolProcess.run(
      "distri-fetch", ["search", "libzlib.so.1", "--insecure-unsigned"], environment: environment)
    #expect(search.output == "zlib-amd64-1-1\tout/lib/libzlib.so.1\n")
    let words = try await ToolProcess.run(
      "distri-fetch", ["search", "fixture called Z", "--insecure-unsigned"], environment: environment)
    #expect(words.output == "zlib-amd64-1-1\tThe fixture called zlib\n")
    let files = try await ToolProcess.run(
      "distri-fetch", ["search", "--file", "/bin/zlib", "--insecure-unsigned"], environment: environment)
    #expect(files.output == "zlib-amd64-1-1\tbin/zlib\n")
  }

  private func killScene() async throws -> Scene {
    let packages = try (0..<4).map { try PackageFixture("lib\($0)-amd64-1-1", byteCount: 300_000) }
    return try await Scene(packages + [try PackageFixture("nano-amd64-7-2", needs: packages.map(\.id.description))])
  }

  /// What the next writer finds; then the installation is done again, to the end.
  private func checkAfterKill(_ machine: FilePath, _ scene: borrowing Scene) async throws -> Int {
    try FileManager.default.createDirectory(atPath: machine.appending("roimg").string, withIntermediateDirectories: true)
    let store = try LocalStore(path: machine.appending("roimg"))
    try await store.recover()
    let present = try store.packages()
    let all = try scene.store.packages()
    #expect(present == [] || present == all)
    #expect(try store.defects().isEmpty)
    let again = try await ToolProcess.run(
      "distri-fetch", ["install", "nano", "--root", machine.string, "--insecure-unsigned", "--repo", scene.repository.string])
    #expect(again.status == 0, "\(again.errors)")
    #expect(try store.files() == scene.store.files())
    #expect(try names(in: store.path.appending(".staging")).filter { !["lock", "partial"].contains($0) } == [])
    let etc = try names(in: machine.appending("etc"))
    #expect(etc == ["lib0.conf", "lib1.conf", "lib2.conf", "lib3.conf", "nano.conf"])
    return present.count
  }

  @Test func `a kill in the middle of any file leaves the old store`() async throws {
    let scene = try await killScene()
    // The index, metadata for the closure, and two files a package.
    for victim in 0..<2 + 2 * 5 {
      let child = Mutex<pid_t>(0)
      let count = Atomic(0)
      let server = try ScriptedServer.serving(scene.repository) { _, body in
        let number = count.wrappingAdd(1, ordering: .relaxed).oldValue
        guard number == victim, let body else { return nil }
        child.withLock { _ = kill($0, SIGKILL) }
        return .head("200 OK", headers: "Content-Length: \(body.count)\r\n") + [.send(Array(body.prefix(body.count / 2)))]
      }
      defer { server.stop() }
      let machine = scene.directory.path.appending("machine-\(victim)")
      let pid = try child.withLock { pid in
        pid = try spawn(
          "distri-fetch", ["install", "nano", "--root", machine.string, "--insecure-unsigned", "--repo", server.root])
        return pid
      }
      #expect(waitFor(pid) == SIGKILL)
      #expect(try await checkAfterKill(machine, scene) == 0)
    }
  }

  @Test(arguments: ["etc", "roimg"])
  func `a kill after any step of the commit leaves the old store or the new one`(watched: String) async throws {
    let scene = try await killScene()
    for step in 1...10 {
      let machine = scene.directory.path.appending("machine-\(watched)-\(step)")
      let folder = machine.appending(watched)
      try FileManager.default.createDirectory(atPath: folder.string, withIntermediateDirectories: true)
      let watch = inotify_init1(Int32(IN_CLOEXEC))
      defer { close(watch) }
      inotify_add_watch(watch, folder.string, UInt32(IN_MOVED_TO | IN_CREATE))
      let pid = try spawn(
        "distri-fetch", ["install", "nano", "--root", machine.string, "--insecure-unsigned", "--repo", scene.repository.string])
      killAfter(step, events: watch, pid)
      let present = try await checkAfterKill(machine, scene)
      // The first name in the store besides the staging area's means that the commit was decided.
      if watched == "roimg", step > 1 { #expect(present == 5) }
    }
  }
}

/// Kills a child when so many events came, if it lives that long, and waits for its end.
private func killAfter(_ wanted: Int, events watch: Int32, _ pid: pid_t) {
  var seen = 0
  var buffer = [UInt8](repeating: 0, count: 4096)
  var status: Int32 = 0
  // One thread does both: a second one could outlive the queue, and kill whoever has the child's number by then.
  while waitpid(pid, &status, Int32(WNOHANG)) == 0 {
    var ready = pollfd(fd: watch, events: Int16(POLLIN), revents: 0)
    guard poll(&ready, 1, 5) == 1 else { continue }
    let count = read(watch, &buffer, buffer.count)
    var offset = 0
    while offset + 16 <= count {
      // The name's length is the last of four 32-bit numbers.
      let length = buffer[offset + 12..<offset + 16].reversed().reduce(0) { $0 << 8 | Int($1) }
      offset += 16 + length
      seen += 1
    }
    if seen >= wanted {
      kill(pid, SIGKILL)
      waitFor(pid)
      return
    }
  }
}

/// Starts a tool, or the program at a path, without waiting for it.
func spawn(_ tool: String, _ arguments: [String]) throws -> pid_t {
  let path = tool.contains("/") ? tool : ToolProcess.binaries.appending(tool).string
  var pid: pid_t = 0
  var words: [UnsafeMutablePointer<CChar>?] = ([path] + arguments).map { strdup($0) } + [nil]
  defer { for word in words { free(word) } }
  var actions = posix_spawn_file_actions_t()
  posix_spawn_file_actions_init(&actions)
  defer { posix_spawn_file_actions_destroy(&actions) }
  for descriptor in 0...2 as ClosedRange<Int32> { posix_spawn_file_actions_addopen(&actions, descriptor, "/dev/null", O_RDWR, 0) }
  let result = posix_spawn(&pid, path, &actions, nil, &words, environ)
  guard result == 0 else { throw Errno(rawValue: result) }
  return pid
}

/// The wait status of a child that ended.
@discardableResult
func waitFor(_ pid: pid_t) -> Int32 {
  var status: Int32 = 0
  while waitpid(pid, &status, 0) == -1, errno == EINTR {}
  return status
}
