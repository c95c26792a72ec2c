// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import Foundation
import Synchronization
import TestSupport
import Testing

@testable import DistriRepo

/// What servers may try, and what stays as it was.
@Suite struct AttackTests {
  /// The machine knows version 1 of everything, and the repository has signed version 2.
  private func scene() async throws -> Simulation {
    let scene = try await Simulation()
    try await scene.refresh()
    try await scene.publishNext()
    return scene
  }

  private func expectOld(_ scene: Simulation, _ roles: [String]) throws {
    for role in roles { #expect(try scene.stored(role) == 1, "\(role)") }
  }

  // MARK: Root

  @Test func `a root that the old keys have not signed is refused`() async throws {
    let scene = try await scene()
    scene.root.head.version = 2
    try scene.rotate("root")
    try await scene.publishRoot()
    let (file, failure) = try await scene.refusal()
    #expect(file == "2.root.json")
    #expect(failure == .tooFewSignatures(role: "root", valid: 0, threshold: 1))
    try expectOld(scene, RootMetadata.roleNames)
  }

  @Test func `a root that its own keys have not signed is refused`() async throws {
    let scene = try await scene()
    let old = try #require(scene.signers["root"])
    scene.root.head.version = 2
    try scene.rotate("root", count: 2, threshold: 2)
    try await scene.serve("tuf/2.root.json", scene.root.signed, signedBy: old + [try #require(scene.signers["root"]?.first)])
    #expect(try await scene.refusal().failure == .tooFewSignatures(role: "root", valid: 1, threshold: 2))
    try expectOld(scene, RootMetadata.roleNames)
  }

  @Test(arguments: [1, 3, .max]) func `a root of another version than the next is refused`(version: Int64) async throws {
    let scene = try await scene()
    scene.root.head.version = version
    try await scene.serve("tuf/2.root.json", scene.root.signed, signedBy: try #require(scene.signers["root"]))
    #expect(try await scene.refusal().failure == .wrongVersion(expected: 2, got: version))
    try expectOld(scene, RootMetadata.roleNames)
  }

  @Test func `the last root must not have expired, and then nothing else is asked for`() async throws {
    let scene = try await scene()
    let expiry = scene.now
    try await scene.publishNextRoot { $0.head.expires = expiry }
    #expect(try await scene.refusal() == ("2.root.json", .expired(expiry)))
    #expect(scene.server.takeRequests() == ["tuf/2.root.json", "tuf/3.root.json"])
    #expect(try scene.stored("root") == 2)
    try expectOld(scene, ["timestamp", "snapshot", "targets"])
  }

  @Test func `roots without end are followed to a limit`() async throws {
    let scene = try await scene()
    for _ in 0..<4 { try await scene.publishNextRoot() }
    scene.clientOptions.maximumRootRotations = 3
    #expect(try await scene.refusal().failure == .tooMany("new roots", limit: 3))
    // What verified is kept, so that the next refresh goes on there.
    #expect(try scene.stored("root") == 4)
    try await scene.refresh()
    #expect(try scene.stored("root") == 5)
  }

  // MARK: Timestamp

  @Test func `an older timestamp is refused`() async throws {
    let scene = try await scene()
    let old = scene.server["tuf/timestamp.json"]
    try await scene.publishNext()
    try await scene.refresh()
    scene.server["tuf/timestamp.json"] = old
    #expect(try await scene.refusal() == ("timestamp.json", .rolledBack(trusted: 3, offered: 2)))
    #expect(try scene.stored("timestamp") == 3)
  }

  @Test func `another timestamp of the same version changes nothing`() async throws {
    let scene = try await scene()
    let trusted = try contents(of: scene.store.path(of: "timestamp"))
    scene.timestampHead.version = 1
    try await scene.publishTimestamp()
    try await scene.refresh()
    #expect(try contents(of: scene.store.path(of: "timestamp")) == trusted)
    try expectOld(scene, RootMetadata.roleNames)
  }

  @Test func `a timestamp that leads back to an older snapshot is refused`() async throws {
    let scene = try await scene()
    try await scene.refresh()
    scene.snapshotInfo.version = 1
    scene.timestampHead.version = 3
    try await scene.publishTimestamp()
    #expect(try await scene.refusal() == ("timestamp.json: snapshot", .rolledBack(trusted: 2, offered: 1)))
    #expect(try scene.stored("timestamp") == 2)
  }

  @Test func `a frozen repository is noticed when its timestamp expires`() async throws {
    let scene = try await scene()
    scene.timestampHead.expires = scene.now.advanced(by: 1)
    try await scene.publishTimestamp()
    try await scene.refresh()
    let later = scene.now.advanced(by: 1)
    scene.clientOptions.now = { later }
    #expect(try await scene.refusal() == ("timestamp.json", .expired(later)))
    scene.timestampHead.version += 1
    scene.timestampHead.expires = later
    try await scene.publishTimestamp()
    #expect(try await scene.refusal() == ("timestamp.json", .expired(later)))
    #expect(try scene.stored("timestamp") == 2)
  }

  // MARK: Snapshot and targets

  @Test(arguments: ["snapshot", "targets"]) func `a changed file is refused by its hash`(role: String) async throws {
    let scene = try await scene()
    let file = "tuf/2.\(role).json"
    var bytes = try #require(scene.server[file])
    // A space: the signed content and the signatures stay valid.
    bytes[bytes.count - 1] = UInt8(ascii: " ")
    scene.server[file] = bytes
    let (name, failure) = try await scene.refusal()
    #expect(name == "2.\(role).json")
    guard case .mismatch = failure else {
      Issue.record("\(failure)")
      return
    }
    try expectOld(scene, role == "targets" ? ["targets"] : ["snapshot", "targets"])
  }

  @Test(arguments: ["snapshot", "targets"]) func `a file of another version than promised is refused`(role: String) async throws {
    let scene = try await scene()
    // Without hashes, the version alone ties them together: a mix of two snapshots.
    scene.server["tuf/2.\(role).json"] = scene.server["tuf/1.\(role).json"]
    scene.listed["targets"]?.length = nil
    scene.listed["targets"]?.hashes = nil
    if role == "targets" { try await scene.publishSnapshot() }
    scene.snapshotInfo.length = nil
    scene.snapshotInfo.hashes = nil
    try await scene.publishTimestamp()
    #expect(try await scene.refusal().failure == .wrongVersion(expected: 2, got: 1))
    try expectOld(scene, role == "targets" ? ["targets"] : ["snapshot", "targets"])
  }

  @Test func `targets that go back in a newer snapshot are refused`() async throws {
    let scene = try await scene()
    try await scene.refresh()
    scene.listed["targets"] = MetadataFileInfo(version: 1, bytes: try #require(scene.server["tuf/1.targets.json"]))
    scene.snapshotHead.version += 1
    scene.timestampHead.version += 1
    try await scene.publishSnapshot()
    try await scene.publishTimestamp()
    #expect(try await scene.refusal() == ("3.snapshot.json: targets.json", .rolledBack(trusted: 2, offered: 1)))
    #expect(try scene.stored("snapshot") == 2)
  }

  @Test func `a role that a newer snapshot no longer has is refused`() async throws {
    let scene = try await scene()
    scene.listed["extra"] = MetadataFileInfo(version: 1, bytes: [])
    try await scene.publishSnapshot()
    try await scene.publishTimestamp()
    try await scene.refresh()
    scene.listed["extra"] = nil
    scene.snapshotHead.version += 1
    scene.timestampHead.version += 1
    try await scene.publishSnapshot()
    try await scene.publishTimestamp()
    #expect(try await scene.refusal() == ("3.snapshot.json: extra.json", .notInSnapshot))
    scene.listed["targets"] = nil
    scene.listed["extra"] = MetadataFileInfo(version: 1, bytes: [])
    try FileManager.default.removeItem(atPath: scene.store.path(of: "snapshot").string)
    try await scene.publishSnapshot()
    scene.timestampHead.version += 1
    try await scene.publishTimestamp()
    #expect(try await scene.refusal() == ("targets.json", .notInSnapshot))
  }

  @Test(arguments: ["snapshot", "targets"]) func `a file that has expired is refused`(role: String) async throws {
    let scene = try await scene()
    let expiry = scene.now.advanced(by: -5)
    if role == "snapshot" { scene.snapshotHead.expires = expiry } else { scene.targets["targets"]?.head.expires = expiry }
    try await scene.publishAll()
    #expect(try await scene.refusal() == ("2.\(role).json", .expired(expiry)))
    try expectOld(scene, role == "targets" ? ["targets"] : ["snapshot", "targets"])
  }

  @Test(arguments: ["timestamp", "snapshot", "targets"]) func `a file that another role has signed is refused`(role: String)
    async throws
  {
    let scene = try await scene()
    let others = RootMetadata.roleNames.filter { $0 != role }.compactMap { scene.signers[$0]?.first }
    scene.signers[role] = others
    try await scene.publishAll()
    #expect(try await scene.refusal().failure == .tooFewSignatures(role: role, valid: 0, threshold: 1))
  }

  @Test func `metadata of another type is refused, though the right key has signed it`() async throws {
    let scene = try await Simulation()
    let one = try #require(scene.signers["timestamp"])
    try await scene.publishNextRoot { root in
      for role in ["timestamp", "snapshot", "targets"] {
        scene.signers[role] = one
        root.delegate(role, to: one.map(\.key), threshold: 1)
      }
    }
    let snapshot = SnapshotMetadata(head: scene.snapshotHead, files: scene.listed).signed
    try await scene.serve("tuf/timestamp.json", snapshot, signedBy: one)
    let (_, failure) = try await scene.refusal()
    #expect(failure == .malformed(place: "signed._type", reason: "is «snapshot» where «timestamp» is expected"))
  }

  // MARK: Data without end

  @Test(arguments: [
    "tuf/2.root.json", "tuf/timestamp.json", "tuf/2.snapshot.json", "tuf/2.targets.json",
  ])
  func `a server that sends without end is cut off`(victim: String) async throws {
    let scene = try await scene()
    let files = scene.server
    let sent = Mutex(0)
    let http = try ScriptedServer { request in
      let path = String(request.path.dropFirst())
      if path == victim {
        sent.withLock { $0 += 1 }
        return .head("200 OK", headers: "") + [.repeating(Array(repeating: 0x20, count: 4096))]
      }
      return files[path].map { .ok($0) } ?? .status("404 Not Found")
    }
    defer { http.stop() }
    let client = TUFClient(
      store: scene.store, metadata: "\(http.root)/tuf", transport: try StandardTransport(options: .impatient),
      options: scene.clientOptions)
    let error = try await DistriRepoTests.failure { try await client.refresh() }
    guard case .tooLarge(url: "\(http.root)/\(victim)", let limit) = error else {
      Issue.record("\(error)")
      return
    }
    #expect(limit <= 512 << 10)
    #expect(sent.withLock { $0 } == 1)
    try expectOld(scene, ["root", "targets"])
  }

  @Test func `a length that the snapshot promises does not go past the limit`() async throws {
    let scene = try await scene()
    scene.listed["targets"]?.length = 1 << 60
    try await scene.publishSnapshot()
    try await scene.publishTimestamp()
    scene.clientOptions.maximumTargetsByteCount = 10
    let error = try await DistriRepoTests.failure { try await scene.refresh() }
    #expect(error == .tooLarge(url: "http://test/tuf/2.targets.json", limit: 10))
  }
}
