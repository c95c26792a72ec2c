// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

/// The version of the specification that is written.
let specificationVersion = "1.0.31"

/// What all metadata begins with.
public struct MetadataHead: Sendable {
  /// Starts at 1 and grows with each change.
  public var version: Int64
  /// From then on it is not valid any more.
  public var expires: UTCTime

  init(version: Int64, expires: UTCTime) {
    self.version = version
    self.expires = expires
  }

  init(_ reader: MetadataReader) throws(RepositoryError) {
    version = try reader.member("version").integer(atLeast: 1)
    let text = try reader.member("expires")
    guard let time = UTCTime(try text.string()) else { throw text.failure("not a time such as 2026-11-26T15:04:05Z") }
    expires = time
  }

  func checkExpiry(at now: UTCTime, of file: String) throws(RepositoryError) {
    guard now < expires else { throw .untrusted(file: file, .expired(expires)) }
  }

  func add(to object: inout JSONObject, type: String) {
    object["_type"] = .string(type)
    object["spec_version"] = .string(specificationVersion)
    object["version"] = .integer(version)
    object["expires"] = .string(expires.description)
  }
}

/// The root of trust: which keys speak for which of the top-level roles.
public struct RootMetadata: Sendable {
  /// The roles that every root has.
  public static let roleNames = ["root", "snapshot", "targets", "timestamp"]

  /// Version and expiry.
  public var head: MetadataHead
  /// Whether metadata carries its version in its name, and targets their hash.
  public var hasConsistentSnapshots: Bool
  /// All keys.
  public internal(set) var keys: KeyRing
  /// ``roleNames`` in that order.
  public internal(set) var roles: [RoleKeys]
  /// Members that nobody knows are kept when the root is changed.
  private let original: JSONObject

  init(_ metadata: SignedMetadata) throws(RepositoryError) {
    let reader = metadata.reader
    original = metadata.signed
    head = try MetadataHead(reader)
    hasConsistentSnapshots = try reader.optional("consistent_snapshot")?.boolean() ?? false
    keys = try KeyRing(try reader.member("keys"))
    roles = []
    let members = try reader.member("roles")
    for name in Self.roleNames { roles.append(try RoleKeys(try members.member(name), name: name)) }
  }

  init(head: MetadataHead) {
    self.head = head
    hasConsistentSnapshots = true
    keys = KeyRing()
    roles = Self.roleNames.map { RoleKeys(name: $0, keyIDs: [], threshold: 1) }
    original = JSONObject()
  }

  /// The keys of a top-level role.
  public func role(_ name: String) -> RoleKeys {
    roles.first { $0.name == name } ?? RoleKeys(name: name, keyIDs: [], threshold: 1)
  }

  /// Gives a role these keys and no others.
  mutating func delegate(_ name: String, to newKeys: [TrustKey], threshold: Int) {
    let keyIDs = Set(newKeys.map(\.keyID)).sorted()
    for key in newKeys { keys[key.keyID] = key }
    for position in roles.indices where roles[position].name == name {
      roles[position] = RoleKeys(name: name, keyIDs: keyIDs, threshold: threshold)
    }
  }

  var signed: JSONObject {
    var object = original
    head.add(to: &object, type: "root")
    object["consistent_snapshot"] = .boolean(hasConsistentSnapshots)
    var used = KeyRing()
    for keyID in roles.flatMap(\.keyIDs) { used[keyID] = keys[keyID] }
    object["keys"] = used.json
    var list = JSONObject()
    for role in roles { list[role.name] = role.json }
    object["roles"] = .object(list)
    return object
  }
}

/// What snapshot and timestamp say of another metadata file.
struct MetadataFileInfo: Sendable {
  var version: Int64
  /// In bytes.
  var length: UInt64?
  var hashes: FileHashes?

  init(version: Int64, bytes: [UInt8]) {
    self.version = version
    length = UInt64(bytes.count)
    var digester = Digester()
    digester.update(bytes)
    hashes = FileHashes(sha256: digester.finish(), sha512: nil)
  }

  init(_ reader: MetadataReader) throws(RepositoryError) {
    version = try reader.member("version").integer(atLeast: 1)
    length = try reader.optional("length").map { reader throws(RepositoryError) in
      UInt64(clamping: try reader.integer(atLeast: 0))
    }
    hashes = try reader.optional("hashes").map { reader throws(RepositoryError) in try reader.hashes() }
  }

  func matches(_ bytes: [UInt8]) -> Bool {
    length.map { $0 == UInt64(bytes.count) } ?? true && hashes?.match(bytes) ?? true
  }

  func check(_ bytes: [UInt8], file: String) throws(RepositoryError) {
    if matches(bytes) { return }
    let expected = "\(length.map { "\($0) bytes" } ?? "a file") with hash \(hashes?.prefix ?? "unknown")"
    var digester = Digester()
    digester.update(bytes)
    throw .untrusted(
      file: file, .mismatch(expected: expected, got: "\(bytes.count) bytes with SHA-256 \(digester.finish().hexadecimal)"))
  }

  var json: JSONValue {
    var object: JSONObject = ["version": .integer(version)]
    object["length"] = length.map { .integer(Int64(clamping: $0)) }
    object["hashes"] = hashes?.json
    return .object(object)
  }
}

/// The one file that is asked for without knowing its version: which snapshot is current.
public struct TimestampMetadata: Sendable {
  /// Version and expiry.
  public var head: MetadataHead
  var snapshot: MetadataFileInfo

  init(_ metadata: SignedMetadata) throws(RepositoryError) {
    head = try MetadataHead(metadata.reader)
    snapshot = try MetadataFileInfo(try metadata.reader.member("meta").member("snapshot.json"))
  }

  init(head: MetadataHead, snapshot: MetadataFileInfo) {
    self.head = head
    self.snapshot = snapshot
  }

  var signed: JSONObject {
    var object: JSONObject = ["meta": .object(["snapshot.json": snapshot.json])]
    head.add(to: &object, type: "timestamp")
    return object
  }
}

/// Which versions of all targets metadata belong together.
public struct SnapshotMetadata: Sendable {
  /// Version and expiry.
  public var head: MetadataHead
  private var files: JSONObject

  /// The most metadata files that are accepted.
  static let maximumFileCount = 1 << 18

  init(_ metadata: SignedMetadata) throws(RepositoryError) {
    head = try MetadataHead(metadata.reader)
    let meta = try metadata.reader.member("meta")
    files = try meta.object()
    guard files.members.count <= Self.maximumFileCount else {
      throw .untrusted(file: metadata.file, .tooMany("roles", limit: Self.maximumFileCount))
    }
    for (_, reader) in try meta.members() { _ = try MetadataFileInfo(reader) }
  }

  init(head: MetadataHead, files: [String: MetadataFileInfo]) {
    self.head = head
    self.files = JSONObject()
    for (role, info) in files { self.files["\(role).json"] = info.json }
  }

  /// What it says of a role's file; nil when it does not list it.
  func file(of role: String) -> MetadataFileInfo? { info("\(role).json") }

  private func info(_ name: String) -> MetadataFileInfo? {
    files[name].flatMap { try? MetadataFileInfo(MetadataReader(value: $0, file: "", place: "")) }
  }

  /// Names, such as `targets.json`, with their versions.
  var versions: [(name: String, version: Int64)] {
    files.members.compactMap { member in info(member.name).map { (member.name, $0.version) } }
  }

  func version(of name: String) -> Int64? { info(name)?.version }

  var signed: JSONObject {
    var object: JSONObject = ["meta": .object(files)]
    head.add(to: &object, type: "snapshot")
    return object
  }
}
