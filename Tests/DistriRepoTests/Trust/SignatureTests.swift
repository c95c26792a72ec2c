// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import Foundation
import Testing

@testable import DistriRepo

/// Thresholds, key ids, and what is no valid metadata at all.
@Suite struct SignatureTests {
  @Test func `a threshold counts the keys that signed`() async throws {
    let scene = try await Simulation()
    try await scene.publishNextRoot { try scene.rotate("timestamp", count: 3, threshold: 2) }
    let signers = try #require(scene.signers["timestamp"])
    scene.signers["timestamp"] = [signers[0], signers[0]]
    try await scene.publishTimestamp()
    #expect(try await scene.refusal().failure == .tooFewSignatures(role: "timestamp", valid: 1, threshold: 2))
    scene.signers["timestamp"] = [signers[2], try Simulation.signer(), signers[0]]
    try await scene.publishTimestamp()
    try await scene.refresh()
  }

  @Test func `a key that is listed under several ids counts once`() async throws {
    let scene = try await Simulation()
    let signer = try Simulation.signer()
    try await scene.publishNextRoot { root in
      for keyID in ["one", "two", "three"] { root.keys[keyID] = signer.key }
      root.roles = root.roles.map { role in
        role.name == "timestamp" ? RoleKeys(name: role.name, keyIDs: ["one", "two", "three"], threshold: 2) : role
      }
    }
    let signed = TimestampMetadata(head: scene.timestampHead, snapshot: scene.snapshotInfo).signed
    let signature = try signer.signature(of: JSONValue.object(signed).canonical).hexadecimal
    func serve(_ ids: [String]) {
      let signatures = ids.map { JSONValue.object(["keyid": .string($0), "sig": .string(signature)]) }
      scene.server["tuf/timestamp.json"] =
        JSONValue.object(["signed": .object(signed), "signatures": .array(signatures)]).serialized
    }
    serve(["one", "two", "three"])
    #expect(try await scene.refusal().failure == .tooFewSignatures(role: "timestamp", valid: 1, threshold: 2))
    // The same id twice is no metadata.
    serve(["one", "one"])
    #expect(
      try await scene.refusal().failure == .malformed(place: "file.signatures.1", reason: "a second signature of the key «one»"))
    // Key ids are any text; with a threshold of 1, one is enough.
    try await scene.publishNextRoot { root in
      root.roles = root.roles.map { role in
        role.name == "timestamp" ? RoleKeys(name: role.name, keyIDs: ["one", "two", "missing"], threshold: 1) : role
      }
    }
    serve(["two", "one", "unheard of"])
    try await scene.refresh()
  }

  @Test func `the same key in another encoding is the same key`() async throws {
    let signer = try Simulation.signer(.ecdsa)
    guard case .object(let value)? = signer.key.object["keyval"], case .string(let pem)? = value["public"] else {
      throw NothingThrown()
    }
    let respelled = try #require(
      TrustKey(keyType: "ecdsa-sha2-nistp256", scheme: "ecdsa-sha2-nistp256", publicPart: "\n" + pem.replacing("\n", with: "\r\n")))
    #expect(respelled.keyID != signer.key.keyID)
    #expect(respelled.identity == signer.key.identity)
    let upper = try #require(try Simulation.signer().key.object["keyval"])
    guard case .object(let ed25519) = upper, case .string(let digits)? = ed25519["public"] else { throw NothingThrown() }
    let one = TrustKey(keyType: "ed25519", scheme: "ed25519", publicPart: digits)
    let two = TrustKey(keyType: "ed25519", scheme: "ed25519", publicPart: digits.uppercased())
    #expect(one?.identity == two?.identity)
  }

  @Test func `keys of unknown kinds do not keep others from signing`() async throws {
    let scene = try await Simulation()
    let strange: JSONObject = [
      "keytype": .string("sphincs"), "scheme": .string("sphincs-shake-128s"), "keyval": .object(["public": .string("00")]),
      "x": .boolean(true),
    ]
    try await scene.publishNextRoot { root in
      root.keys["strange"] = try TrustKey(MetadataReader(value: .object(strange), file: "test", place: "key"))
      root.roles = root.roles.map { RoleKeys(name: $0.name, keyIDs: $0.keyIDs + ["strange"], threshold: 1) }
    }
    try await scene.refresh()
    #expect(try scene.store.root().keys["strange"]?.isKnown == false)
    try await scene.publishNextRoot { root in
      root.roles = root.roles.map { RoleKeys(name: $0.name, keyIDs: $0.keyIDs, threshold: $0.name == "targets" ? 2 : 1) }
    }
    try FileManager.default.removeItem(atPath: scene.store.path(of: "targets").string)
    #expect(try await scene.refusal().failure == .tooFewSignatures(role: "targets", valid: 1, threshold: 2))
  }

  struct Damage: Sendable, CustomTestStringConvertible {
    var place: String
    var change: @Sendable (inout JSONObject) -> Void
    var testDescription: String { place }

    init(_ place: String, _ change: @escaping @Sendable (inout JSONObject) -> Void) { (self.place, self.change) = (place, change) }
  }

  private static func roles(_ name: String, _ value: JSONValue?) -> @Sendable (inout JSONObject) -> Void {
    { signed in
      guard case .object(var roles)? = signed["roles"] else { return }
      roles[name] = value
      signed["roles"] = .object(roles)
    }
  }

  @Test(arguments: [
    Damage("signed._type") { $0["_type"] = .string("Root") }, Damage("signed") { $0["_type"] = nil },
    Damage("signed.version") { $0["version"] = .integer(0) }, Damage("signed.version") { $0["version"] = .string("2") },
    Damage("signed") { $0["version"] = nil }, Damage("signed.expires") { $0["expires"] = .string("tomorrow") },
    Damage("signed") { $0["expires"] = nil }, Damage("signed.keys") { $0["keys"] = .array([]) },
    Damage("signed.keys.a") { $0["keys"] = .object(["a": .object([:])]) },
    Damage("signed.keys.a.keyval") {
      $0["keys"] = .object(["a": .object(["keytype": .string("x"), "scheme": .string("x"), "keyval": .null])])
    },
    Damage("signed") { $0["roles"] = nil }, Damage("signed.roles", roles("snapshot", nil)),
    Damage("signed.roles.root.threshold", roles("root", .object(["keyids": .array([]), "threshold": .integer(0)]))),
    Damage(
      "signed.roles.root.keyids",
      roles("root", .object(["keyids": .array([.string("a"), .string("a")]), "threshold": .integer(1)]))),
    Damage("signed.roles.root.keyids.0", roles("root", .object(["keyids": .array([.integer(1)]), "threshold": .integer(1)]))),
    Damage("signed.consistent_snapshot") { $0["consistent_snapshot"] = .string("yes") },
  ])
  func `what is no root is refused by place, though it is signed`(damage: Damage) async throws {
    let scene = try await Simulation()
    scene.root.head.version = 2
    var signed = scene.root.signed
    damage.change(&signed)
    try await scene.serve("tuf/2.root.json", signed, signedBy: try #require(scene.signers["root"]))
    let (file, failure) = try await scene.refusal()
    #expect(file == "2.root.json")
    guard case .malformed(damage.place, _) = failure else {
      Issue.record("\(failure)")
      return
    }
    #expect(try scene.stored("root") == 1)
  }

  @Test(arguments: ["2.0.0", "1", "1.x", "1.0.0.0", "", "01.0", "0.9"])
  func `another version of the specification is refused`(version: String) async throws {
    let scene = try await Simulation()
    scene.root.head.version = 2
    var signed = scene.root.signed
    signed["spec_version"] = .string(version)
    try await scene.serve("tuf/2.root.json", signed, signedBy: try #require(scene.signers["root"]))
    #expect(try await scene.refusal().failure == .unsupportedSpecification(version))
  }

  @Test(arguments: ["1.0", "1.0.99", "1.7.0"]) func `other versions of 1 are accepted`(version: String) async throws {
    let scene = try await Simulation()
    scene.root.head.version = 2
    var signed = scene.root.signed
    signed["spec_version"] = .string(version)
    try await scene.serve("tuf/2.root.json", signed, signedBy: try #require(scene.signers["root"]))
    try await scene.refresh()
    #expect(try scene.stored("root") == 2)
  }

  @Test func `numbers of signatures, keys and roles are bounded`() async throws {
    let scene = try await Simulation()
    scene.root.head.version = 2
    let signatures = (0...SignedMetadata.maximumSignatureCount).map {
      JSONValue.object(["keyid": .string("\($0)"), "sig": .string("00")])
    }
    scene.server["tuf/2.root.json"] =
      JSONValue.object(["signed": .object(scene.root.signed), "signatures": .array(signatures)]).serialized
    #expect(try await scene.refusal().failure == .tooMany("signatures", limit: 1024))
    var signed = scene.root.signed
    var keys = JSONObject()
    let key: JSONValue = .object(["keytype": .string("x"), "scheme": .string("x"), "keyval": .object([:])])
    for number in 0...KeyRing.maximumKeyCount { keys["\(number)"] = key }
    signed["keys"] = .object(keys)
    try await scene.serve("tuf/2.root.json", signed, signedBy: try #require(scene.signers["root"]))
    #expect(try await scene.refusal().failure == .tooMany("keys", limit: 1024))
  }
}
