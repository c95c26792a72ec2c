// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriRepo
import DistriStore
import Foundation
import Synchronization
import SystemPackage
import TestSupport
import Testing

@Suite struct MirrorSetTests {
  private static let image = "/pkg/nano-amd64-7.2-2.squashfs"

  private static func scene() async throws -> Scene {
    try await Scene([
      try PackageFixture("lib-amd64-1-1"), try PackageFixture("nano-amd64-7.2-2", needs: ["lib-amd64-1-1"], byteCount: 250_000),
    ])
  }

  /// Installs through mirrors; gives what was said of those that failed.
  private func install(_ scene: borrowing Scene, from roots: [String]) async throws -> [String] {
    let said = Mutex<[String]>([])
    let mirrors = MirrorSet(roots[0], mirrors: Array(roots.dropFirst())) { root, error in
      said.withLock { $0.append("\(root): \(error)") }
    }
    let repository = try await Repository(at: mirrors, transport: try StandardTransport(options: .impatient), options: .unsigned)
    let store = try scene.machineStore()
    let installer = Installer(repositories: [repository], store: store)
    try await installer.install(try await installer.plan([try PackageQuery(parsing: "nano")]))
    #expect(try store.files() == scene.store.files())
    return said.withLock { $0 }
  }

  enum Fault: CaseIterable, Sendable {
    case unavailable, missing, wrongByte, truncated, stalls, loops, html
  }

  @Test(arguments: Fault.allCases)
  func `what a mirror does not give, or gives wrong, the next one gives`(fault: Fault) async throws {
    let scene = try await Self.scene()
    let bad = try ScriptedServer.serving(scene.repository) { request, body in
      guard request.path == Self.image, var body else { return nil }
      switch fault {
      case .unavailable: return .status("503 Later")
      case .missing: return .status("404 Not Found")
      case .wrongByte:
        body[1000] ^= 1
        return .ok(body)
      case .truncated:
        return .head("200 OK", headers: "Content-Length: \(body.count)\r\n") + [.send(Array(body.prefix(400_000))), .close]
      case .stalls:
        return .head("200 OK", headers: "Content-Length: \(body.count)\r\n") + [.send(Array(body.prefix(1000))), .hang]
      case .loops: return .status("302 Found", headers: "Location: file:///etc/passwd\r\n")
      case .html: return .ok(Array("<html>".utf8))
      }
    }
    let ranges = Mutex<[String]>([])
    let good = try ScriptedServer.serving(scene.repository) { request, body in
      if request.path == Self.image { ranges.withLock { $0.append(String(request.field("Range") ?? "all")) } }
      return body.map { .file($0, for: request) }
    }
    defer {
      bad.stop()
      good.stop()
    }
    let said = try await install(scene, from: [bad.root, good.root])
    #expect(said.count == 1 && said[0].contains("\(bad.root)\(Self.image)"), "\(said)")
    // Only that file, and only what had not come.
    #expect(good.count("/pkg/lib-amd64-1-1.squashfs") == 0)
    let range = ranges.withLock { $0 }
    if fault == .truncated || fault == .stalls {
      #expect(range.count == 1 && range[0].hasPrefix(fault == .stalls ? "bytes=1000-" : "bytes=400000-"), "\(range)")
    } else {
      #expect(range == ["all"] || fault == .html, "\(range)")
    }
  }

  @Test func `wrong bytes of one mirror do not spoil those of the next`() async throws {
    let scene = try await Self.scene()
    let bad = try ScriptedServer.serving(scene.repository) { request, body in
      guard request.path == Self.image, let body else { return nil }
      return .head("200 OK", headers: "Content-Length: \(body.count)\r\n") + [.send(Array(repeating: 0, count: 300_000)), .close]
    }
    let good = try ScriptedServer.serving(scene.repository) { request, body in body.map { .file($0, for: request) } }
    defer {
      bad.stop()
      good.stop()
    }
    _ = try await install(scene, from: [bad.root, good.root])
    // The part behind, then all.
    #expect(good.count(Self.image) == 2)
  }

  @Test func `a mirror that cannot be reached is asked once, and then last`() async throws {
    let scene = try await Self.scene()
    let good = try ScriptedServer.serving(scene.repository)
    defer { good.stop() }
    let said = try await install(scene, from: ["http://127.0.0.1:1", good.root])
    #expect(said.count == 1)
  }

  @Test func `when no mirror has it, the first one's error is thrown`() async throws {
    let scene = try await Self.scene()
    let (first, second) = (try ScriptedServer { _ in .status("503 Later") }, try ScriptedServer { _ in .status("404 Not Found") })
    defer {
      first.stop()
      second.stop()
    }
    let error = try await failure { try await install(scene, from: [first.root, second.root]) }
    #expect(error == .transferFailed(url: first.root + "/pkg/meta.binaryproto", .status(503)))
  }

  @Test func `signed metadata may come from a mirror, and what is trusted is the repository's`() async throws {
    let scene = try await Self.scene()
    let keys = scene.directory.path.appending("keys").string
    let trust = scene.directory.path.appending("trust").string
    _ = try await ToolProcess.run("distri-fetch", ["keys", "generate", "--out", keys])
    let published = try await ToolProcess.run(
      "distri-fetch", ["publish", scene.store.path.string, "--out", scene.repository.string, "--keys", keys])
    #expect(published.status == 0, "\(published.errors)")
    let gone = "http://127.0.0.1:1/distri"
    let initialized = try await ToolProcess.run(
      "distri-fetch", ["trust", "init", scene.repository.appending("tuf/root.json").string, "--repo", gone, "--trust", trust])
    #expect(initialized.status == 0, "\(initialized.errors)")
    let mirror = try ScriptedServer.serving(scene.repository)
    // One that is honest but for the index.
    let liar = try ScriptedServer.serving(scene.repository) { request, body in
      request.path.hasSuffix("meta.binaryproto") ? body.map { .ok($0.reversed()) } : nil
    }
    defer {
      mirror.stop()
      liar.stop()
    }
    let place = ["--root", scene.machine.string, "--trust", trust]
    let installed = try await ToolProcess.run(
      "distri-fetch", ["install", "nano", "--repo", gone, "--mirror", liar.root, "--mirror", mirror.root] + place)
    #expect(installed.status == 0, "\(installed.errors)")
    #expect(installed.errors.contains("\(liar.root)/pkg/") && installed.errors.contains("the next mirror is asked"))
    #expect(try scene.machineStore().files() == scene.store.files())
    // As a line of the configuration.
    let configuration = scene.directory.path.appending("etc/repos.d")
    try FileManager.default.createDirectory(atPath: configuration.string, withIntermediateDirectories: true)
    try write(Array("\(gone) \(mirror.root)  # ours\n".utf8), to: configuration.appending("main.repo"))
    let environment = ["DISTRICFG": configuration.removingLastComponent().string]
    let listed = try await ToolProcess.run("distri-fetch", ["list", "--trust", trust], environment: environment)
    #expect(listed.status == 0 && listed.output.contains("nano-amd64-7.2-2\n"), "\(listed.errors)")
    let several = try await ToolProcess.run("distri-fetch", ["list", "--repo", "/a", "--repo", "/b", "--mirror", "/c"])
    #expect(several.status == 64)
  }
}
