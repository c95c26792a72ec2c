// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore
import Foundation
import Synchronization
import SystemPackage
import TestSupport
import Testing

@testable import DistriRepo

/// Copies of repositories, fetched from a real server.
@Suite struct MirrorTests {
  /// A signed repository, the machine that trusts it, and the place of its copy.
  private struct World: ~Copyable {
    let scene: Scene
    var signing: RepositorySigning

    var copy: FilePath { scene.directory.path.appending("copy") }
    var trust: TrustStore { TrustStore(path: scene.directory.path.appending("trust")) }

    private init(_ scene: consuming Scene, _ signing: RepositorySigning) {
      self.scene = scene
      self.signing = signing
    }

    static func make(_ packages: [PackageFixture]) async throws -> World {
      var signing = RepositorySigning()
      for role in RootMetadata.roleNames { signing.signers[role] = [try Simulation.signer()] }
      let world = World(try await Scene(packages), signing)
      try await world.publish()
      let root = try contents(of: world.scene.repository.appending("tuf/1.root.json"))
      try await world.trust.initialize(root: root, file: "root")
      return world
    }

    func publish() async throws {
      _ = try await Publisher(store: scene.store.path, output: scene.repository).publish()
      _ = try await MetadataPublisher(output: scene.repository, signing: signing).publish()
    }

    func mirror(_ url: String, prunes: Bool = false, verifies: Bool = false) async throws -> Mirror.Report {
      var options = Mirror.Options()
      (options.prunes, options.verifies) = (prunes, verifies)
      return try await Mirror(
        of: url, output: copy, trust: trust, transport: try StandardTransport(options: .impatient), options: options
      ).update()
    }

    /// What somebody gets who trusts the repository, and asks the copy for everything.
    func packagesOfCopy(_ name: String = "reader") async throws -> [PackageID] {
      let store = TrustStore(path: scene.directory.path.appending(name))
      if try !store.isInitialized {
        try await store.initialize(root: try contents(of: scene.repository.appending("tuf/1.root.json")), file: "root")
      }
      let client = TUFClient(store: store, metadata: copy.appending("tuf").string, transport: FileTransport())
      var trusted = try await client.refresh()
      for target in try await trusted.allTargets() {
        let path = scene.directory.path.appending("checked")
        try await trusted.download(target, from: copy.string, to: path)
      }
      return try await Repository(at: copy.string, trust: trusted, transport: FileTransport()).packages()
    }
  }

  private func files(below directory: FilePath) throws -> [String: [UInt8]] {
    let paths = try FileManager.default.subpathsOfDirectory(atPath: directory.string)
    let isFile = { (path: String) in
      var isDirectory: ObjCBool = false
      return FileManager.default.fileExists(atPath: directory.appending(path).string, isDirectory: &isDirectory)
        && !isDirectory.boolValue
    }
    return try Dictionary(
      uniqueKeysWithValues: paths.filter { !$0.hasPrefix(".") && isFile($0) }.map {
        ($0, try contents(of: directory.appending($0)))
      })
  }

  @Test func `a copy has the same files, follows, and fetches only what is new`() async throws {
    var world = try await World.make(try smallSet())
    let requests = Mutex<[String]>([])
    let server = try ScriptedServer.serving(world.scene.repository) { request, _ in
      requests.withLock { $0.append(request.path) }
      return nil
    }
    defer { server.stop() }
    let first = try await world.mirror(server.root)
    #expect(first.fileCount == 34 && first.fetchedFileCount == 33)
    #expect(try files(below: world.copy) == files(below: world.scene.repository))
    #expect(try await world.packagesOfCopy() == world.scene.store.packages())
    requests.withLock { $0 = [] }
    #expect(try await world.mirror(server.root).fetchedFileCount == 0)
    #expect(requests.withLock { $0 }.allSatisfy { $0.hasPrefix("/tuf/") })

    // Another version, another root, and a package that is gone.
    _ = try await LocalStore.make(at: world.scene.store.path, [try PackageFixture("nano-amd64-8.0-3")])
    let gone = try PackageID(parsing: "lib9-amd64-1.9-10")
    try await world.scene.store.remove([gone])
    world.signing.rotatesRoot = true
    world.signing.formerRootSigners = try #require(world.signing.signers["root"])
    world.signing.signers["root"] = [try Simulation.signer()]
    try await world.publish()
    let second = try await world.mirror(server.root)
    #expect(second.fetchedFileCount == 3 && second.removedFileCount == 0)
    #expect(try await world.packagesOfCopy() == world.scene.store.packages())
    #expect(try names(in: world.copy.appending("tuf")).contains("2.root.json"))
    #expect(try await world.packagesOfCopy("another") == world.scene.store.packages())
    // Readers of the copy before still need it; those of the one after do not.
    #expect(FileManager.default.fileExists(atPath: world.copy.appending("pkg/\(gone.imageFileName)").string))
    let third = try await world.mirror(server.root, prunes: true)
    #expect(third.removedFileCount > 0)
    let left = try names(in: world.copy.appending("pkg"))
    #expect(!left.contains { $0.contains("lib9") } && left.contains("nano-amd64.meta.textproto"))
    #expect(try await world.packagesOfCopy() == world.scene.store.packages())
  }

  @Test func `a lying server, an old repository and a damaged copy`() async throws {
    let world = try await World.make([try PackageFixture("a-amd64-1-1"), try PackageFixture("b-amd64-1-1")])
    let old = world.scene.directory.path.appending("old")
    try FileManager.default.copyItem(atPath: world.scene.repository.string, toPath: old.string)
    let lies = Mutex(false)
    let server = try ScriptedServer.serving(world.scene.repository) { request, body in
      guard lies.withLock({ $0 }), request.path.hasSuffix("c-amd64-1-1.squashfs"), let body else { return nil }
      return .ok(body.reversed())
    }
    defer { server.stop() }
    _ = try await world.mirror(server.root)
    _ = try await LocalStore.make(at: world.scene.store.path, [try PackageFixture("c-amd64-1-1")])
    try await world.publish()
    lies.withLock { $0 = true }
    let lie = try await failure { try await world.mirror(server.root) }
    guard case .untrusted(let url, .mismatch) = lie else { throw lie }
    #expect(url.hasSuffix(".c-amd64-1-1.squashfs"))
    #expect(try await world.packagesOfCopy().map(\.name) == ["a", "b"])
    lies.withLock { $0 = false }
    _ = try await world.mirror(server.root)
    #expect(try await world.packagesOfCopy().map(\.name) == ["a", "b", "c"])
    let rollback = try await failure { try await world.mirror(old.string) }
    guard case .untrusted(_, .rolledBack) = rollback else { throw rollback }
    #expect(try await world.packagesOfCopy().map(\.name) == ["a", "b", "c"])
    // A byte that changed on the disk is found when it is looked for.
    let image = world.copy.appending("pkg/b-amd64-1-1.squashfs")
    var bytes = try contents(of: image)
    bytes[bytes.count / 2] ^= 1
    let file = try FileDescriptor.open(image, .writeOnly)
    try file.closeAfter { _ = try file.writeAll(bytes) }
    #expect(try await world.mirror(server.root).fetchedFileCount == 0)
    #expect(try await world.mirror(server.root, verifies: true).fetchedFileCount == 1)
    #expect(try await world.packagesOfCopy("third").count == 3)
  }

  @Test func `a target cannot lie where the copy keeps what it trusts`() async throws {
    for path in [".trust/root.json", "tuf/timestamp.json", "pkg/.hidden", "file"] {
      let simulation = try await Simulation()
      let target = Target(path: path, byteCount: 1, sha256: [UInt8](repeating: 0, count: 32))
      simulation.targets["targets"] = TargetsMetadata(
        head: MetadataHead(version: 2, expires: UTCTime.now.advanced(by: 86_400)), targets: [target])
      let head = MetadataHead(version: 2, expires: UTCTime.now.advanced(by: 86_400))
      simulation.snapshotHead = head
      simulation.timestampHead = head
      try await simulation.publishNextRoot { $0.head.expires = head.expires }
      try await simulation.publishAll()
      let mirror = Mirror(
        of: "http://test", output: simulation.directory.path.appending("copy"), trust: simulation.store,
        transport: simulation.server)
      let error = try await failure { try await mirror.update() }
      guard case .untrusted(path, .malformed) = error else { throw error }
    }
  }

  @Test func `an unsigned repository is copied when that is asked for`() async throws {
    let scene = try await Scene(try smallSet())
    let copy = scene.directory.path.appending("copy")
    let server = try ScriptedServer.serving(scene.repository)
    defer { server.stop() }
    func run(_ words: String...) async throws -> ToolProcess.Outcome {
      try await ToolProcess.run("distri-fetch", ["mirror", "--repo", server.root, "--out", copy.string] + words)
    }
    let refused = try await run()
    #expect(refused.status == 65 && refused.errors.contains("--insecure-unsigned"), "\(refused.errors)")
    let copied = try await run("--insecure-unsigned")
    #expect(copied.status == 0 && copied.errors.contains("33 files, "), "\(copied.errors)")
    #expect(try files(below: copy) == files(below: scene.repository))
    #expect(try await run("--insecure-unsigned", "--json").output.contains("\"fetchedFileCount\" : 0"))
  }

  @Test func `a kill leaves the old copy or the new one`() async throws {
    let world = try await World.make(try ["a", "b", "c"].map { try PackageFixture("\($0)-amd64-1-1", byteCount: 3000) })
    let server = try ScriptedServer.serving(world.scene.repository)
    defer { server.stop() }
    let machine = world.scene.directory.path.appending("machine-trust")
    let environment = ["DISTRITRUST": machine.string]
    let root = world.scene.repository.appending("tuf/1.root.json").string
    #expect(
      try await ToolProcess.run("distri-fetch", ["trust", "init", root, "--repo", server.root], environment: environment).status
        == 0)
    let words = ["mirror", "--repo", server.root, "--out", world.copy.string, "--trust", machine.string, "--prune"]
    #expect(try await ToolProcess.run("distri-fetch", words).status == 0)
    var killed = 0
    var last = try world.scene.store.packages()
    for number in 1...8 {
      _ = try await LocalStore.make(at: world.scene.store.path, [try PackageFixture("new\(number)-amd64-1-1", byteCount: 20_000)])
      try await world.publish()
      let child = try spawn("distri-fetch", words)
      // The moment is to be any.
      try await Task.sleep(for: .milliseconds(number * 20))
      kill(child, SIGKILL)
      if waitFor(child) == SIGKILL { killed += 1 }
      let seen = try await world.packagesOfCopy("reader\(number)")
      #expect(try seen == last || seen == world.scene.store.packages())
      last = seen
    }
    #expect(killed > 0)
    #expect(try await ToolProcess.run("distri-fetch", words).status == 0)
    #expect(try await world.packagesOfCopy() == world.scene.store.packages())
    let paths = try FileManager.default.subpathsOfDirectory(atPath: world.copy.string)
    #expect(paths.filter { $0.hasSuffix(".part") || $0.contains(".publishing-") } == [])
  }
}
