// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore
import SystemPackage

/// Keeps a machine's trust in a repository up to date: the client of The Update Framework 1.0.
///
/// ```swift
/// let client = TUFClient(store: TrustStore(path: "/var/lib/distri/trust/example"), metadata: "https://example.org/distri/tuf",
///   transport: transport)
/// var repository = try await client.refresh()
/// let target = try await repository.target("pkg/meta.binaryproto")
/// ```
public struct TUFClient: Sendable {
  /// Limits, so that no server can give data without end, and the clock.
  public struct Options: Sendable {
    /// How many new roots one refresh follows.
    public var maximumRootRotations = 256
    /// The largest timestamp, in bytes.
    public var maximumTimestampByteCount: UInt64 = 64 << 10
    /// The largest snapshot whose length the timestamp does not say, in bytes.
    public var maximumSnapshotByteCount: UInt64 = 16 << 20
    /// The largest targets metadata, in bytes, whatever the snapshot says.
    public var maximumTargetsByteCount: UInt64 = 64 << 20
    /// How many roles are asked for one target.
    public var maximumDelegations = 32
    /// How long one file may take.
    public var timeLimit: Duration = .seconds(300)
    /// How long to wait for another process that refreshes the same trust.
    public var lockTimeLimit: Duration = .seconds(60)
    /// Whether what is learnt is not kept, for a user who may read the trusted state but not write it.
    public var isReadOnly = false
    /// What expiry is judged by.
    public var now: @Sendable () -> UTCTime = { .now }

    /// The defaults.
    public init() {}
  }

  let store: TrustStore
  let metadata: String
  let transport: any Transport
  let options: Options

  /// Makes a client.
  ///
  /// - Parameters:
  ///   - store: what is trusted; ``TrustStore/initialize(root:file:replacing:)`` starts it.
  ///   - metadata: the URL or path of the directory of metadata.
  public init(store: TrustStore, metadata: String, transport: any Transport, options: Options = Options()) {
    self.store = store
    self.metadata = metadata.withoutTrailingSlashes
    self.transport = transport
    self.options = options
  }

  /// Brings all top-level metadata up to date, in the order of section 5 of the specification: root by root, timestamp, snapshot,
  /// targets. What verifies is kept even if something behind it does not.
  ///
  /// - Throws: ``RepositoryError/untrusted(file:_:)``; what the transport throws; ``RepositoryError/system(operation:path:_:)``;
  ///   `StoreError.locked`.
  public func refresh() async throws -> TrustedRepository {
    var trusted = try store.trusted(at: options.now())
    guard !options.isReadOnly else { return try await refresh(&trusted) }
    let lock = try await store.lock(timeLimit: options.lockTimeLimit)
    defer { try? lock.close() }
    // Another process may have gone on while this one waited.
    trusted = try store.trusted(at: trusted.now)
    return try await durably { try await refresh(&trusted) }
  }

  /// What the body has saved is durable in the end, whether it throws or not.
  func durably<Value>(_ body: () async throws -> Value) async throws -> Value {
    do {
      let value = try await body()
      try store.synchronize()
      return value
    } catch {
      try? store.synchronize()
      throw error
    }
  }

  private func refresh(_ trusted: inout TrustedMetadata) async throws -> TrustedRepository {
    try await refreshRoot(&trusted)
    try await refreshTimestamp(&trusted)
    try await refreshSnapshot(&trusted)
    _ = try await targets(of: "targets", by: "root", &trusted)
    return TrustedRepository(client: self, trusted: trusted)
  }

  private func refreshRoot(_ trusted: inout TrustedMetadata) async throws {
    var file = store.path(of: "root").string
    for count in 0... {
      let url = url(of: "root", version: trusted.root.head.version &+ 1)
      let bytes: [UInt8]
      do {
        bytes = try await fetch(url, limit: UInt64(TrustStore.maximumRootByteCount))
      } catch RepositoryError.notFound {
        break
      } catch RepositoryError.transferFailed(_, .status(403)) {
        // What storage services say to names that they do not have.
        break
      }
      guard count < options.maximumRootRotations else {
        throw RepositoryError.untrusted(file: url, .tooMany("new roots", limit: options.maximumRootRotations))
      }
      try trusted.updateRoot(bytes, file: url)
      try save(bytes, as: "root")
      file = url
    }
    try trusted.checkRootExpiry(file: file)
  }

  private func refreshTimestamp(_ trusted: inout TrustedMetadata) async throws {
    if let old = store.bytes(of: "timestamp", limit: options.maximumTimestampByteCount) {
      // One that does not verify, such as after its keys were replaced, is as if it had never been.
      _ = try? trusted.updateTimestamp(old, file: store.path(of: "timestamp").string)
    }
    let url = url(of: "timestamp", version: nil)
    let bytes = try await fetch(url, limit: options.maximumTimestampByteCount)
    let isNew = try trusted.updateTimestamp(bytes, file: url)
    try trusted.checkTimestampExpiry(file: url)
    if isNew { try save(bytes, as: "timestamp") }
  }

  private func refreshSnapshot(_ trusted: inout TrustedMetadata) async throws {
    guard let info = trusted.timestamp?.snapshot else { return }
    let limit = min(info.length ?? options.maximumSnapshotByteCount, options.maximumSnapshotByteCount)
    if let old = store.bytes(of: "snapshot", limit: options.maximumSnapshotByteCount),
      (try? trusted.restoreSnapshot(old, file: store.path(of: "snapshot").string)) == true
    {
      return
    }
    let url = url(of: "snapshot", version: trusted.root.hasConsistentSnapshots ? info.version : nil)
    let bytes = try await fetch(url, limit: limit)
    try trusted.updateSnapshot(bytes, file: url)
    try save(bytes, as: "snapshot")
  }

  /// The role's metadata as the snapshot has it: from this process, from the store, or from the repository.
  func targets(of role: String, by delegator: String, _ trusted: inout TrustedMetadata) async throws -> TargetsMetadata {
    if let known = trusted.targets(of: role, by: delegator) { return known }
    let info = try trusted.file(of: role)
    let limit = min(info.length ?? options.maximumTargetsByteCount, options.maximumTargetsByteCount)
    if let old = store.bytes(of: role, limit: limit),
      let targets = try? trusted.updateTargets(old, of: role, by: delegator, file: store.path(of: role).string)
    {
      return targets
    }
    let url = url(of: role, version: trusted.root.hasConsistentSnapshots ? info.version : nil)
    let bytes = try await fetch(url, limit: limit)
    let targets = try trusted.updateTargets(bytes, of: role, by: delegator, file: url)
    try save(bytes, as: role)
    return targets
  }

  private func fetch(_ url: String, limit: UInt64) async throws -> [UInt8] {
    try await transport.bytes(of: url, maximumByteCount: limit, timeLimit: options.timeLimit)
  }

  private func save(_ bytes: [UInt8], as role: String) throws(RepositoryError) {
    if !options.isReadOnly { try store.save(bytes, as: role) }
  }

  private func url(of role: String, version: Int64?) -> String {
    let name = (version.map { "\($0)." } ?? "") + role.quoted + ".json"
    // A `file://` URL is decoded on its way to a path.
    return "\(metadata)/\(metadata.hasScheme("file://") ? name.percentEncoded : name)"
  }
}

/// A repository whose metadata was just refreshed: finds what it says of targets.
public struct TrustedRepository: Sendable {
  private let client: TUFClient
  private var trusted: TrustedMetadata

  init(client: TUFClient, trusted: TrustedMetadata) {
    self.client = client
    self.trusted = trusted
  }

  /// The root that is trusted now.
  public var root: RootMetadata { trusted.root }

  /// Versions and expiry of the top-level metadata, by role.
  public var heads: [(role: String, head: MetadataHead)] {
    let heads = [
      trusted.root.head, trusted.timestamp?.head, trusted.snapshot?.head, trusted.targets(of: "targets", by: "root")?.head,
    ]
    return zip(["root", "timestamp", "snapshot", "targets"], heads).compactMap { role, head in head.map { (role, $0) } }
  }

  /// Finds a target: in the top-level targets, then in the roles that they delegate to, depth first, each role once.
  ///
  /// - Parameter path: such as `pkg/nano-amd64-7.2-3.squashfs`.
  /// - Throws: ``RepositoryError/untrusted(file:_:)``, with ``TrustFailure/noSuchTarget`` where nobody lists it; what the transport
  ///   throws; ``RepositoryError/system(operation:path:_:)``.
  public mutating func target(_ path: String) async throws -> Target {
    try Self.checkPath(path)
    guard !client.options.isReadOnly else { return try await search(path) }
    let lock = try await client.store.lock(timeLimit: client.options.lockTimeLimit)
    defer { try? lock.close() }
    return try await client.durably { try await search(path) }
  }

  private mutating func search(_ path: String) async throws -> Target {
    var waiting = [(role: "targets", delegator: "root")]
    var visited: Set<[UInt8]> = []
    while let (role, delegator) = waiting.popLast() {
      guard !visited.contains(Array(role.utf8)) else { continue }
      guard visited.count <= client.options.maximumDelegations else {
        throw RepositoryError.untrusted(file: path, .tooMany("roles to ask", limit: client.options.maximumDelegations))
      }
      let targets = try await client.targets(of: role, by: delegator, &trusted)
      if let target = try targets.target(path) { return target }
      visited.insert(Array(role.utf8))
      var children: [(role: String, delegator: String)] = []
      for child in targets.delegations?.roles ?? [] where child.covers(path) {
        children.append((child.keys.name, role))
        guard child.isTerminating else { continue }
        // Nobody else may speak for it.
        waiting = []
        break
      }
      waiting += children.reversed()
    }
    throw RepositoryError.untrusted(file: path, .noSuchTarget)
  }

  /// A path stays below whatever it is appended to.
  private static func checkPath(_ path: String) throws(RepositoryError) {
    let parts = path.utf8.split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false)
    let isSafe = parts.allSatisfy { part in
      !part.isEmpty && !part.elementsEqual(".".utf8) && !part.elementsEqual("..".utf8) && !part.contains(0)
    }
    guard isSafe, path.utf8.count <= 4096 else {
      throw .untrusted(file: path, .malformed(place: "path", reason: "not a path below the repository"))
    }
  }

  /// All targets of all roles, each path once, as who is asked first has it. All metadata is in the store then.
  ///
  /// - Throws: as ``target(_:)``.
  mutating func allTargets() async throws -> [Target] {
    let lock = try await client.store.lock(timeLimit: client.options.lockTimeLimit)
    defer { try? lock.close() }
    return try await client.durably { try await collectTargets() }
  }

  private mutating func collectTargets() async throws -> [Target] {
    typealias Scope = (String) -> Bool
    var result: [Target] = []
    // Without a role: nobody behind speaks for what is in the scope.
    var waiting: [(role: String?, delegator: String, scope: Scope)] = [("targets", "root", { _ in true })]
    var closed: [Scope] = []
    var visited: Set<[[UInt8]]> = []
    var seen: Set<[UInt8]> = []
    while let (role, delegator, scope) = waiting.popLast() {
      guard let role else {
        closed.append(scope)
        continue
      }
      guard visited.insert([Array(delegator.utf8), Array(role.utf8)]).inserted else { continue }
      guard visited.count <= client.options.maximumDelegations else {
        throw RepositoryError.untrusted(file: role, .tooMany("roles to ask", limit: client.options.maximumDelegations))
      }
      let targets = try await client.targets(of: role, by: delegator, &trusted)
      for member in targets.targets.members where scope(member.name) && !closed.contains(where: { $0(member.name) }) {
        guard seen.insert(Array(member.name.utf8)).inserted else { continue }
        try Self.checkPath(member.name)
        if let target = try targets.target(member.name) { result.append(target) }
      }
      for child in (targets.delegations?.roles ?? []).reversed() {
        let covers: Scope = { scope($0) && child.covers($0) }
        if child.isTerminating { waiting.append((nil, role, covers)) }
        waiting.append((child.keys.name, role, covers))
      }
    }
    return result
  }

  /// The files of the metadata that is trusted now, with their roles: the root first, without the timestamp.
  var metadataFiles: [(name: String, role: String)] {
    let version = trusted.timestamp?.snapshot.version ?? 0
    let versions =
      [("snapshot", version)] + (trusted.snapshot?.versions ?? []).map { (String($0.name.dropLast(".json".count)), $0.version) }
    return [("\(trusted.root.head.version).root.json", "root")]
      + versions.map { role, version in ((trusted.root.hasConsistentSnapshots ? "\(version)." : "") + role.quoted + ".json", role) }
  }

  /// The path below the repository's root at which a target's bytes are found.
  func path(of target: Target) -> String { trusted.root.hasConsistentSnapshots ? target.consistentPath : target.path }

  /// Where a target is fetched from.
  func url(of target: Target, below base: String) -> String {
    path(of: target).urlPath(below: base.withoutTrailingSlashes)
  }

  /// Brings a small target into memory, verified.
  ///
  /// - Throws: as ``download(_:from:to:)``; ``RepositoryError/tooLarge(url:limit:)``.
  public func bytes(of target: Target, from base: String, limit: UInt64) async throws -> [UInt8] {
    let url = url(of: target, below: base)
    guard target.byteCount <= limit else { throw RepositoryError.tooLarge(url: url, limit: limit) }
    let bytes = try await client.transport.bytes(of: url, maximumByteCount: target.byteCount, timeLimit: client.options.timeLimit)
    var digester = Digester()
    digester.update(bytes)
    let isRight = UInt64(bytes.count) == target.byteCount && target.hashes.match(bytes)
    guard isRight else { throw mismatch(target, url, UInt64(bytes.count), digester.finish()) }
    return bytes
  }

  /// Brings a target to a path: it is there whole and verified, or not at all. What is there already is not fetched again.
  ///
  /// - Parameter base: the URL or path of the directory of targets.
  /// - Returns: whether it was fetched.
  /// - Throws: ``RepositoryError/untrusted(file:_:)``; what the transport throws; ``RepositoryError/system(operation:path:_:)``.
  @discardableResult
  public func download(_ target: Target, from base: String, to path: FilePath) async throws -> Bool {
    if (try? Files.status(of: path)) != nil, (try? verify(path, target)) == true { return false }
    let url = url(of: target, below: base)
    try await client.transport.replacing(path) { partial in
      let got = try await client.transport.write(url, creating: partial, maximumByteCount: target.byteCount)
      guard got.byteCount == target.byteCount, target.hashes.sha256 ?? got.sha256 == got.sha256, try verify(partial, target) else {
        throw mismatch(target, url, got.byteCount, got.sha256)
      }
    }
    return true
  }

  private func verify(_ path: FilePath, _ target: Target) throws -> Bool {
    let digest = try Files.digest(of: path)
    guard digest.byteCount == target.byteCount, target.hashes.sha256 ?? digest.sha256 == digest.sha256 else { return false }
    guard target.hashes.sha512 != nil else { return true }
    return target.hashes.match(try Files.contents(of: path, limit: Int(clamping: target.byteCount)))
  }

  private func mismatch(_ target: Target, _ url: String, _ byteCount: UInt64, _ sha256: [UInt8]) -> RepositoryError {
    .untrusted(
      file: url,
      .mismatch(
        expected: "\(target.byteCount) bytes with hash \(target.hashes.prefix)",
        got: "\(byteCount) bytes with SHA-256 \(sha256.hexadecimal)"))
  }
}
