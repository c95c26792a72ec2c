// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriRepo
import DistriStore
import Foundation
import Synchronization
import SystemPackage
import TestSupport
import Testing

/// Installations that go on where one before was broken off.
@Suite struct ResumeTests {
  private static let image = "/pkg/big-amd64-1-1.squashfs"

  private func makeScene() async throws -> Scene {
    let packages = [
      try PackageFixture("small-amd64-1-1"), try PackageFixture("big-amd64-1-1", needs: ["small-amd64-1-1"], byteCount: 2_000_000),
    ]
    return try await Scene(packages)
  }

  private func partials(_ machine: FilePath) -> FilePath { machine.appending("roimg/.staging/partial") }

  @Test func `what a kill has broken off goes on in the next run, and nothing comes twice`() async throws {
    let scene = try await makeScene()
    let sent = Mutex<[String]>([])
    let server = try ScriptedServer.serving(scene.repository) { request, body in
      guard let body else { return nil }
      sent.withLock { $0.append("\(request.path) \(request.field("Range") ?? "")") }
      guard request.path == Self.image, request.previous == 0 else { return .file(body, for: request) }
      return .file(body, for: request).dropLast() + [.send(Array(body.prefix(1_500_000))), .hang]
    }
    defer { server.stop() }
    let place = partials(scene.machine)
    try FileManager.default.createDirectory(atPath: place.string, withIntermediateDirectories: true)
    let watch = inotify_init1(Int32(IN_CLOEXEC))
    defer { close(watch) }
    inotify_add_watch(watch, place.string, UInt32(IN_MODIFY))
    let arguments = ["install", "big", "--root", scene.machine.string, "--insecure-unsigned", "--repo", server.root]
    let child = try spawn("distri-fetch", arguments)
    // Until a MiB of it is in a file, and the other package is there.
    let small = try contents(of: scene.store.path.appending("small-amd64-1-1.squashfs")).count
    func isThere() throws -> Bool {
      let sizes = try names(in: place).map {
        try FileManager.default.attributesOfItem(atPath: place.appending($0).string)[.size] as? Int ?? 0
      }
      return sizes.contains { $0 > 1_000_000 } && sizes.contains(small)
    }
    var buffer = [UInt8](repeating: 0, count: 4096)
    while try !isThere() { _ = read(watch, &buffer, buffer.count) }
    kill(child, SIGKILL)
    #expect(waitFor(child) == SIGKILL)
    sent.withLock { $0 = [] }
    let again = try await ToolProcess.run("distri-fetch", arguments)
    #expect(again.status == 0, "\(again.errors)")
    #expect(try scene.machineStore().files() == scene.store.files())
    let images = sent.withLock { $0.filter { $0.contains("squashfs") } }
    #expect(images.count == 1)
    let first = try #require(images.first?.split(separator: "=").last?.split(separator: "-").first.flatMap { Int($0) })
    #expect(images.first?.hasPrefix(Self.image) == true && first >= 1_000_000)
    #expect(try names(in: place) == [])
  }

  @Test func `what lies there and is wrong is noticed, and comes anew`() async throws {
    let scene = try await makeScene()
    let server = try ScriptedServer.serving(scene.repository) { request, body in body.map { .file($0, for: request) } }
    defer { server.stop() }
    let image = try contents(of: scene.store.path.appending("big-amd64-1-1.squashfs"))
    let digest = String(
      decoding: try run("sha256sum", [scene.store.path.appending("big-amd64-1-1.squashfs").string]).prefix(64), as: UTF8.self)
    let place = partials(scene.machine)
    try FileManager.default.createDirectory(atPath: place.string, withIntermediateDirectories: true)
    // As after a power cut, too: a file that is as long as it was going to be, and has nothing in it.
    for wrong in [
      Array(repeating: 0, count: 1_000_000), Array(repeating: 0, count: image.count), Array(image.reversed()), image + [0],
    ] {
      try write(wrong, to: place.appending(digest))
      let store = try await scene.install("big", from: [server.root])
      #expect(try store.files() == scene.store.files())
      #expect(try names(in: place) == [])
      try FileManager.default.removeItem(atPath: store.path.appending("big-amd64-1-1.squashfs").string)
      try FileManager.default.removeItem(atPath: store.path.appending("big-amd64-1-1.meta.textproto").string)
    }
    // One that is whole is not asked for.
    let before = server.count(Self.image)
    try write(image, to: place.appending(digest))
    #expect(try await scene.install("big", from: [server.root]).files() == scene.store.files())
    #expect(server.count(Self.image) == before)
  }

  @Test func `a server that knows no ranges sends it all again`() async throws {
    let scene = try await makeScene()
    let server = try ScriptedServer.serving(scene.repository) { request, body in
      guard request.path == Self.image, let body else { return nil }
      let whole = [ScriptedServer.Step].ok(body)
      return request.previous == 0 ? whole.dropLast() + [.send(Array(body.prefix(1_500_000))), .close] : whole
    }
    defer { server.stop() }
    _ = try await failure { try await scene.install("big", from: [server.root]) }
    #expect(try names(in: partials(scene.machine)).count == 2)
    #expect(try await scene.install("big", from: [server.root]).files() == scene.store.files())
    #expect(try names(in: partials(scene.machine)) == [])
  }

  @Test func `two processes that bring the same package do not write to one file`() async throws {
    let scene = try await makeScene()
    let both = Latch()
    let server = try ScriptedServer.serving(scene.repository) { request, body in
      guard request.path == Self.image, let body else { return nil }
      if request.previous == 1 { both.open() }
      let answer = [ScriptedServer.Step].file(body, for: request)
      return answer.dropLast() + [.send(Array(body.prefix(1_000_000))), .wait(both), .send(Array(body.dropFirst(1_000_000)))]
    }
    defer { server.stop() }
    let arguments = ["install", "big", "--root", scene.machine.string, "--insecure-unsigned", "--repo", server.root]
    let children = try (0..<2).map { _ in try spawn("distri-fetch", arguments) }
    for child in children { #expect(waitFor(child) == 0) }
    #expect(server.count(Self.image) == 2)
    #expect(try scene.machineStore().files() == scene.store.files())
  }
}
