// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore
import Foundation
import TestSupport
import Testing

@testable import DistriRepo

/// Refreshing, and what honest repositories do.
@Suite struct ClientTests {
  @Test func `the first refresh asks in the specification's order and stores what it trusts`() async throws {
    let scene = try await Simulation()
    let repository = try await scene.refresh()
    #expect(
      scene.server.takeRequests() == ["tuf/2.root.json", "tuf/timestamp.json", "tuf/1.snapshot.json", "tuf/1.targets.json"])
    #expect(try names(in: scene.store.path) == ["root.json", "snapshot.json", "targets.json", "timestamp.json"])
    #expect(try contents(of: scene.store.path.appending("targets.json")) == scene.server["tuf/1.targets.json"])
    #expect(repository.heads.map(\.role) == ["root", "timestamp", "snapshot", "targets"])
    // Nothing is fetched twice.
    try await scene.refresh()
    #expect(scene.server.takeRequests() == ["tuf/2.root.json", "tuf/timestamp.json"])
  }

  @Test func `only what changed is fetched`() async throws {
    let scene = try await Simulation()
    try await scene.refresh()
    scene.snapshotHead.version += 1
    scene.timestampHead.version += 1
    try await scene.publishAll()
    try await scene.refresh()
    #expect(scene.server.takeRequests() == ["tuf/2.root.json", "tuf/timestamp.json", "tuf/2.snapshot.json"])
  }

  @Test func `a chain of roots is followed one by one`() async throws {
    let scene = try await Simulation()
    for _ in 0..<3 { try await scene.publishNextRoot { try scene.rotate("root", count: 3, threshold: 2) } }
    try await scene.refresh()
    #expect(
      scene.server.takeRequests().prefix(4) == ["tuf/2.root.json", "tuf/3.root.json", "tuf/4.root.json", "tuf/5.root.json"])
    #expect(try scene.stored("root") == 4)
    try await scene.refresh()
    #expect(scene.server.takeRequests().first == "tuf/5.root.json")
  }

  @Test func `a root in the middle may have expired`() async throws {
    let scene = try await Simulation()
    try await scene.publishNextRoot { $0.head.expires = scene.now.advanced(by: -1) }
    try await scene.publishNextRoot { $0.head.expires = scene.now.advanced(by: 1) }
    try await scene.refresh()
    #expect(try scene.stored("root") == 3)
  }

  @Test func `old local metadata that has expired is still what later versions are measured by`() async throws {
    let scene = try await Simulation()
    scene.timestampHead.version = 5
    try await scene.publishTimestamp()
    try await scene.refresh()
    let later = scene.now.advanced(by: 2 * 86_400)
    scene.clientOptions.now = { later }
    for role in RootMetadata.roleNames where role != "root" {
      let head = MetadataHead(version: 6, expires: later.advanced(by: 60))
      if role == "targets" { scene.targets["targets"]?.head = head }
      if role == "snapshot" { scene.snapshotHead = head }
      if role == "timestamp" { scene.timestampHead = MetadataHead(version: 4, expires: head.expires) }
    }
    try await scene.publishNextRoot { $0.head.expires = later.advanced(by: 60) }
    try await scene.publishAll()
    #expect(try await scene.refusal().failure == .rolledBack(trusted: 5, offered: 4))
    scene.timestampHead.version = 6
    try await scene.publishTimestamp()
    try await scene.refresh()
    #expect(try scene.stored("timestamp") == 6)
    #expect(try scene.stored("targets") == 6)
  }

  @Test func `after its keys were replaced, a timestamp may start again`() async throws {
    let scene = try await Simulation()
    scene.timestampHead.version = 1 << 62
    try await scene.publishTimestamp()
    try await scene.refresh()
    try await scene.publishNextRoot { try scene.rotate("timestamp") }
    scene.timestampHead.version = 1
    try await scene.publishTimestamp()
    try await scene.refresh()
    #expect(try scene.stored("timestamp") == 1)
  }

  @Test func `after the keys of snapshot and timestamp were replaced, snapshots may start again`() async throws {
    let scene = try await Simulation()
    scene.snapshotHead.version = .max
    scene.timestampHead.version = 2
    try await scene.publishAll()
    try await scene.refresh()
    scene.snapshotHead.version = 1
    scene.timestampHead.version = 3
    try await scene.publishAll()
    #expect(try await scene.refusal().failure == .rolledBack(trusted: .max, offered: 1))
    try await scene.publishNextRoot {
      try scene.rotate("timestamp")
      try scene.rotate("snapshot")
    }
    try await scene.publishAll()
    try await scene.refresh()
    #expect(try scene.stored("snapshot") == 1)
  }

  @Test func `after the snapshot's keys were replaced, targets may start again`() async throws {
    let scene = try await Simulation()
    scene.targets["targets"]?.head.version = 100
    try await scene.publishNext()
    try await scene.refresh()
    #expect(try scene.stored("targets") == 101)
    try await scene.publishNextRoot { try scene.rotate("snapshot") }
    scene.targets["targets"]?.head.version = 1
    try await scene.publishNext()
    try await scene.refresh()
    #expect(try scene.stored("targets") == 2)
  }

  @Test(arguments: PrivateKey.Kind.allCases) func `all kinds of keys sign all roles`(kind: PrivateKey.Kind) async throws {
    let scene = try await Simulation(kind: kind)
    try await scene.refresh()
    #expect(try scene.stored("targets") == 1)
  }

  @Test func `without consistent snapshots, names have no versions`() async throws {
    let scene = try await Simulation()
    try await scene.publishNextRoot { $0.hasConsistentSnapshots = false }
    for role in ["snapshot", "targets"] {
      scene.server["tuf/\(role).json"] = scene.server["tuf/1.\(role).json"]
      scene.server["tuf/1.\(role).json"] = nil
    }
    try await scene.refresh()
    #expect(
      scene.server.takeRequests().suffix(3) == ["tuf/timestamp.json", "tuf/snapshot.json", "tuf/targets.json"])
  }

  @Test func `members that nobody knows are signed like all others`() async throws {
    let scene = try await Simulation()
    var signed = scene.root.signed
    signed["version"] = .integer(2)
    signed["x-extension"] = .object(["b": .array([.null, .string("é\n")]), "a": .integer(-1)])
    guard case .object(var keys)? = signed["keys"], let member = keys.members.first, case .object(var key) = member.value else {
      throw NothingThrown()
    }
    key["x-owner"] = .string("me")
    keys[member.name] = .object(key)
    signed["keys"] = .object(keys)
    try await scene.serve("tuf/2.root.json", signed, signedBy: try #require(scene.signers["root"]))
    try await scene.refresh()
    #expect(try scene.stored("root") == 2)
    // A new root keeps them.
    let root = try scene.store.root()
    #expect(JSONValue.object(root.signed).canonical == JSONValue.object(signed).canonical)
    try scene.tamper("tuf/2.root.json") { $0["x-extension"] = nil }
    let fresh = TrustStore(path: scene.directory.path.appending("other"))
    try await fresh.initialize(root: try #require(scene.server["tuf/1.root.json"]), file: "root")
    let error = try await failure {
      try await TUFClient(
        store: fresh, metadata: "http://test/tuf", transport: scene.server, options: scene.clientOptions
      ).refresh()
    }
    guard case .untrusted(_, .tooFewSignatures(role: "root", valid: 0, threshold: 1)) = error else {
      Issue.record("\(error)")
      return
    }
  }

  @Test func `whatever a kill or a disk leaves of the stored files, the next refresh makes good`() async throws {
    let scene = try await Simulation()
    try await scene.refresh()
    for role in ["timestamp", "snapshot", "targets"] {
      for damage in [[], Array("{}".utf8), noise(1000), nil] as [[UInt8]?] {
        let path = scene.store.path.appending("\(role).json")
        if let damage { try write(damage, to: path) } else { try FileManager.default.removeItem(atPath: path.string) }
        try write(noise(10), to: scene.store.path.appending(".publishing-\(role).json"))
        try await scene.refresh()
        #expect(try scene.stored(role) == 1)
        #expect(try names(in: scene.store.path) == ["root.json", "snapshot.json", "targets.json", "timestamp.json"])
      }
    }
    try write([], to: scene.store.path.appending("root.json"))
    let error = try await failure { try await scene.refresh() }
    guard case .untrusted(_, .malformed) = error else {
      Issue.record("\(error)")
      return
    }
    #expect(scene.server.takeRequests() == [])
  }

  @Test func `a root is trusted once, and only one that its own keys have signed`() async throws {
    let scene = try await Simulation()
    let other = try await Simulation()
    let root = try #require(other.server["tuf/1.root.json"])
    let error = try await failure { try await scene.store.initialize(root: root, file: "root") }
    guard case .system(_, _, .fileExists) = error else {
      Issue.record("\(error)")
      return
    }
    try await scene.store.initialize(root: root, file: "root", replacing: true)
    #expect(try await scene.refusal().failure == .tooFewSignatures(role: "timestamp", valid: 0, threshold: 1))
    try other.tamper("tuf/1.root.json") { $0["version"] = .integer(7) }
    let bad = try #require(other.server["tuf/1.root.json"])
    let refused = try await failure { try await scene.store.initialize(root: bad, file: "bad", replacing: true) }
    #expect(refused == .untrusted(file: "bad", .tooFewSignatures(role: "root", valid: 0, threshold: 1)))
    let empty = TUFClient(
      store: TrustStore(path: scene.directory.path.appending("none")), metadata: "http://test/tuf", transport: scene.server)
    let uninitialized = try await failure { try await empty.refresh() }
    guard case .untrusted(_, .notInitialized) = uninitialized else {
      Issue.record("\(uninitialized)")
      return
    }
  }

  @Test func `refreshes at the same time wait for each other`() async throws {
    let scene = try await Simulation()
    let client = scene.client
    try await withThrowingTaskGroup(of: Void.self) { group in
      for _ in 0..<20 { group.addTask { _ = try await client.refresh() } }
      try await group.waitForAll()
    }
    #expect(scene.server.takeRequests().filter { $0 == "tuf/1.targets.json" }.count == 1)
    let lock = try Files.lock(scene.store.path)
    defer { try? lock.close() }
    scene.clientOptions.lockTimeLimit = .milliseconds(1)
    let error = try await failure(StoreError.self) { try await scene.refresh() }
    #expect(error == .locked(scene.store.path, holder: nil))
    // Who only reads waits for nobody, and changes nothing.
    scene.clientOptions.isReadOnly = true
    try await scene.publishNext()
    let repository = try await scene.refresh()
    #expect(repository.heads.last?.head.version == 2)
    #expect(try scene.stored("targets") == 1)
  }

  @Test func `an answer that there is no next root ends the chain, a failure does not`() async throws {
    let scene = try await Simulation()
    let server = scene.server
    let http = try ScriptedServer { request in
      if request.path == "/tuf/2.root.json" { return .status("403 Forbidden") }
      return server[String(request.path.dropFirst())].map { .ok($0) } ?? .status("500 Oops")
    }
    defer { http.stop() }
    let client = TUFClient(
      store: scene.store, metadata: "\(http.root)/tuf", transport: try StandardTransport(options: .impatient),
      options: scene.clientOptions)
    _ = try await client.refresh()
    #expect(try scene.stored("targets") == 1)
    try await scene.publishNextRoot()
    scene.server["tuf/3.root.json"] = nil
    let bad = try ScriptedServer { request in
      request.path == "/tuf/2.root.json" ? .status("500 Oops") : server[String(request.path.dropFirst())].map { .ok($0) } ?? .close
    }
    defer { bad.stop() }
    let error = try await failure {
      try await TUFClient(
        store: scene.store, metadata: "\(bad.root)/tuf", transport: try StandardTransport(options: .impatient),
        options: scene.clientOptions
      ).refresh()
    }
    #expect(error == .transferFailed(url: "\(bad.root)/tuf/2.root.json", .status(500)))
  }
}

extension [ScriptedServer.Step] {
  /// No answer at all.
  fileprivate static var close: Self { [.close] }
}
