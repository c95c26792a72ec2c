// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

/// A file that signed metadata speaks for.
public struct Target: Sendable {
  /// Its path below the repository's root, such as `pkg/nano-amd64-7.2-3.squashfs`.
  public var path: String
  /// In bytes.
  public var byteCount: UInt64
  /// What it must hash to.
  public var hashes: FileHashes
  /// What the publisher says of it besides.
  public var custom: JSONObject?

  /// Makes an entry for a file with this SHA-256.
  init(path: String, byteCount: UInt64, sha256: [UInt8], custom: JSONObject? = nil) {
    self.path = path
    self.byteCount = byteCount
    hashes = FileHashes(sha256: sha256, sha512: nil)
    self.custom = custom
  }

  init(_ reader: MetadataReader, path: String) throws(RepositoryError) {
    self.path = path
    byteCount = UInt64(clamping: try reader.member("length").integer(atLeast: 0))
    hashes = try reader.member("hashes").hashes()
    custom = try reader.optional("custom")?.object()
  }

  var json: JSONValue {
    var object: JSONObject = ["length": .integer(Int64(clamping: byteCount)), "hashes": hashes.json]
    object["custom"] = custom.map { .object($0) }
    return .object(object)
  }

  /// Its path in a consistent snapshot: `<dir>/<hash>.<file>`.
  var consistentPath: String {
    let slash = path.utf8.lastIndex(of: UInt8(ascii: "/")).map { path.utf8.index(after: $0) } ?? path.startIndex
    return path[..<slash] + hashes.prefix + "." + path[slash...]
  }
}

/// Targets, and the roles that speak for others.
public struct TargetsMetadata: Sendable {
  /// Version and expiry.
  public var head: MetadataHead
  /// By path. An entry is checked when it is asked for: there may be many.
  private(set) var targets: JSONObject
  var delegations: Delegations?
  private let file: String

  init(_ metadata: SignedMetadata) throws(RepositoryError) {
    let reader = metadata.reader
    file = metadata.file
    head = try MetadataHead(reader)
    targets = try reader.member("targets").object()
    delegations = try reader.optional("delegations").map { reader throws(RepositoryError) in try Delegations(reader) }
  }

  init(head: MetadataHead, targets: [Target], delegations: Delegations? = nil) {
    self.head = head
    self.delegations = delegations
    file = ""
    let members = targets.map { JSONObject.Member(name: $0.path, value: $0.json) }
    // Of a path that is there twice, the last.
    self.targets = JSONObject(sorting: members) ?? members.reduce(into: JSONObject()) { $0[$1.name] = $1.value }
  }

  /// The entry of a path; nil when there is none.
  func target(_ path: String) throws(RepositoryError) -> Target? {
    guard let value = targets[path] else { return nil }
    return try Target(MetadataReader(value: value, file: file, place: "signed.targets.\(path)"), path: path)
  }

  var signed: JSONObject {
    var object: JSONObject = ["targets": .object(targets)]
    object["delegations"] = delegations?.json
    head.add(to: &object, type: "targets")
    return object
  }
}

/// Who else speaks for some of the targets.
struct Delegations: Sendable {
  static let maximumRoleCount = 1 << 14

  var keys: KeyRing
  /// In order of precedence.
  var roles: [DelegatedRole]

  init(keys: KeyRing, roles: [DelegatedRole]) {
    self.keys = keys
    self.roles = roles
  }

  init(_ reader: MetadataReader) throws(RepositoryError) {
    keys = try KeyRing(try reader.member("keys"))
    roles = []
    var names: Set<[UInt8]> = []
    guard let list = try reader.optional("roles") else { return }
    let elements = try list.elements()
    guard elements.count <= Self.maximumRoleCount else {
      throw .untrusted(file: reader.file, .tooMany("delegations", limit: Self.maximumRoleCount))
    }
    for element in elements {
      let role = try DelegatedRole(element)
      guard names.insert(Array(role.keys.name.utf8)).inserted else {
        throw element.failure("the role «\(role.keys.name)» is delegated to twice")
      }
      roles.append(role)
    }
  }

  var json: JSONValue { .object(["keys": keys.json, "roles": .array(roles.map(\.json))]) }
}

/// One delegation.
struct DelegatedRole: Sendable {
  enum Scope: Sendable {
    /// Patterns such as `pkg/*`.
    case paths([PathPattern])
    /// What the hexadecimal digits of the path's SHA-256 start with.
    case hashPrefixes([String])
  }

  var keys: RoleKeys
  var scope: Scope
  /// Whether nobody behind this one is asked for what is in its scope.
  var isTerminating: Bool

  init(keys: RoleKeys, scope: Scope, isTerminating: Bool) {
    self.keys = keys
    self.scope = scope
    self.isTerminating = isTerminating
  }

  init(_ reader: MetadataReader) throws(RepositoryError) {
    let name = try reader.member("name")
    let text = try name.string()
    guard !text.isEmpty, !text.utf8.contains(0), !RootMetadata.roleNames.contains(text) else {
      throw name.failure("not a name that a delegated role can have")
    }
    keys = try RoleKeys(reader, name: text)
    isTerminating = try reader.member("terminating").boolean()
    switch (try reader.optional("paths"), try reader.optional("path_hash_prefixes")) {
    case (let paths?, nil):
      scope = .paths(try paths.elements().map { reader throws(RepositoryError) in PathPattern(try reader.string()) })
    case (nil, let prefixes?):
      scope = .hashPrefixes(try prefixes.elements().map { reader throws(RepositoryError) in try reader.string() })
    default: throw reader.failure("needs either «paths» or «path_hash_prefixes»")
    }
  }

  func covers(_ path: String) -> Bool {
    switch scope {
    case .paths(let patterns): return patterns.contains { $0.matches(path) }
    case .hashPrefixes(let prefixes):
      var digester = Digester()
      digester.update(Array(path.utf8))
      let hash = digester.finish().hexadecimal
      return prefixes.contains { hash.utf8.starts(with: $0.utf8) }
    }
  }

  var json: JSONValue {
    guard case .object(var object) = keys.json else { return keys.json }
    object["name"] = .string(keys.name)
    object["terminating"] = .boolean(isTerminating)
    switch scope {
    case .paths(let patterns): object["paths"] = .array(patterns.map { .string($0.text) })
    case .hashPrefixes(let prefixes): object["path_hash_prefixes"] = .array(prefixes.map { .string($0) })
    }
    return .object(object)
  }
}
