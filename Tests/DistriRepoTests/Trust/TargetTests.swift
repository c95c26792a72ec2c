// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import Foundation
import SystemPackage
import Testing

@testable import DistriRepo

/// Who may speak for a target, and whether it is the right one.
@Suite struct TargetTests {
  struct Edge: Sendable {
    var from: String
    var to: String
    var paths = ["*"]
    var isTerminating = false

    init(_ from: String, _ to: String, _ paths: [String] = ["*"], terminating: Bool = false) {
      (self.from, self.to, self.paths, self.isTerminating) = (from, to, paths, terminating)
    }
  }

  /// A simulation with these delegations; roles keep one key each.
  private func scene(_ edges: [Edge], _ targets: [(role: String, path: String)] = []) async throws -> Simulation {
    let scene = try await Simulation()
    let head = MetadataHead(version: 1, expires: scene.now.advanced(by: 60))
    for edge in edges {
      if scene.signers[edge.to] == nil { scene.signers[edge.to] = [try Simulation.signer()] }
      if scene.targets[edge.to] == nil { scene.targets[edge.to] = TargetsMetadata(head: head, targets: []) }
      try delegate(scene, edge)
    }
    for (role, _) in targets {
      let own = targets.filter { $0.role == role }.map { target in
        Target(path: target.path, byteCount: UInt64(role.utf8.count), sha256: sha256(Array(role.utf8)))
      }
      scene.targets[role] = TargetsMetadata(
        head: scene.targets[role]?.head ?? head, targets: own, delegations: scene.targets[role]?.delegations)
    }
    scene.targets["targets"]?.head.version = 2
    scene.snapshotHead.version = 2
    scene.timestampHead.version = 2
    try await scene.publishAll()
    return scene
  }

  private func delegate(_ scene: Simulation, _ edge: Edge) throws {
    let key = try #require(scene.signers[edge.to]?.first).key
    var delegations = scene.targets[edge.from]?.delegations ?? Delegations(keys: KeyRing(), roles: [])
    delegations.keys[key.keyID] = key
    delegations.roles.append(
      DelegatedRole(
        keys: RoleKeys(name: edge.to, keyIDs: [key.keyID], threshold: 1), scope: .paths(edge.paths.map { PathPattern($0) }),
        isTerminating: edge.isTerminating))
    scene.targets[edge.from]?.delegations = delegations
  }

  private func sha256(_ bytes: [UInt8]) -> [UInt8] {
    var digester = Digester()
    digester.update(bytes)
    return digester.finish()
  }

  /// The roles that are asked for a path, and whether one has it.
  private func search(_ path: String, _ scene: Simulation) async throws -> (asked: [String], found: Target?) {
    var repository = try await scene.refresh()
    _ = scene.server.takeRequests()
    var found: Target?
    do {
      found = try await repository.target(path)
    } catch RepositoryError.untrusted(path, .noSuchTarget) {}
    let asked = scene.server.takeRequests().map { String($0.dropFirst("tuf/1.".count).dropLast(".json".count)) }
    return (asked, found)
  }

  @Test(arguments: [
    ([Edge("targets", "A")], ["A"]),
    ([Edge("targets", "A"), Edge("targets", "B"), Edge("B", "C")], ["A", "B", "C"]),
    // Depth first.
    ([Edge("targets", "A"), Edge("targets", "B"), Edge("A", "C"), Edge("C", "D")], ["A", "C", "D", "B"]),
    // Behind a terminating role, only those that it delegates to itself.
    (
      [Edge("targets", "A"), Edge("targets", "B"), Edge("A", "C", terminating: true), Edge("A", "D"), Edge("C", "E")],
      ["A", "C", "E"]
    ),
    ([Edge("targets", "A", ["*.py"], terminating: true), Edge("targets", "B")], ["B"]),
    ([Edge("targets", "A", []), Edge("targets", "B", ["x", "missing"])], ["B"]),
    // Circles, and two ways to one role.
    ([Edge("targets", "A"), Edge("A", "B"), Edge("B", "A"), Edge("B", "targets")].dropLast() + [], ["A", "B"]),
    ([Edge("targets", "A"), Edge("targets", "B"), Edge("A", "C"), Edge("B", "C")], ["A", "C", "B"]),
  ])
  func `roles are asked in the specification's order`(edges: [Edge], expected: [String]) async throws {
    let result = try await search("missing", try await scene(edges))
    #expect(result.asked == expected)
    #expect(result.found == nil)
  }

  @Test func `a target is found where its path may be spoken for`() async throws {
    let scene = try await scene(
      [
        Edge("targets", "A", ["*.doc", "*.md"]), Edge("targets", "B", ["releases/*/*"]), Edge("B", "C", ["releases/x/*"]),
        Edge("B", "D", ["releases/y/*.zip"]),
      ],
      [("A", "README.md"), ("C", "releases/x/x_v1"), ("D", "releases/y/y_v1.zip"), ("D", "releases/z/z_v1.zip"), ("A", "a.txt")])
    #expect(try await search("README.md", scene).found != nil)
    #expect(try await search("releases/x/x_v1", scene).asked == ["B", "C"])
    #expect(try await search("releases/y/y_v1.zip", scene).found?.byteCount == 1)
    // Signed by somebody who may not speak for it.
    #expect(try await search("releases/z/z_v1.zip", scene).found == nil)
    #expect(try await search("a.txt", scene).found == nil)
  }

  @Test func `prefixes of hashes delegate, too`() async throws {
    let scene = try await scene([Edge("targets", "low"), Edge("targets", "high")], [("low", "a"), ("high", "a")])
    // SHA-256 of «a» starts with ca.
    for (position, prefixes) in [["0", "c0", "cb"], ["f", "ca97"]].enumerated() {
      scene.targets["targets"]?.delegations?.roles[position].scope = .hashPrefixes(prefixes)
    }
    try await scene.publishNext()
    var repository = try await scene.refresh()
    _ = scene.server.takeRequests()
    #expect(try await repository.target("a").byteCount == 4)
    #expect(scene.server.takeRequests() == ["tuf/2.high.json"])
  }

  @Test func `the number of roles that are asked is bounded`() async throws {
    let scene = try await scene((0..<40).map { Edge($0 == 0 ? "targets" : "role\($0 - 1)", "role\($0)") })
    var repository = try await scene.refresh()
    let error = try await failure { try await repository.target("x") }
    #expect(error == .untrusted(file: "x", .tooMany("roles to ask", limit: 32)))
  }

  @Test(arguments: ["?", "#", "/x", "../x", "..", ".", "a b", "é", "e\u{301}", ".publishing-root", "%2F", "1.root"])
  func `role names are any text, and stay in their directory`(role: String) async throws {
    let scene = try await scene([Edge("targets", role)], [(role, "file")])
    var repository = try await scene.refresh()
    _ = scene.server.takeRequests()
    #expect(try await repository.target("file").byteCount == UInt64(role.utf8.count))
    #expect(scene.server.takeRequests() == ["tuf/1.\(role.quoted).json"])
    #expect(try names(in: scene.store.path).count == 5)
    #expect(try names(in: scene.store.path.removingLastComponent()) == ["example"])
    try await scene.refresh()
    _ = scene.server.takeRequests()
    var again = try await scene.refresh()
    _ = scene.server.takeRequests()
    _ = try await again.target("file")
    #expect(scene.server.takeRequests() == [])
  }

  @Test(arguments: ["root", "timestamp", "snapshot", "targets", ""])
  func `a delegated role is not called like a top-level one`(role: String) async throws {
    let scene = try await scene([])
    scene.signers[role, default: []].append(try Simulation.signer())
    try delegate(scene, Edge("targets", role))
    scene.targets["targets"]?.head.version = 3
    scene.snapshotHead.version = 3
    scene.timestampHead.version = 3
    try await scene.publishAll()
    guard case .malformed("signed.delegations.roles.0.name", _) = try await scene.refusal().failure else {
      Issue.record("accepted")
      return
    }
  }

  @Test func `what one delegator's keys verify is not what another's do`() async throws {
    let scene = try await scene(
      [Edge("targets", "A"), Edge("targets", "B"), Edge("A", "C", ["a*"]), Edge("B", "C", ["b*"])], [("C", "b1"), ("C", "a1")])
    // B trusts another key for C.
    let other = try Simulation.signer().key
    scene.targets["B"]?.delegations?.keys = KeyRing()
    scene.targets["B"]?.delegations?.keys[other.keyID] = other
    scene.targets["B"]?.delegations?.roles[0].keys.keyIDs = [other.keyID]
    try await scene.publishNext()
    var repository = try await scene.refresh()
    _ = try await repository.target("a1")
    let error = try await failure { try await repository.target("b1") }
    #expect(error == .untrusted(file: "http://test/tuf/2.C.json", .tooFewSignatures(role: "C", valid: 0, threshold: 1)))
  }

  // MARK: Files

  private func fileScene(_ path: String, _ contents: [UInt8]) async throws -> (Simulation, TrustedRepository, Target) {
    let scene = try await scene([])
    let target = Target(path: path, byteCount: UInt64(contents.count), sha256: sha256(contents))
    scene.targets["targets"] = TargetsMetadata(head: try #require(scene.targets["targets"]).head, targets: [target])
    try await scene.publishNext()
    scene.server[target.consistentPath] = contents
    var repository = try await scene.refresh()
    let found = try await repository.target(path)
    _ = scene.server.takeRequests()
    return (scene, repository, found)
  }

  @Test func `a target is fetched under the name of its hash, verified, and not twice`() async throws {
    let contents = noise(100_000)
    let (scene, repository, target) = try await fileScene("dir/sub/file", contents)
    let path = scene.directory.path.appending("file")
    #expect(try await repository.download(target, from: "http://test/", to: path))
    #expect(scene.server.takeRequests() == ["dir/sub/\(sha256(contents).hexadecimal).file"])
    #expect(try DistriRepoTests.contents(of: path) == contents)
    #expect(try await !repository.download(target, from: "http://test", to: path))
    #expect(scene.server.takeRequests() == [])
    try write(noise(100_000, seed: 2), to: path)
    #expect(try await repository.download(target, from: "http://test", to: path))
    #expect(try DistriRepoTests.contents(of: path) == contents)
    #expect(try await repository.bytes(of: target, from: "http://test", limit: 100_000) == contents)
    let error = try await failure { try await repository.bytes(of: target, from: "http://test", limit: 99_999) }
    guard case .tooLarge = error else {
      Issue.record("\(error)")
      return
    }
  }

  @Test(arguments: [0, 1, 99_999, 100_001]) func `another file than the signed one never gets its name`(count: Int) async throws {
    let (scene, repository, target) = try await fileScene("file", noise(100_000))
    for bytes in [noise(count, seed: 2), Array((noise(100_000) + [0]).prefix(count))] {
      scene.server[target.consistentPath] = bytes
      let path = scene.directory.path.appending("download/file")
      try FileManager.default.createDirectory(
        atPath: path.removingLastComponent().string, withIntermediateDirectories: true)
      _ = try await failure { try await repository.download(target, from: "http://test", to: path) }
      _ = try await failure { try await repository.bytes(of: target, from: "http://test", limit: 1 << 20) }
      #expect(try names(in: path.removingLastComponent()) == [])
    }
  }

  @Test func `length, SHA-256 and SHA-512 all have to be right`() async throws {
    let contents = noise(1000)
    let (scene, repository, target) = try await fileScene("file", contents)
    let path = scene.directory.path.appending("file")
    var both = target
    both.hashes.sha512 = Digester.sha512(of: contents)
    #expect(try await repository.download(both, from: "http://test", to: path))
    try FileManager.default.removeItem(atPath: path.string)
    var wrong = [both, both, both]
    wrong[0].hashes.sha512?[0] ^= 1
    wrong[1].hashes.sha256?[0] ^= 1
    wrong[2].byteCount += 1
    for target in wrong {
      scene.server[target.consistentPath] = contents
      let error = try await failure { try await repository.download(target, from: "http://test", to: path) }
      guard case .untrusted(_, .mismatch) = error else {
        Issue.record("\(error)")
        return
      }
    }
    both.hashes.sha256 = nil
    scene.server[both.consistentPath] = contents
    #expect(try await repository.download(both, from: "http://test", to: path))
    #expect(try await !repository.download(both, from: "http://test", to: path))
  }

  @Test(arguments: ["", "/etc/passwd", "../x", "a/../x", "a/./x", "a//x", "a/", ".", ".."])
  func `a path that is not below the repository is refused`(path: String) async throws {
    try await expectRefusal([path])
  }

  @Test func `a path with a NUL or of more than 4096 bytes is refused`() async throws {
    try await expectRefusal(["a\0b", String(repeating: "a", count: 4097)])
  }

  private func expectRefusal(_ paths: [String]) async throws {
    let scene = try await scene([])
    var repository = try await scene.refresh()
    for path in paths {
      let error = try await failure { try await repository.target(path) }
      guard case .untrusted(path, .malformed) = error else {
        Issue.record("\(error)")
        return
      }
    }
  }

  @Test func `odd names of files are escaped in addresses`() async throws {
    let (_, repository, target) = try await fileScene("d é/a?b#c%2F d+e", [1])
    let hash = sha256([1]).hexadecimal
    #expect(repository.url(of: target, below: "http://x/y/") == "http://x/y/d%20%c3%a9/\(hash).a%3fb%23c%252F%20d+e")
    #expect(repository.url(of: target, below: "/y") == "/y/d é/\(hash).a?b#c%2F d+e")
  }

  @Test(arguments: [
    #"{"length": -1, "hashes": {"sha256": "HASH"}}"#, #"{"hashes": {"sha256": "HASH"}}"#, #"{"length": 1}"#,
    #"{"length": 1, "hashes": {}}"#, #"{"length": 1, "hashes": {"md5": "00"}}"#, #"{"length": 1, "hashes": {"sha256": "00"}}"#,
    #"{"length": 1, "hashes": {"sha256": 1}}"#, #"{"length": "1", "hashes": {"sha256": "HASH"}}"#, "[]",
    #"{"length": 1, "hashes": {"sha256": "HASH"}, "custom": 1}"#,
  ])
  func `a damaged entry is an error that names its place, and no harm to others`(entry: String) async throws {
    let scene = try await scene([])
    let text = entry.replacing("HASH", with: String(repeating: "ab", count: 32))
    var signed = try #require(scene.targets["targets"]).signed
    let good: JSONValue = .object([
      "length": .integer(3), "hashes": .object(["sha256": .string(String(repeating: "ab", count: 32))]),
    ])
    signed["targets"] = .object(["bad": try JSONValue(parsing: Array(text.utf8)), "good": good])
    try await scene.serve("tuf/2.targets.json", signed, signedBy: try #require(scene.signers["targets"]))
    scene.listed["targets"] = MetadataFileInfo(version: 2, bytes: try #require(scene.server["tuf/2.targets.json"]))
    try await scene.publishSnapshot()
    try await scene.publishTimestamp()
    var repository = try await scene.refresh()
    #expect(try await repository.target("good").byteCount == 3)
    let error = try await failure { try await repository.target("bad") }
    guard case .untrusted("http://test/tuf/2.targets.json", .malformed(let place, _)) = error else {
      Issue.record("\(error)")
      return
    }
    #expect(place.hasPrefix("signed.targets.bad"))
  }
}
