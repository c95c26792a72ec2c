// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore
import Foundation
import Synchronization
import SystemPackage
import TestSupport
import Testing

@testable import DistriRepo

/// Signed repositories by the built `distri-fetch`.
@Suite struct TrustToolTests {
  /// Fails unless the tool ends with the status.
  @discardableResult
  private func fetch(_ arguments: [String], status: Int32 = 0) async throws -> ToolProcess.Outcome {
    let outcome = try await ToolProcess.run("distri-fetch", arguments)
    #expect(outcome.status == status, "\(arguments): \(outcome.errors)")
    return outcome
  }

  @Test func `keys, publication, trust and installation work together`() async throws {
    let scene = try await Scene([try PackageFixture("nano-amd64-1-1")])
    let base = scene.directory.path
    let (keys, repository) = (base.appending("keys"), base.appending("published"))
    let generated = try await fetch(["keys", "generate", "--out", keys.string])
    #expect(
      generated.output.split(separator: "\n").map { $0.prefix { $0 != "\t" } } == ["root", "targets", "snapshot", "timestamp"])
    let mode = try FileManager.default.attributesOfItem(atPath: keys.appending("root.pem").string)[.posixPermissions] as? Int
    #expect(mode == 0o600)
    // Never replaced.
    try await fetch(["keys", "generate", "--out", keys.string, "debug", "root"], status: 74)
    #expect(try names(in: keys).count == 8)
    let publish = ["publish", scene.store.path.string, "--out", repository.string]
    let published = try await fetch(publish + ["--keys", keys.string])
    #expect(published.output.split(separator: "\n").filter { $0.hasPrefix("signed\t") }.count == 5)
    // Not by accident unsigned.
    try await fetch(publish, status: 64)
    let server = try await RunningServer(of: repository)
    let options = ["--repo", server.root, "--trust", base.appending("trust").string]
    let install = ["install", "nano", "--root", scene.machine.string] + options
    let untrusted = try await fetch(install, status: 65)
    #expect(untrusted.errors.contains("--insecure-unsigned"))
    let insecure = try await fetch(install + ["--insecure-unsigned", "--dry-run"])
    #expect(insecure.errors.contains("not verified: \(server.root)"))
    let trusted = try await fetch(["trust", "init", repository.appending("tuf/root.json").string] + options)
    #expect(generated.output.contains("root\t\(trusted.output)"))
    try await fetch(["trust", "init", repository.appending("tuf/root.json").string] + options, status: 74)
    let installed = try await fetch(install)
    #expect(installed.output == "nano-amd64-1-1\n")
    #expect(!installed.errors.contains("not verified"))
    _ = try await LocalStore.make(at: scene.store.path, [try PackageFixture("nano-amd64-1-2")])
    try FileManager.default.removeItem(atPath: keys.appending("root.pem").string)
    try await fetch(publish + ["--keys", keys.string])
    #expect(try await fetch(install).output == "nano-amd64-1-2\n")
    let refreshed = try await fetch(["trust", "refresh"] + options)
    #expect(refreshed.output.contains("\(server.root)\ttimestamp\tversion 2\tuntil "))
    let shown = try await fetch(["trust", "show"] + options)
    #expect(shown.output.contains("\(server.root)\troot\t1 of 1\t\(trusted.output)"))
    // A server that is not the publisher: nothing is installed, flag or not.
    try FileManager.default.removeItem(atPath: repository.appending("tuf/timestamp.json").string)
    try write(Array("{}".utf8), to: repository.appending("tuf/timestamp.json"))
    try await fetch(install + ["--insecure-unsigned"], status: 65)
    #expect(try await server.terminate() == 0)
  }

  @Test func `a directory is trusted by whatever name it is given`() async throws {
    let scene = try await Scene([try PackageFixture("nano-amd64-1-1")])
    let (base, trust) = (scene.directory.path, scene.directory.path.appending("trust").string)
    try await fetch(["keys", "generate", "--out", base.appending("keys").string])
    try await fetch(["publish", scene.store.path.string, "--out", scene.repository.string, "--keys", base.appending("keys").string])
    let root = scene.repository.appending("tuf/root.json").string
    try await fetch(["trust", "init", root, "--repo", scene.repository.string + "/", "--trust", trust])
    let list = try await ToolProcess.run("distri-fetch", ["list", "--repo", "repo", "--trust", trust], in: base)
    #expect(list.output == "nano-amd64-1-1\n", "\(list.errors)")
  }

  @Test func `keys are replaced, commands sign, and the same input gives the same bytes`() async throws {
    let scene = try await Scene([try PackageFixture("nano-amd64-1-1")])
    let base = scene.directory.path
    try await fetch(["keys", "generate", "--out", base.appending("old").string])
    try await fetch(["keys", "generate", "--out", base.appending("new").string])
    try await fetch(["keys", "generate", "--out", base.appending("hsm").string, "--type", "ecdsa", "targets"])
    func publish(_ out: FilePath, _ arguments: [String], status: Int32 = 0) async throws -> ToolProcess.Outcome {
      try await fetch(
        ["publish", scene.store.path.string, "--out", out.string, "--time", "2026-11-26T00:00:00Z"] + arguments, status: status)
    }
    let old = ["--keys", base.appending("old").string, "--expire", "timestamp=12h", "--expire", "root=30"]
    for out in ["one", "two"] { _ = try await publish(base.appending(out), old) }
    let difference = try await ToolProcess.run("diff", ["-r", base.appending("one").string, base.appending("two").string])
    #expect(difference.status == 0, "\(difference.output)")
    let timestamp = String(decoding: try contents(of: base.appending("one/tuf/timestamp.json")), as: UTF8.self)
    #expect(timestamp.contains(#""expires":"2026-11-26T12:00:00Z""#))
    let key = base.appending("hsm/targets.pem")
    let new = [
      "--keys", base.appending("new").string, "--key-command",
      "targets=\(base.appending("hsm/targets.pub.pem")):openssl dgst -sha256 -sign \(key) | od -An -v -tx1",
    ]
    let alone = try await publish(base.appending("one"), new + ["--rotate-root"], status: 65)
    #expect(alone.errors.contains("signed by 0 of the keys for «root»"))
    let rotated = try await publish(
      base.appending("one"), new + ["--rotate-root", "--former-root-key", base.appending("old/root.pem").string, "--json"])
    #expect(rotated.output.contains(#""version" : 2"#))
    let trust = TrustStore(path: base.appending("trust"))
    try await trust.initialize(root: try contents(of: base.appending("one/tuf/1.root.json")), file: "root")
    var options = TUFClient.Options()
    options.now = { UTCTime("2026-11-26T01:00:00Z") ?? .now }
    let client = TUFClient(
      store: trust, metadata: base.appending("one/tuf").string, transport: FileTransport(), options: options)
    #expect(try await client.refresh().root.role("targets").keyIDs == [try #require(keyID(base.appending("hsm/targets.pub.pem")))])
    #expect(try trust.root().head.version == 2)
  }

  private func keyID(_ path: FilePath) throws -> String? {
    TrustKey(pem: String(decoding: try contents(of: path), as: UTF8.self))?.keyID
  }

  @Test(arguments: [
    ("publish REPO --out ROOT --keys NOWHERE", 64), ("publish REPO --out ROOT --key root=NOWHERE", 66),
    ("publish REPO --out ROOT --key root", 64), ("publish REPO --out ROOT --expire root=never", 64),
    ("publish REPO --out ROOT --threshold root=0", 64), ("publish REPO --out ROOT --time today", 64),
    ("publish REPO --out ROOT --rotate-root", 64), ("publish REPO --out ROOT --former-root-key x", 64),
    ("publish REPO --out ROOT --key-command root=x", 64), ("keys generate --out ROOT ../x", 64),
    ("trust init NOWHERE --repo x --trust ROOT", 66),
    ("trust refresh --repo REPO --trust ROOT", 65), ("trust show --repo REPO --trust ROOT", 65),
  ])
  func `failures have their exit status`(words: String, status: Int32) async throws {
    let scene = try await Scene([try PackageFixture("nano-amd64-1-1")])
    let places = [("ROOT", scene.machine), ("REPO", scene.store.path), ("NOWHERE", scene.directory.path.appending("nowhere"))]
    let text = places.reduce(words) { $0.replacing($1.0, with: $1.1.string) }
    try await fetch(text.split(separator: " ").map(String.init), status: status)
  }

  @Test func `a kill at any file of a refresh leaves trust that the next one builds on`() async throws {
    let scene = try await Simulation()
    try await scene.refresh()
    // Real time: the tool's clock is not ours.
    let expiry = UTCTime.now.advanced(by: 86_400)
    scene.snapshotHead.expires = expiry
    scene.timestampHead.expires = expiry
    scene.targets["targets"]?.head.expires = expiry
    for victim in ["2.root.json", "3.root.json", "timestamp.json", "2.snapshot.json", "2.targets.json"] {
      let trust = scene.directory.path.appending("machines/\(victim)")
      let files = scene.server
      let child = Mutex<pid_t>(0)
      let isKilling = Atomic(true)
      let server = try ScriptedServer { request in
        let name = request.path.replacing("/tuf/", with: "")
        guard let body = files["tuf/\(name)"] else {
          if name == victim, isKilling.load(ordering: .relaxed) { child.withLock { _ = kill($0, SIGKILL) } }
          return .status("404 Not Found")
        }
        guard name == victim, isKilling.load(ordering: .relaxed) else { return .ok(body) }
        child.withLock { _ = kill($0, SIGKILL) }
        return .head("200 OK", headers: "Content-Length: \(body.count)\r\n") + [.send(Array(body.prefix(body.count / 2)))]
      }
      defer { server.stop() }
      let arguments = ["--repo", server.root, "--trust", trust.string]
      let root = scene.directory.path.appending("root.json")
      try write(try #require(scene.server["tuf/1.root.json"]), to: root)
      try await fetch(["trust", "init", root.string] + arguments)
      if scene.root.head.version == 1 {
        try await scene.publishNextRoot {
          scene.root.head.expires = expiry
          try scene.rotate("root")
        }
        try await scene.publishNext()
      }
      let pid = try child.withLock { pid in
        pid = try spawn("distri-fetch", ["trust", "refresh"] + arguments)
        return pid
      }
      #expect(waitFor(pid) == SIGKILL)
      isKilling.store(false, ordering: .relaxed)
      try await fetch(["trust", "refresh"] + arguments)
      let store = TrustStore(path: trust.appending(server.root.trustName))
      #expect(try names(in: store.path) == ["root.json", "snapshot.json", "targets.json", "timestamp.json"])
      #expect(try store.root().head.version == 2)
    }
  }
}
