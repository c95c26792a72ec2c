// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriFS
import FSTestSupport
import Foundation
import SystemPackage
import TestSupport
import Testing

/// A store that is published, signed and served, and what `distri-fuse` shows of it without having it.
struct RemoteScene {
  let store: TestStore
  let server: RepositoryServer

  /// Packages by name: their files, and the options of mksquashfs.
  init(_ packages: [String: (files: [String: String], options: [String])]) async throws {
    store = try TestStore()
    for (name, package) in packages.sorted(by: { $0.key < $1.key }) {
      try await store.add(name, package.files, options: package.options)
    }
    let keys = store.file("keys").string
    let repository = store.file("repository")
    try await succeed("distri-fetch", ["keys", "generate", "--out", keys])
    try FileManager.default.createDirectory(atPath: repository.string, withIntermediateDirectories: true)
    server = try RepositoryServer(repository)
    try await publish()
    try await succeed(
      "distri-fetch",
      ["trust", "init", repository.appending("tuf/root.json").string, "--repo", server.root, "--trust", store.file("trust").string])
    server.forget()
  }

  func publish() async throws {
    try await succeed(
      "distri-fetch",
      ["publish", store.path.string, "--out", store.file("repository").string, "--keys", store.file("keys").string])
  }

  /// What `mount` is called with for this repository.
  var options: [String] {
    ["--remote", server.root, "--trust", store.file("trust").string, "--cache", store.file("cache").string]
  }

  func mount(_ more: [String] = [], at point: FilePath? = nil) async throws -> ToolProcess.Outcome {
    try await ToolProcess.run("distri-fuse", ["mount"] + options + more + [(point ?? store.mountPoint).string])
  }

  /// Bytes of images that were given.
  var givenImageByteCount: Int { server.given(".squashfs").reduce(0, +) }
}

private let uncompressed = ["-noI", "-noId", "-noX", "-noD", "-noF", "-no-fragments"]

/// Text that no two parts of are the same.
private func text(_ count: Int, _ name: String) -> String {
  var lines = ""
  var number = 0
  while lines.utf8.count < count {
    lines += "\(name) \(number) \(number &* 2_654_435_761)\n"
    number += 1
  }
  return String(lines.prefix(count))
}

private func bytes(of path: FilePath) async throws -> [UInt8] { try await onThread { try TreeRecord.bytes(of: path) } }

/// The error that reading a file from its start gives; nil when it can be read.
private func readError(of path: FilePath) async throws -> Errno? {
  try await onThread {
    do {
      _ = try TreeRecord.bytes(of: path)
      return nil
    } catch let errno as Errno {
      return errno
    }
  }
}

extension MountTests {
  /// Packages that are not there until somebody reads them.
  @Suite struct RemoteMountTests {
    @Test func `a remote package has the same files as a local one, however its image is made`() async throws {
      let tree = try TestStore()
      let sample = tree.file("tree")
      try SampleTree.make(at: sample)
      var packages: [String: (files: [String: String], options: [String])] = [:]
      let options = [
        "plain": uncompressed, "gzip": ["-comp", "gzip"], "zstd": ["-comp", "zstd", "-b", "128K"],
        "lz4": ["-comp", "lz4", "-no-fragments"],
      ]
      for (name, options) in options {
        packages["\(name)-amd64-1-1"] = (
          [
            "bin/\(name)": "#!/bin/sh\n", "out/lib/\(name)/big": text(700_000, name), "out/share/\(name)/small": name,
            "out/lib/link": "->x",
          ],
          options
        )
      }
      let scene = try await RemoteScene(packages)
      try await scene.store.makeImage("sample-amd64-1-1", of: sample)
      try scene.store.publish("sample-amd64-1-1")
      try await scene.publish()
      let outcome = try await scene.mount()
      #expect(outcome.status == 0 && outcome.errors == "", "\(outcome.errors)")
      let local = scene.store.file("local")
      try FileManager.default.createDirectory(atPath: local.string, withIntermediateDirectories: true)
      try await succeed("distri-fuse", ["mount", scene.store.path.string, local.string])
      let remote = scene.store.mountPoint
      for package in packages.keys.sorted() + ["sample-amd64-1-1"] {
        var trees = try await onThread {
          try [TreeRecord.tree(at: remote.appending(package)), TreeRecord.tree(at: local.appending(package))]
        }
        // Of a package that nobody has touched, little is known of its own directory.
        for index in trees.indices { trees[index]["."] = nil }
        #expect(TreeRecord.differences(trees[0], trees[1]) == [], "\(package)")
        #expect(trees[0].count > 4)
      }
      for directory in ["bin", "lib", "share", "lib/zstd"] {
        let names = try await onThread {
          try [remote, local].map { try TreeRecord.names(in: $0.pushing(FilePath(directory))).sorted() }
        }
        // Empty directories are in no index.
        #expect(names[0] == names[1].filter { $0 != "empty" })
        #expect(names[0] != [])
      }
      #expect(try await bytes(of: remote.appending("lib/zstd/big")) == Array(text(700_000, "zstd").utf8))
      try Mount.unmount(local)
      try Mount.unmount(remote)
    }

    @Test func `listing asks for nothing, and a program that starts for little`() async throws {
      let scene = try await RemoteScene([
        "tool-amd64-1-1": (["out/share/tool/data": text(8_000_000, "data"), "bin/tool": "->../out/bin/tool"], uncompressed),
        "other-amd64-1-1": (["out/lib/other": text(4_000_000, "other")], uncompressed),
      ])
      let program = scene.store.file("tree-tool-amd64-1-1").appending("out/bin/tool")
      try FileManager.default.createDirectory(
        atPath: program.removingLastComponent().string, withIntermediateDirectories: true)
      try FileManager.default.copyItem(atPath: "/bin/cat", toPath: program.string)
      try await scene.store.makeImage("tool-amd64-1-2", of: scene.store.file("tree-tool-amd64-1-1"), options: uncompressed)
      try scene.store.publish("tool-amd64-1-2")
      try await scene.publish()
      #expect(try await scene.mount().status == 0)
      let root = scene.store.mountPoint
      let names = try await onThread { try TreeRecord.names(in: root) + TreeRecord.names(in: root.appending("lib")) }
      #expect(Set(names).isSuperset(of: ["tool-amd64-1-1", "tool-amd64-1-2", "other-amd64-1-1", "other", "bin"]))
      #expect(scene.server.given(".squashfs") == [])
      let run = try await ToolProcess.run(root.appending("bin/tool").string, [], input: "hello")
      #expect(run.output == "hello", "\(run.errors)")
      // The program has some 50 KB, its package eight million.
      #expect(scene.givenImageByteCount > 0 && scene.givenImageByteCount < 400_000, "\(scene.server.given())")
      // All of it, and then nothing more: also for the next mount.
      let data = root.appending("tool-amd64-1-2/out/share/tool/data")
      #expect(try await bytes(of: data) == Array(text(8_000_000, "data").utf8))
      try Mount.unmount(root)
      scene.server.forget()
      #expect(try await scene.mount().status == 0)
      #expect(try await bytes(of: data) == Array(text(8_000_000, "data").utf8))
      #expect(scene.server.given(".squashfs") == [] && scene.server.given(".tree") == [])
      try Mount.unmount(root)
    }

    @Test func `a server that lies gives an error for that block, and its name`() async throws {
      let contents = text(1_000_000, "a")
      let scene = try await RemoteScene([
        "a-amd64-1-1": (["out/lib/a": contents], uncompressed), "b-amd64-1-1": (["out/lib/b": contents], ["-comp", "zstd"]),
      ])
      // Of the first image, something in the middle of its only file; of the other one, what describes its files.
      scene.server.lie(about: "a-amd64-1-1.squashfs", at: 500_000)
      let size = try Data(contentsOf: URL(fileURLWithPath: scene.store.path.appending("b-amd64-1-1.squashfs").string)).count
      scene.server.lie(about: "b-amd64-1-1.squashfs", at: size - 5000)
      let process = Process()
      process.executableURL = URL(fileURLWithPath: ToolProcess.binaries.appending("distri-fuse").string)
      process.arguments = ["mount", "--foreground"] + scene.options + [scene.store.mountPoint.string]
      let log = scene.store.file("log")
      _ = FileManager.default.createFile(atPath: log.string, contents: nil)
      process.standardError = FileHandle(forWritingAtPath: log.string)
      try process.run()
      let root = scene.store.mountPoint
      #expect(try await eventually { FileManager.default.fileExists(atPath: root.appending("a-amd64-1-1").string) })
      let file = root.appending("a-amd64-1-1/out/lib/a")
      #expect(try await readError(of: file) == .ioError)
      let parts = try await onThread {
        try [0, 65_536, 700_000].map { offset in
          let file = try FileDescriptor.open(file, .readOnly)
          defer { try? file.close() }
          var part = [UInt8](repeating: 0, count: 1000)
          _ = try part.withUnsafeMutableBytes { try file.read(fromAbsoluteOffset: Int64(offset), into: $0) }
          return part == Array(contents.utf8.dropFirst(offset).prefix(1000))
        }
      }
      #expect(parts == [true, true, true])
      #expect(try await readError(of: root.appending("b-amd64-1-1/out/lib/b")) == .ioError)
      let said = String(decoding: try Data(contentsOf: URL(fileURLWithPath: log.string)), as: UTF8.self)
      #expect(said.contains("a-amd64-1-1: \(scene.server.root)/pkg/a-amd64-1-1.squashfs: block 7, "), "\(said)")
      #expect(said.contains("b-amd64-1-1: "), "\(said)")
      #expect(Set(try MountStatus(of: root).problems.map(\.subject)).isSuperset(of: ["b-amd64-1-1"]))
      // No harm is left when it tells the truth.
      scene.server.tellTheTruth()
      #expect(try await bytes(of: file) == Array(contents.utf8))
      #expect(try await bytes(of: root.appending("lib/b")) == Array(contents.utf8))
      #expect(try MountStatus(of: root).problems == [])
      kill(process.processIdentifier, SIGTERM)
      try await onThread { process.waitUntilExit() }
    }

    @Test func `without the server, what is here can be read, and the rest is an error soon`() async throws {
      let contents = text(1_000_000, "a")
      let scene = try await RemoteScene([
        "a-amd64-1-1": (["out/lib/a": contents], uncompressed), "b-amd64-1-1": (["out/lib/b": contents], uncompressed),
      ])
      #expect(try await scene.mount().status == 0)
      let root = scene.store.mountPoint
      #expect(try await bytes(of: root.appending("lib/a")) == Array(contents.utf8))
      scene.server.turn(.gone)
      let supervisor = try #require(try await supervision(of: root)?.supervisor)
      // The next server needs no network either: it shows what the one before has shown.
      let before = try #require(SupervisedMount.server(of: supervisor))
      kill(before, SIGKILL)
      #expect(try await eventually { SupervisedMount.server(of: supervisor).map { $0 != before } == true })
      try await onThread {
        let file = try FileDescriptor.open(root.appending("lib/a"), .readOnly)
        posix_fadvise(file.rawValue, 0, 0, POSIX_FADV_DONTNEED)
        try file.close()
      }
      #expect(try await bytes(of: root.appending("lib/a")) == Array(contents.utf8))
      let start = ContinuousClock.now
      #expect(try await readError(of: root.appending("lib/b")) == .ioError)
      #expect(ContinuousClock.now - start < .seconds(15))
      #expect(try await onThread { try TreeRecord.names(in: root) }.contains("b-amd64-1-1"))
      scene.server.turn(.honest)
      #expect(try await bytes(of: root.appending("lib/b")) == Array(contents.utf8))
      try Mount.unmount(root)
    }

    @Test func `nobody notices that the server of a remote view is killed again and again`() async throws {
      let contents = (0..<8).reduce(into: [String: String]()) { $0["out/lib/f\($1)"] = text(150_000 * $1 + 10, "f\($1)") }
      let scene = try await RemoteScene([
        "a-amd64-1-1": (contents, uncompressed), "b-amd64-1-1": (contents, ["-comp", "zstd", "-no-fragments"]),
      ])
      #expect(try await scene.mount().status == 0)
      let root = Mount.canonical(scene.store.mountPoint)
      let supervisor = try #require(try await supervision(of: root)?.supervisor)
      var files: [String: [UInt8]] = [:]
      for (name, text) in contents {
        for package in ["a-amd64-1-1", "b-amd64-1-1"] { files["\(package)/\(name)"] = Array(text.utf8) }
      }
      let load = MountLoad(on: root, files: files)
      var last: pid_t = 0
      for number in 0..<30 {
        let goal = load.operationCount + 5 + number * 7 % 30
        last = try await SupervisedMount.killServer(of: supervisor, after: last) { load.operationCount >= goal }
        // Some of them have to fetch.
        if number % 5 == 0 { try? FileManager.default.removeItem(atPath: scene.store.file("cache").appending("images").string) }
        if number % 5 == 0 {
          try FileManager.default.createDirectory(
            atPath: scene.store.file("cache").appending("images").string, withIntermediateDirectories: true)
        }
      }
      let goal = load.operationCount + 100
      #expect(try await eventually { load.operationCount >= goal })
      let report = await load.stop()
      #expect(report.failures == [])
      // And by a newer program.
      let outcome = try await ToolProcess.run("distri-fuse", ["mount", "--take-over", root.string])
      #expect(outcome.status == 0 && outcome.errors == "", "\(outcome.errors)")
      #expect(try await bytes(of: root.appending("a-amd64-1-1/out/lib/f3")) == Array(text(450_010, "f3").utf8))
      try Mount.unmount(root)
    }

    @Test func `two mounts share what was fetched`() async throws {
      let contents = text(3_000_000, "a")
      let scene = try await RemoteScene(["a-amd64-1-1": (["out/lib/a": contents], uncompressed)])
      let second = scene.store.file("second")
      try FileManager.default.createDirectory(atPath: second.string, withIntermediateDirectories: true)
      #expect(try await scene.mount().status == 0)
      #expect(try await scene.mount(at: second).status == 0)
      let root = scene.store.mountPoint
      async let one = bytes(of: root.appending("lib/a"))
      async let other = bytes(of: second.appending("lib/a"))
      let read = try await [one, other]
      #expect(read == [Array(contents.utf8), Array(contents.utf8)])
      try Mount.unmount(second)
      scene.server.forget()
      #expect(try await scene.mount(at: second).status == 0)
      #expect(try await bytes(of: second.appending("lib/a")) == Array(contents.utf8))
      #expect(scene.givenImageByteCount == 0)
      try Mount.unmount(second)
      try Mount.unmount(root)
    }

    @Test func `packages that the store has come from there, also when they arrive later`() async throws {
      let scene = try await RemoteScene([
        "a-amd64-1-1": (["bin/a": text(200_000, "a")], uncompressed), "b-amd64-1-1": (["bin/b": text(200_000, "b")], uncompressed),
      ])
      let local = try TestStore()
      func install(_ package: String) throws {
        for suffix in ["meta.textproto", "squashfs"] {
          let name = "\(package).\(suffix)"
          let staged = local.file(name).string
          try FileManager.default.copyItem(atPath: scene.store.path.appending(name).string, toPath: staged)
          #expect(rename(staged, local.path.appending(name).string) == 0)
        }
      }
      try install("a-amd64-1-1")
      let root = local.mountPoint
      let outcome = try await ToolProcess.run("distri-fuse", ["mount"] + scene.options + [local.path.string, root.string])
      #expect(outcome.status == 0, "\(outcome.errors)")
      #expect(try await onThread { try TreeRecord.names(in: root.appending("bin")) }.sorted() == ["a", "b"])
      #expect(try await bytes(of: root.appending("bin/a")) == Array(text(200_000, "a").utf8))
      #expect(scene.server.given(".squashfs") == [])
      let open = try await onThread { try FileDescriptor.open(root.appending("bin/b"), .readOnly) }
      #expect(scene.server.given(".squashfs") != [])
      try install("b-amd64-1-1")
      try await succeed("distri-fuse", ["rescan", root.string])
      scene.server.turn(.gone)
      #expect(try await bytes(of: root.appending("bin/b")) == Array(text(200_000, "b").utf8))
      scene.server.turn(.honest)
      // Who had it open goes on with what he had.
      let rest = try await onThread {
        var part = [UInt8](repeating: 0, count: 1000)
        _ = try part.withUnsafeMutableBytes { try open.read(fromAbsoluteOffset: 199_000, into: $0) }
        return part
      }
      try open.close()
      #expect(rest == Array(text(200_000, "b").utf8.suffix(1000)))
      try local.remove("b-amd64-1-1")
      try await succeed("distri-fuse", ["rescan", root.string])
      #expect(try await bytes(of: root.appending("bin/b")) == Array(text(200_000, "b").utf8))
      try Mount.unmount(root)
    }

    @Test func `packages that are published meanwhile are there when the view is told to look`() async throws {
      let scene = try await RemoteScene(["a-amd64-1-1": (["bin/a": "one"], uncompressed)])
      #expect(try await scene.mount().status == 0)
      let root = scene.store.mountPoint
      #expect(try await bytes(of: root.appending("bin/a")) == Array("one".utf8))
      try await scene.store.add("a-amd64-2-2", ["bin/a": "two", "bin/b": "b"], options: uncompressed)
      try await scene.publish()
      try await succeed("distri-fuse", ["rescan", root.string])
      #expect(try await bytes(of: root.appending("bin/a")) == Array("two".utf8))
      #expect(try await bytes(of: root.appending("a-amd64-1-1/bin/a")) == Array("one".utf8))
      // A repository that does not answer takes nothing away.
      scene.server.turn(.gone)
      try await succeed("distri-fuse", ["rescan", root.string])
      #expect(try await onThread { try TreeRecord.names(in: root.appending("bin")) }.sorted() == ["a", "b"])
      try Mount.unmount(root)
    }

    @Test func `a repository that nobody trusts has to be accepted each time`() async throws {
      let scene = try await RemoteScene(["a-amd64-1-1": (["bin/a": "a"], uncompressed)])
      try FileManager.default.removeItem(atPath: scene.store.file("trust").string)
      let refused = try await scene.mount()
      #expect(refused.status == 65)
      #expect(refused.errors.contains("no trusted root is known"))
      #expect(try MountTable.current().entry(at: Mount.canonical(scene.store.mountPoint)) == nil)
      #expect(try await scene.mount(["--insecure-unsigned"]).status == 0)
      #expect(try await bytes(of: scene.store.mountPoint.appending("bin/a")) == Array("a".utf8))
      try Mount.unmount(scene.store.mountPoint)
      let usage = try await scene.mount(["--packages", "a"])
      #expect(usage.status == 64)
    }

    @Test func `a line of fstab can name a repository, and a section of it`() async throws {
      let scene = try await RemoteScene(["a-amd64-1-1": (["bin/a": "a"], uncompressed)])
      let helper = scene.store.file("mount.fuse.distri").string
      try FileManager.default.createSymbolicLink(
        atPath: helper, withDestinationPath: ToolProcess.binaries.appending("distri-fuse").string)
      let point = scene.store.mountPoint
      for section in ["debug", "src"] {
        let folder = scene.store.path.appending(section)
        try FileManager.default.createDirectory(atPath: folder.string, withIntermediateDirectories: true)
        try await scene.store.makeImage(
          "\(section)-a", ["debug/.build-id/ab/cd.debug": "symbols", "a.c": "source"], options: uncompressed)
        #expect(rename(scene.store.file("\(section)-a.image").string, folder.appending("a-amd64-1-1.squashfs").string) == 0)
      }
      try await scene.publish()
      for (section, path) in [("debug", "debug/.build-id/ab/cd.debug"), ("src", "a-amd64-1-1/a.c")] {
        let outcome = try await ToolProcess.run(
          helper,
          [
            scene.server.root, point.string, "-o", "rw,nofail,cache_size=64M,section=\(section),cache=\(scene.store.file("cache"))",
          ],
          environment: ["DISTRITRUST": scene.store.file("trust").string])
        #expect(outcome.status == 0, "\(outcome.errors)")
        #expect(try MountTable.current().entry(at: Mount.canonical(point))?.source == scene.server.root)
        #expect(try await bytes(of: point.pushing(FilePath(path))) == Array((section == "src" ? "source" : "symbols").utf8))
        try Mount.unmount(point)
      }
    }

    private func supervision(of root: FilePath) async throws -> MountStatus.Supervision? {
      struct Status: Decodable { var supervision: MountStatus.Supervision? }
      let status = try await ToolProcess.run("distri-fuse", ["status", "--json", root.string])
      return try JSONDecoder().decode(Status.self, from: Data(status.output.utf8)).supervision
    }
  }
}
