// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriRepo
import DistriStore
import Foundation
import SystemPackage
import TestSupport
import Testing

@Suite struct InstallerTests {
  @Test func `an installation over HTTP makes the store that was published`() async throws {
    let scene = try await Scene(try smallSet())
    let server = try ScriptedServer.serving(scene.repository)
    defer { server.stop() }
    let installed = try await scene.install("nano", from: [server.root])
    #expect(try installed.files() == scene.store.files())
    #expect(try installed.packages().count == 11)
    #expect(server.mostConnections > 1)
    #expect(server.mostConnections <= 8)
    #expect(try contents(of: scene.machine.appending("etc/nano.conf")) == Array("# of nano-amd64-7.2-2\n".utf8))
    #expect(try names(in: installed.path.appending(".staging")).filter { !["lock", "partial"].contains($0) } == [])
  }

  @Test func `only what is missing is fetched`() async throws {
    let scene = try await Scene(try smallSet())
    let server = try ScriptedServer.serving(scene.repository)
    defer { server.stop() }
    _ = try await scene.install("lib3", from: [server.root])
    _ = try await scene.install("nano", from: [server.root])
    _ = try await scene.install("nano", from: [server.root])
    #expect(server.count("/pkg/lib3-amd64-1.3-4.squashfs") == 1)
    #expect(server.count("/pkg/nano-amd64-7.2-2.squashfs") == 1)
  }

  enum Lie: CaseIterable, Sendable {
    case flippedByte, truncated, longer, endless, missing, html
  }

  @Test(arguments: Lie.allCases, ["lib9-amd64-1.9-10.squashfs", "lib9-amd64-1.9-10.meta.textproto"])
  func `a server that lies about one file changes nothing`(lie: Lie, file: String) async throws {
    let scene = try await Scene(try smallSet())
    let server = try ScriptedServer.serving(scene.repository) { request, body in
      guard request.path.hasSuffix(file), var body else { return nil }
      switch lie {
      case .flippedByte:
        body[body.count / 2] ^= 1
        return .ok(body)
      case .truncated: return .ok(Array(body.dropLast()))
      case .longer: return .ok(body + [0])
      case .endless: return .head("200 OK", headers: "Connection: close\r\n") + [.repeating(body)]
      case .missing: return .status("404 Not Found")
      case .html: return .ok(Array("<html>".utf8))
      }
    }
    defer { server.stop() }
    let error = try await failure { try await scene.install("nano", from: [server.root]) }
    let url = "\(server.root)/pkg/\(file)"
    let entry = try await Repository(at: scene.repository.string, transport: FileTransport(), options: .unsigned).entry(
      of: try PackageID(parsing: "lib9-amd64-1.9-10"))
    let expected = try #require(file.hasSuffix("squashfs") ? entry?.image : entry?.metadata)
    switch (lie, error) {
    case (.flippedByte, .mismatch("lib9-amd64-1.9-10", url, expected, let got)): #expect(got.byteCount == expected.byteCount)
    case (.truncated, .mismatch("lib9-amd64-1.9-10", url, expected, let got)): #expect(got.byteCount == expected.byteCount - 1)
    case (.html, .mismatch("lib9-amd64-1.9-10", url, expected, let got)): #expect(got.byteCount == 6)
    case (.longer, .tooLarge(url, expected.byteCount)), (.endless, .tooLarge(url, expected.byteCount)): break
    case (.missing, .notFound(url)): break
    default: throw error
    }
    let store = try scene.machineStore()
    #expect(try store.packages() == [])
    #expect(try names(in: store.path.appending(".staging")).filter { !["lock", "partial"].contains($0) } == [])
    #expect(try names(in: scene.machine) == ["roimg"])
    #expect(error.description.contains(url))
  }

  @Test func `an image of the right hash that is none is refused`() async throws {
    let scene = try await Scene(try smallSet())
    try write(noise(5000), to: scene.store.path.appending("lib1-amd64-1.1-2.squashfs"))
    // The index of a store with a damaged image cannot be made by publishing; the digests alone are put right here.
    let path = scene.repository.appending("pkg/meta.binaryproto")
    var index = try RepositoryIndex(serialized: try contents(of: path), subject: "index")
    let position = try #require(index.packages.firstIndex { $0.id.name == "lib1" })
    let hash = try run("sha256sum", [scene.store.path.appending("lib1-amd64-1.1-2.squashfs").string]).prefix(64)
    index.packages[position].image = .init(byteCount: 5000, sha256: try bytes(ofHexadecimal: hash))
    try write(try index.serialized(), to: path)
    let error = try await failure(StoreError.self) { try await scene.install("nano", from: [scene.repository.string]) }
    guard case .damagedImage = error else { throw error }
    #expect(try scene.machineStore().packages() == [])
  }

  @Test func `what is in etc is never changed`() async throws {
    let scene = try await Scene([
      try PackageFixture("a-amd64-1-1", files: ["etc/a/sub/b": [1], "etc/a/c": [2], "etc/link@": Array("a/c".utf8)])
    ])
    let etc = scene.machine.appending("etc")
    try FileManager.default.createDirectory(atPath: etc.appending("a").string, withIntermediateDirectories: true)
    try write([9], to: etc.appending("a/c"))
    try FileManager.default.createSymbolicLink(atPath: etc.appending("a.conf").string, withDestinationPath: "/nowhere")
    _ = try await scene.install("a", from: [scene.repository.string])
    #expect(try contents(of: etc.appending("a/c")) == [9])
    #expect(try contents(of: etc.appending("a/sub/b")) == [1])
    #expect(try FileManager.default.destinationOfSymbolicLink(atPath: etc.appending("link").string) == "a/c")
    #expect(try FileManager.default.destinationOfSymbolicLink(atPath: etc.appending("a.conf").string) == "/nowhere")
    #expect(try names(in: etc) == ["a", "a.conf", "link"])
    try FileManager.default.removeItem(atPath: etc.appending("a/sub/b").string)
    _ = try await scene.install("a", from: [scene.repository.string])
    #expect(try names(in: etc.appending("a/sub")) == [])
  }

  @Test func `a link out of the root does not lead a default out`() async throws {
    let scene = try await Scene([try PackageFixture("a-amd64-1-1", files: ["etc/out/file": [1], "etc/in/file": [1]])])
    let outside = scene.directory.path.appending("outside")
    let etc = scene.machine.appending("etc")
    for folder in [outside, etc, etc.appending("real")] {
      try FileManager.default.createDirectory(atPath: folder.string, withIntermediateDirectories: true)
    }
    try FileManager.default.createSymbolicLink(atPath: etc.appending("in").string, withDestinationPath: "real")
    try FileManager.default.createSymbolicLink(atPath: etc.appending("out").string, withDestinationPath: outside.string)
    let error = try await failure { try await scene.install("a", from: [scene.repository.string]) }
    #expect(error == .system(operation: "open", path: scene.machine.appending("etc/out"), .improperLink))
    #expect(try names(in: outside) == [])
    #expect(try scene.machineStore().packages() == [])
    try FileManager.default.removeItem(atPath: etc.appending("out").string)
    _ = try await scene.install("a", from: [scene.repository.string])
    #expect(try names(in: etc.appending("real")) == ["file"])
  }

  @Test func `debug symbols and sources need no metadata`() async throws {
    let directory = try TemporaryDirectory()
    let store = directory.path.appending("store")
    _ = try await LocalStore.make(at: store, [try PackageFixture("a-amd64-1-1")])
    for section in [LocalStore.Section.debug, .sources] {
      let made = try await LocalStore.make(at: store, [try PackageFixture("a-amd64-1-1")], section: section)
      let reports = try await Publisher(store: store, output: directory.path.appending("repo")).publish()
      #expect(reports.map(\.section).contains(section.rawValue))
      let repository = try await Repository(
        at: directory.path.appending("repo").string, section: section, transport: FileTransport(), options: .unsigned)
      let target = try LocalStore(path: directory.path.appending("machine-\(section)"), section: section)
      let installer = Installer(repositories: [repository], store: target)
      try await installer.install(try await installer.plan([try PackageQuery(parsing: "a")]))
      #expect(try target.files() == made.files())
    }
  }
}

func bytes(ofHexadecimal digits: some Collection<UInt8>) throws -> [UInt8] {
  let text = String(decoding: digits, as: UTF8.self)
  return try stride(from: 0, to: text.count, by: 2).map { offset in
    let start = text.index(text.startIndex, offsetBy: offset)
    return try #require(UInt8(text[start..<text.index(start, offsetBy: 2)], radix: 16))
  }
}
