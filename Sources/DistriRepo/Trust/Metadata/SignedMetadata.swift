// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

/// A metadata file: what was signed, and the signatures. Nothing in it is verified before ``verify(_:keys:)``.
struct SignedMetadata {
  /// All of the file as it came.
  let bytes: [UInt8]
  /// What it is called in errors.
  let file: String
  /// What was signed, members that nobody knows included.
  let signed: JSONObject
  /// By key id, each once, in the file's order.
  let signatures: [(keyID: String, signature: [UInt8])]

  static let maximumSignatureCount = 1024

  /// Parses a file and checks what all metadata has in common: its type and the version of the specification.
  init(_ bytes: [UInt8], file: String, type: String) throws(RepositoryError) {
    let value: JSONValue
    do {
      value = try JSONValue(parsing: bytes)
    } catch {
      throw .untrusted(file: file, .malformed(place: "byte \(error.offset)", reason: error.reason))
    }
    let reader = MetadataReader(value: value, file: file, place: "file")
    self.bytes = bytes
    self.file = file
    signed = try reader.member("signed").object()
    let elements = try reader.member("signatures").elements()
    guard elements.count <= Self.maximumSignatureCount else {
      throw .untrusted(file: file, .tooMany("signatures", limit: Self.maximumSignatureCount))
    }
    var signatures: [(keyID: String, signature: [UInt8])] = []
    for element in elements {
      let keyID = try element.member("keyid").string()
      guard !signatures.contains(where: { $0.keyID.hasSameBytes(as: keyID) }) else {
        throw element.failure("a second signature of the key «\(keyID)»")
      }
      // What is no signature verifies nothing, but does not keep others from it.
      signatures.append((keyID, [UInt8](hexadecimal: try element.member("sig").string()) ?? []))
    }
    self.signatures = signatures
    let got = try self.reader.member("_type").string()
    guard got == type else { throw try self.reader.member("_type").failure("is «\(got)» where «\(type)» is expected") }
    let version = try self.reader.member("spec_version").string()
    let numbers = version.split(separator: ".", omittingEmptySubsequences: false)
    guard 2...3 ~= numbers.count, numbers[0] == "1", numbers.allSatisfy({ UInt32($0) != nil }) else {
      throw .untrusted(file: file, .unsupportedSpecification(version))
    }
  }

  /// Reads what was signed.
  var reader: MetadataReader { MetadataReader(value: .object(signed), file: file, place: "signed") }

  /// The bytes that the signatures are of: the canonical form of all that came.
  var canonical: [UInt8] { JSONValue.object(signed).canonical }

  /// Checks that enough of a role's keys have signed.
  func verify(_ role: RoleKeys, keys: KeyRing) throws(RepositoryError) {
    let valid = validKeyCount(of: role, keys: keys)
    guard valid >= role.threshold else {
      throw .untrusted(file: file, .tooFewSignatures(role: role.name, valid: valid, threshold: role.threshold))
    }
  }

  /// How many of a role's keys have signed. A key counts once, under however many key ids it is listed.
  func validKeyCount(of role: RoleKeys, keys: KeyRing) -> Int {
    let canonical = canonical
    var valid: Set<[UInt8]> = []
    for keyID in role.keyIDs {
      guard let signature = signatures.first(where: { $0.keyID.hasSameBytes(as: keyID) })?.signature, let key = keys[keyID],
        !valid.contains(key.identity), key.isValid(signature, of: canonical)
      else { continue }
      valid.insert(key.identity)
    }
    return valid.count
  }

  /// Signs, one signature for each different key, and makes the bytes of a file, the same for the same signatures.
  static func bytes(of signed: JSONObject, signedBy signers: [any Signer]) async throws -> [UInt8] {
    let canonical = JSONValue.object(signed).canonical
    var signatures: [String: [UInt8]] = [:]
    for signer in signers where signatures[signer.key.keyID] == nil {
      signatures[signer.key.keyID] = try await signer.signature(of: canonical)
    }
    let list = signatures.sorted { $0.key < $1.key }.map { keyID, signature in
      JSONValue.object(["keyid": .string(keyID), "sig": .string(signature.hexadecimal)])
    }
    return JSONValue.object(["signed": .object(signed), "signatures": .array(list)]).serialized + [0x0a]
  }
}

/// The keys of a role, and how many of them must sign.
public struct RoleKeys: Sendable {
  /// The role.
  public var name: String
  /// Key ids, each once.
  public var keyIDs: [String]
  /// At least 1.
  public var threshold: Int

  init(name: String, keyIDs: [String], threshold: Int) {
    self.name = name
    self.keyIDs = keyIDs
    self.threshold = threshold
  }

  init(_ reader: MetadataReader, name: String) throws(RepositoryError) {
    self.name = name
    let ids = try reader.member("keyids")
    keyIDs = []
    var seen: Set<[UInt8]> = []
    for element in try ids.elements() {
      let keyID = try element.string()
      guard seen.insert(Array(keyID.utf8)).inserted else { throw ids.failure("has the key «\(keyID)» twice") }
      keyIDs.append(keyID)
    }
    guard keyIDs.count <= KeyRing.maximumKeyCount else {
      throw .untrusted(file: reader.file, .tooMany("keys", limit: KeyRing.maximumKeyCount))
    }
    threshold = Int(clamping: try reader.member("threshold").integer(atLeast: 1))
  }

  var json: JSONValue {
    .object(["keyids": .array(keyIDs.map { .string($0) }), "threshold": .integer(Int64(threshold))])
  }
}

/// Keys by key id, which may be any text.
public struct KeyRing: Sendable {
  /// The most keys of one file.
  static let maximumKeyCount = 1024

  /// By the bytes of their ids.
  private var keys: [[UInt8]: TrustKey] = [:]

  init() {}

  init(_ reader: MetadataReader) throws(RepositoryError) {
    let members = try reader.members()
    guard members.count <= Self.maximumKeyCount else {
      throw .untrusted(file: reader.file, .tooMany("keys", limit: Self.maximumKeyCount))
    }
    for (name, reader) in members { keys[Array(name.utf8)] = try TrustKey(reader) }
  }

  /// The key of an id.
  public internal(set) subscript(keyID: String) -> TrustKey? {
    get { keys[Array(keyID.utf8)] }
    set { keys[Array(keyID.utf8)] = newValue }
  }

  var json: JSONValue {
    var object = JSONObject()
    for (name, key) in keys { object[String(decoding: name, as: UTF8.self)] = .object(key.object) }
    return .object(object)
  }
}
