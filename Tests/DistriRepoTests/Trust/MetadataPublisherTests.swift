// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore
import Foundation
import SystemPackage
import TestSupport
import Testing

@testable import DistriRepo

/// Signing what was published.
@Suite struct MetadataPublisherTests {
  private static let time = UTCTime(seconds: 1_800_000_000)

  private func signing(_ signers: [String: [any Signer]]? = nil, now: UTCTime = time) throws -> RepositorySigning {
    var signing = RepositorySigning(now: now)
    signing.signers = try signers ?? Dictionary(uniqueKeysWithValues: SignedScene.roles.map { ($0, [try Simulation.signer()]) })
    return signing
  }

  private func publish(_ scene: borrowing Scene, _ signing: RepositorySigning) async throws -> MetadataPublisher.Report {
    _ = try await Publisher(store: scene.store.path, output: scene.repository).publish()
    return try await MetadataPublisher(output: scene.repository, signing: signing).publish()
  }

  private func client(_ scene: borrowing Scene, _ name: String = "trust", now: UTCTime = time) async throws -> TUFClient {
    let store = TrustStore(path: scene.directory.path.appending(name))
    if try !store.isInitialized {
      try await store.initialize(root: try contents(of: scene.repository.appending("tuf/1.root.json")), file: "root")
    }
    var options = TUFClient.Options()
    options.now = { now }
    return TUFClient(store: store, metadata: scene.repository.appending("tuf").string, transport: FileTransport(), options: options)
  }

  private func new(_ report: MetadataPublisher.Report) -> [String] { report.roles.filter(\.isNew).map(\.name) }

  @Test func `all that is published is signed, and each file has the name of its hash`() async throws {
    let scene = try await Scene(try smallSet())
    let signing = try signing()
    #expect(new(try await publish(scene, signing)) == ["root", "pkg", "targets", "snapshot", "timestamp"])
    var repository = try await client(scene).refresh()
    let index = try RepositoryIndex(
      serialized: try contents(of: scene.repository.appending("pkg/meta.binaryproto")), subject: "index")
    for package in try scene.store.packages() {
      for name in [package.imageFileName, package.metadataFileName] {
        let target = try await repository.target("pkg/\(name)")
        let plain = scene.repository.appending("pkg/\(name)")
        #expect(try await repository.bytes(of: target, from: scene.repository.string, limit: 1 << 24) == contents(of: plain))
        let named = try #require(try Files.status(of: scene.repository.appending(target.consistentPath)))
        let original = try #require(try Files.status(of: plain))
        #expect(named.isSameFile(as: original))
        if name == package.imageFileName, case .string(let root)? = target.custom?["tree"] {
          #expect(root == index.packages.first { $0.id == package }?.treeRoot?.hexadecimal)
        } else {
          #expect(name != package.imageFileName && target.custom == nil)
        }
      }
    }
    #expect(
      try names(in: scene.repository.appending("tuf")) == [
        "1.pkg.json", "1.root.json", "1.snapshot.json", "1.targets.json", "root.json", "timestamp.json",
      ])
    // Nothing changed: nothing is signed, no byte is written.
    let before = try bytes(below: scene.repository)
    #expect(new(try await publish(scene, signing)) == [])
    #expect(try bytes(below: scene.repository) == before)
  }

  @Test func `the same store, keys and time give the same bytes`() async throws {
    let scene = try await Scene(try smallSet())
    let signing = try signing()
    _ = try await publish(scene, signing)
    let again = scene.directory.path.appending("again")
    _ = try await Publisher(store: scene.store.path, output: again, maximumTasks: 1).publish()
    _ = try await MetadataPublisher(output: again, signing: signing).publish()
    #expect(try bytes(below: again) == bytes(below: scene.repository))
  }

  private func bytes(below directory: FilePath) throws -> [String: [UInt8]] {
    let paths = try FileManager.default.subpathsOfDirectory(atPath: directory.string)
    return try Dictionary(
      uniqueKeysWithValues: paths.compactMap { path in
        var isDirectory: ObjCBool = false
        let full = directory.appending(path)
        _ = FileManager.default.fileExists(atPath: full.string, isDirectory: &isDirectory)
        return isDirectory.boolValue ? nil : (path, try contents(of: full))
      })
  }

  private func add(_ package: String, to scene: borrowing Scene) async throws {
    _ = try await LocalStore.make(at: scene.store.path, [try PackageFixture(package)])
  }

  @Test func `only what changed is signed again, and old indexes stay for a while`() async throws {
    let scene = try await Scene([try PackageFixture("nano-amd64-1-1")])
    var signing = try signing()
    signing.keptSnapshotCount = 2
    _ = try await publish(scene, signing)
    // The machine is in the middle of the first snapshot when the second appears.
    var reader = try await client(scene).refresh()
    let target = try await reader.target("pkg/meta.binaryproto")
    // The root's key is not needed any more.
    signing.signers["root"] = nil
    try await add("nano-amd64-1-2", to: scene)
    #expect(new(try await publish(scene, signing)) == ["pkg", "targets", "snapshot", "timestamp"])
    let old = try await reader.bytes(of: target, from: scene.repository.string, limit: 1 << 20)
    #expect(try RepositoryIndex(serialized: old, subject: "old").packages.count == 1)
    #expect(try await Repository(at: scene.repository.string, trust: reader, transport: FileTransport()).packages().count == 1)
    let fresh = try await client(scene).refresh()
    #expect(try await Repository(at: scene.repository.string, trust: fresh, transport: FileTransport()).packages().count == 2)
    try await add("nano-amd64-1-3", to: scene)
    _ = try await publish(scene, signing)
    #expect(!FileManager.default.fileExists(atPath: scene.repository.appending(target.consistentPath).string))
    #expect(
      try names(in: scene.repository.appending("tuf")) == [
        "1.root.json", "2.pkg.json", "2.snapshot.json", "2.targets.json", "3.pkg.json", "3.snapshot.json", "3.targets.json",
        "root.json", "timestamp.json",
      ])
  }

  @Test func `what has lived half its time is signed anew`() async throws {
    let scene = try await Scene([try PackageFixture("nano-amd64-1-1")])
    var signing = try signing()
    _ = try await publish(scene, signing)
    signing.now = Self.time.advanced(by: 86_400 * 3)
    #expect(new(try await publish(scene, signing)) == [])
    signing.now = Self.time.advanced(by: 86_400 * 4)
    #expect(new(try await publish(scene, signing)) == ["timestamp"])
    signing.now = Self.time.advanced(by: 86_400 * 20)
    #expect(new(try await publish(scene, signing)) == ["snapshot", "timestamp"])
    _ = try await client(scene, now: Self.time.advanced(by: 86_400 * 26)).refresh()
  }

  @Test func `keys are replaced by a root that the old and the new ones sign`() async throws {
    let scene = try await Scene([try PackageFixture("nano-amd64-1-1")])
    let old = try signing()
    _ = try await publish(scene, old)
    _ = try await client(scene).refresh()
    var new = try signing()
    new.rotatesRoot = true
    let alone = try await failure { try await publish(scene, new) }
    #expect(alone == .untrusted(file: "2.root.json", .tooFewSignatures(role: "root", valid: 0, threshold: 1)))
    new.formerRootSigners = old.signers["root"] ?? []
    #expect(self.new(try await publish(scene, new)) == ["root", "pkg", "targets", "snapshot", "timestamp"])
    new.rotatesRoot = false
    new.formerRootSigners = []
    #expect(self.new(try await publish(scene, new)) == [])
    let repository = try await client(scene).refresh()
    #expect(repository.root.head.version == 2)
    _ = try await Repository(at: scene.repository.string, trust: repository, transport: FileTransport())
    // The old keys are worth nothing now.
    let late = try await failure { try await publish(scene, old) }
    guard case .signing("pkg", _) = late else {
      guard case .signing = late else {
        Issue.record("\(late)")
        return
      }
      return
    }
  }

  @Test func `a root for which not all can be signed is not published`() async throws {
    let scene = try await Scene([try PackageFixture("nano-amd64-1-1")])
    let old = try signing()
    _ = try await publish(scene, old)
    let before = try bytes(below: scene.repository)
    // New keys for targets need a new snapshot, and nobody can sign that.
    var new = try signing(["root": old.signers["root"] ?? [], "targets": [try Simulation.signer()]])
    new.rotatesRoot = true
    let error = try await failure { try await publish(scene, new) }
    guard case .signing("snapshot", _) = error else {
      Issue.record("\(error)")
      return
    }
    #expect(try bytes(below: scene.repository) == before)
    new = old
    new.rotatesRoot = true
    new.thresholds["timestamp"] = 2
    let unreachable = try await failure { try await publish(scene, new) }
    guard case .signing("timestamp", _) = unreachable else {
      Issue.record("\(unreachable)")
      return
    }
    #expect(try bytes(below: scene.repository) == before)
  }

  @Test func `thresholds are kept to`() async throws {
    let scene = try await Scene([try PackageFixture("nano-amd64-1-1")])
    var signing = try signing()
    signing.signers["root"]?.append(try Simulation.signer())
    signing.signers["timestamp"]?.append(try Simulation.signer())
    signing.thresholds = ["root": 2, "timestamp": 2]
    _ = try await publish(scene, signing)
    #expect(try await client(scene).refresh().root.role("timestamp").threshold == 2)
    signing.signers["timestamp"]?.removeLast()
    signing.now = Self.time.advanced(by: 86_400 * 6)
    let error = try await failure { try await publish(scene, signing) }
    #expect(
      error == .signing(key: "timestamp", reason: "1 of the keys that the root names for it are given, 2 are needed"))
  }

  @Test func `missing keys are named`() async throws {
    let scene = try await Scene([try PackageFixture("nano-amd64-1-1")])
    var signing = try signing()
    signing.signers["snapshot"] = nil
    let error = try await failure { try await publish(scene, signing) }
    guard case .signing("snapshot", _) = error else {
      Issue.record("\(error)")
      return
    }
    #expect(try names(in: scene.repository.appending("tuf")) == [])
  }

  @Test func `a kill at any file leaves the old repository or the new one`() async throws {
    let scene = try await Scene([try PackageFixture("nano-amd64-1-1")])
    let signing = try signing()
    _ = try await publish(scene, signing)
    try await add("nano-amd64-1-2", to: scene)
    _ = try await Publisher(store: scene.store.path, output: scene.repository).publish()
    let before = try bytes(below: scene.repository)
    _ = try await MetadataPublisher(output: scene.repository, signing: signing).publish()
    let after = try bytes(below: scene.repository)
    // In the order in which they are written; the timestamp decides.
    let written = ["tuf/2.pkg.json", "tuf/2.targets.json", "tuf/2.snapshot.json", "tuf/timestamp.json"]
    let named = after.keys.filter { before[$0] == nil && $0.hasPrefix("pkg/") }
    for count in 0...written.count {
      let copy = scene.directory.path.appending("copy\(count)")
      var state = before
      for path in named + written.prefix(count) { state[path] = after[path] }
      for (path, bytes) in state {
        let file = copy.appending(path)
        try FileManager.default.createDirectory(
          atPath: file.removingLastComponent().string, withIntermediateDirectories: true)
        try write(bytes, to: file)
      }
      var options = TUFClient.Options()
      options.now = { Self.time }
      let store = TrustStore(path: copy.appending("trust"))
      try await store.initialize(root: try #require(after["tuf/1.root.json"]), file: "root")
      let client = TUFClient(store: store, metadata: copy.appending("tuf").string, transport: FileTransport(), options: options)
      let trust = try await client.refresh()
      let repository = try await Repository(at: copy.string, trust: trust, transport: FileTransport())
      #expect(repository.packages().count == (count == written.count ? 2 : 1))
      // The next publication goes on from there.
      _ = try await MetadataPublisher(output: copy, signing: signing).publish()
      let fresh = try await client.refresh()
      #expect(try await Repository(at: copy.string, trust: fresh, transport: FileTransport()).packages().count == 2)
    }
  }

  @Test func `debug symbols and sources have roles of their own`() async throws {
    let scene = try await Scene([try PackageFixture("nano-amd64-1-1")])
    _ = try await LocalStore.make(at: scene.store.path, [try PackageFixture("nano-amd64-1-1")], section: .debug)
    var signing = try signing()
    signing.signers["debug"] = [try Simulation.signer()]
    #expect(new(try await publish(scene, signing)) == ["root", "pkg", "debug", "targets", "snapshot", "timestamp"])
    var repository = try await client(scene).refresh()
    _ = try await repository.target("debug/nano-amd64-1-1.squashfs")
    let section = try await Repository(
      at: scene.repository.string, section: .debug, trust: repository, transport: FileTransport())
    #expect(section.packages().count == 1)
    let none = try await failure {
      try await Repository(at: scene.repository.string, section: .sources, trust: repository, transport: FileTransport())
    }
    #expect(none == .untrusted(file: "src/meta.binaryproto", .noSuchTarget))
  }

  @Test func `an index that was changed on the server is refused, and so is a repository without metadata`() async throws {
    let scene = try await Scene([try PackageFixture("nano-amd64-1-1")])
    _ = try await publish(scene, try signing())
    let trust = try await client(scene).refresh()
    let index = try #require(
      try names(in: scene.repository.appending("pkg")).first { $0.hasSuffix(".meta.binaryproto") })
    try FileManager.default.removeItem(atPath: scene.repository.appending("pkg/\(index)").string)
    var bytes = try contents(of: scene.repository.appending("pkg/meta.binaryproto"))
    bytes[bytes.count - 1] ^= 1
    try write(bytes, to: scene.repository.appending("pkg/\(index)"))
    let error = try await failure {
      try await Repository(at: scene.repository.string, trust: trust, transport: FileTransport())
    }
    guard case .untrusted(_, .mismatch) = error else {
      Issue.record("\(error)")
      return
    }
    let unsigned = try await failure { try await Repository(at: scene.repository.string, transport: FileTransport()) }
    #expect(unsigned == .unsigned(repository: scene.repository.string))
  }
}

/// What tests of signed repositories share.
enum SignedScene {
  static let roles = ["root", "targets", "snapshot", "timestamp"]
}
