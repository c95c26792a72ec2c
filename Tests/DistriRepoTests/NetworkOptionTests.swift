// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriRepo
import DistriStore
import Foundation
import SystemPackage
import TestSupport
import Testing

/// `--proxy`, `--cacert`, `--low-speed` and `--offline`, of the built `distri-fetch`.
@Suite struct NetworkOptionTests {
  private static func scene() async throws -> Scene {
    try await Scene([
      try PackageFixture("lib-amd64-1-1"), try PackageFixture("nano-amd64-1-1", needs: ["lib-amd64-1-1"], byteCount: 250_000),
    ])
  }

  private func fetch(
    _ arguments: [String], from roots: [String], environment: [String: String] = [:]
  ) async throws -> ToolProcess.Outcome {
    try await ToolProcess.run(
      "distri-fetch", arguments + ["--insecure-unsigned"] + roots.flatMap { ["--repo", $0] }, environment: environment)
  }

  @Test func `a proxy is taken from the option or the environment, and asked for everything`() async throws {
    let scene = try await Self.scene()
    let server = try ScriptedServer.serving(scene.repository)
    let proxy = try ProxyServer()
    defer {
      server.stop()
      proxy.stop()
    }
    let address = "http://127.0.0.1:\(proxy.port)"
    let named = try await fetch(["list", "--proxy", address], from: [server.root], environment: ["no_proxy": "*"])
    #expect(named.status == 0, "\(named.errors)")
    #expect(proxy.log.first == "GET \(server.root)/pkg/meta.binaryproto HTTP/1.1")
    let before = proxy.log.count
    let inherited = try await fetch(
      ["install", "nano", "--root", scene.machine.string], from: [server.root], environment: ["http_proxy": address])
    #expect(inherited.status == 0, "\(inherited.errors)")
    #expect(try scene.machineStore().files() == scene.store.files())
    #expect(proxy.log.count >= before + 6)
    let spared = try await fetch(
      ["list"], from: [server.root], environment: ["http_proxy": "http://127.0.0.1:1", "no_proxy": "127.0.0.1"])
    #expect(spared.status == 0, "\(spared.errors)")
  }

  @Test func `TLS goes through a tunnel, of which the proxy may want to know whose it is`() async throws {
    let directory = try TemporaryDirectory()
    let scene = try await Scene([try PackageFixture("nano-amd64-1-1")])
    let site = directory.path.appending("site")
    try run("cp", ["-r", scene.repository.string, site.string])
    try run("chmod", ["-R", "a+rX", directory.path.string])
    let server = try SecureServer(in: directory.path)
    // me:secret
    let proxy = try ProxyServer(authorization: "Basic bWU6c2VjcmV0")
    defer {
      server.stop()
      proxy.stop()
    }
    let root = "https://127.0.0.1:\(server.port)"
    let trusting = ["--cacert", server.certificate.string]
    let known = try await fetch(["list", "--proxy", "http://me:secret@127.0.0.1:\(proxy.port)"] + trusting, from: [root])
    #expect(known.output == "nano-amd64-1-1\n", "\(known.errors)")
    #expect(proxy.log.contains("CONNECT 127.0.0.1:\(server.port) HTTP/1.1"))
    for root in [root, "http://127.0.0.1:\(server.port)"] {
      let unknown = try await fetch(["list", "--proxy", "http://127.0.0.1:\(proxy.port)"] + trusting, from: [root])
      #expect(unknown.status == 69)
      #expect(unknown.errors.contains("the proxy wants to know who asks"), "\(unknown.errors)")
    }
    // A password does not get into what people read.
    let install = ["install", "nano", "--root", scene.machine.string, "--proxy", "http://me:secret@127.0.0.1:\(proxy.port)"]
    #expect(try await fetch(install + trusting, from: [root]).status == 0)
    let generations = try await ToolProcess.run("distri-fetch", ["generations", "--root", scene.machine.string])
    #expect(generations.output.contains("--proxy") && !generations.output.contains("secret"))
  }

  @Test func `a server that is slower than was asked for is given up, and the next mirror goes on`() async throws {
    let scene = try await Self.scene()
    let drip = Latch()
    let slow = try ScriptedServer.serving(scene.repository) { request, body in
      guard request.path.hasPrefix("/pkg/nano"), request.path.hasSuffix("squashfs"), let body else { return nil }
      let answer = [ScriptedServer.Step].file(body, for: request)
      return answer.dropLast() + [.send(Array(body.prefix(20_000))), .wait(drip)]
    }
    let good = try ScriptedServer.serving(scene.repository) { request, body in body.map { .file($0, for: request) } }
    defer {
      drip.open()
      slow.stop()
      good.stop()
    }
    let arguments = ["install", "nano", "--root", scene.machine.string, "--low-speed", "100000:1"]
    let outcome = try await fetch(arguments + ["--mirror", good.root], from: [slow.root])
    #expect(outcome.status == 0, "\(outcome.errors)")
    #expect(outcome.errors.contains("too slow"))
    #expect(try scene.machineStore().files() == scene.store.files())
    for text in ["0", "x", "1:0", "1:2:3", "-1"] {
      #expect(try await fetch(["list", "--low-speed", text], from: [good.root]).status == 64)
    }
  }

  @Test func `offline, nothing is asked, and what is there serves`() async throws {
    let scene = try await Self.scene()
    let server = try ScriptedServer.serving(scene.repository)
    defer { server.stop() }
    let place = ["--root", scene.machine.string]
    #expect(try await fetch(["install", "nano"] + place, from: [server.root]).status == 0)
    #expect(try await ToolProcess.run("distri-fetch", ["remove", "nano"] + place).status == 0)
    let before = server.count("/pkg/meta.binaryproto")
    // Its packages are in the store still.
    let again = try await fetch(["install", "nano", "--offline"] + place, from: [server.root])
    #expect(again.status == 0, "\(again.errors)")
    #expect(again.errors.contains("offline: \(server.root) is left out"))
    let selected = try await ToolProcess.run("distri-fetch", ["list", "--installed"] + place)
    #expect(selected.output.split(separator: "\n").count == 2)
    let alone = try await ToolProcess.run(
      "distri-fetch", ["install", "nano", "--offline"] + place, environment: ["DISTRICFG": "\(scene.machine)/none"])
    #expect(alone.status == 0 && alone.errors.contains("nothing to do"), "\(alone.errors)")
    let missing = try await fetch(["install", "vim", "--offline"] + place, from: [server.root])
    #expect(missing.status == 66)
    #expect(missing.errors.contains("no package «vim» in \(scene.machine)/roimg"), "\(missing.errors)")
    let directory = try await fetch(["list", "--offline"], from: [scene.repository.string, server.root])
    #expect(directory.output.contains("nano-amd64-1-1"))
    #expect(server.count("/pkg/meta.binaryproto") == before)
    let error = try await failure { try await StandardTransport.offline.bytes(of: server.root + "/a", maximumByteCount: 1) }
    #expect(error == .transferFailed(url: server.root + "/a", .offline))
  }
}
