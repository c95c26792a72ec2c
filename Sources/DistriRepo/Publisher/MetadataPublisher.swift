// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore
import SystemPackage

/// Who signs the metadata of a repository, and for how long it is valid.
public struct RepositorySigning: Sendable {
  /// Who signs for `root`, `targets`, `snapshot` and `timestamp`; for a section such as `pkg`, who signs for `targets` where it has
  /// nobody of its own. The root's are needed only when a root is made or changed.
  public var signers: [String: [any Signer]] = [:]
  /// How many of them must sign; 1 where nothing is said.
  public var thresholds: [String: Int] = [:]
  /// For how long a new signature is valid, in seconds; what has less than half of it left is signed anew.
  public var lifetimes: [String: Int64] = defaultLifetimes
  /// What new metadata counts its time from.
  public var now: UTCTime
  /// Whether to make another root, with the keys of all roles in ``signers``; roles that are not there keep theirs.
  public var rotatesRoot = false
  /// Who signed for the root until now, as far as they do not go on to.
  public var formerRootSigners: [any Signer] = []
  /// How many snapshots stay for readers that are in the middle of one.
  public var keptSnapshotCount = 10

  /// A year for the root, half of it for targets, a month for snapshots, a week for timestamps.
  public static let defaultLifetimes: [String: Int64] = [
    "root": 365 * 86_400, "targets": 180 * 86_400, "snapshot": 30 * 86_400, "timestamp": 7 * 86_400,
  ]

  /// Signs from this moment on.
  public init(now: UTCTime = .now) { self.now = now }

  func signers(of role: String) -> [any Signer] { signers[role] ?? (isTopLevel(role) ? [] : signers["targets"] ?? []) }

  func threshold(of role: String) -> Int { thresholds[role] ?? (isTopLevel(role) ? 1 : thresholds["targets"] ?? 1) }

  func lifetime(of role: String) -> Int64 {
    lifetimes[role] ?? (isTopLevel(role) ? nil : lifetimes["targets"]) ?? Self.defaultLifetimes["targets"] ?? 0
  }

  private func isTopLevel(_ role: String) -> Bool { RootMetadata.roleNames.contains(role) }
}

/// Signs what a ``Publisher`` has put into a directory: `tuf/` below it gets metadata over all indexes and packages, and each file a
/// second name that starts with its hash.
///
/// The timestamp is replaced last, by a rename: a reader sees the old repository or the new one. What has not changed is left alone,
/// and the same input at the same time gives the same bytes as far as the keys do, which Ed25519's do.
public struct MetadataPublisher: Sendable {
  /// What was signed.
  public struct Report: Sendable, Hashable, Codable {
    /// A role.
    public struct Role: Sendable, Hashable, Codable {
      /// Its name.
      public var name: String
      /// Its version now.
      public var version: Int64
      /// Until when it is valid.
      public var expires: String
      /// Whether it was signed now.
      public var isNew: Bool
    }

    /// The root first, the timestamp last.
    public var roles: [Role]
  }

  private let output: FilePath
  private let signing: RepositorySigning

  /// The directory of metadata in a repository.
  public static let directoryName = "tuf"

  /// Plans to sign the repository in a directory.
  public init(output: FilePath, signing: RepositorySigning) {
    self.output = output
    self.signing = signing
  }

  /// Signs what has changed or is about to expire.
  ///
  /// - Throws: ``RepositoryError/signing(key:reason:)``, above all when keys are missing; ``RepositoryError/untrusted(file:_:)`` when a
  ///   new root would not be trusted; ``RepositoryError/system(operation:path:_:)``; `StoreError.invalidMetadata` for a damaged index;
  ///   `StoreError.locked` while another process publishes there.
  public func publish() async throws -> Report {
    let directory = output.appending(Self.directoryName)
    try Files.makeDirectories(directory)
    let lock = try Files.lock(directory)
    defer { try? lock.close() }
    try Files.removeLeftovers(in: directory)
    let files = MetadataFiles(directory: directory)
    let (root, isNewRoot, rootFiles) = try await RootPublisher(signing: signing).sign(in: files)
    let sections = try LocalStore.Section.allCases.compactMap { try SectionTargets($0, in: output) }
    var job = SigningJob(signing: signing, files: files, root: root)
    try await job.sign(sections)
    // Nothing was written until everything could be signed. A new root and the timestamp by its keys appear one after the other.
    let newFiles = job.newFiles + rootFiles
    for (name, bytes) in newFiles { try files.write(bytes, name) }
    if !newFiles.isEmpty { try Files.synchronize(directory) }
    if let timestamp = job.newTimestamp { try files.replaceTimestamp(by: timestamp) }
    try job.prune(below: output, keeping: signing.keptSnapshotCount)
    let head = Report.Role(
      name: "root", version: root.head.version, expires: root.head.expires.description, isNew: isNewRoot)
    return Report(roles: [head] + job.roles)
  }
}

/// What metadata says of one published section.
private struct SectionTargets {
  let section: LocalStore.Section
  let index: Target
  let packages: [Target]

  /// Nil when the section is not published.
  init?(_ section: LocalStore.Section, in output: FilePath) throws {
    self.section = section
    let directory = output.appending(section.rawValue)
    let path = directory.appending(Repository.indexFileName)
    guard try Files.status(of: path) != nil else { return nil }
    // The index must not change between its hash and its second name.
    let lock = try Files.lock(directory)
    defer { try? lock.close() }
    let bytes = try Files.contents(of: path, limit: RepositoryIndex.maximumByteCount)
    var digester = Digester()
    digester.update(bytes)
    index = Target(
      path: "\(section.rawValue)/\(Repository.indexFileName)", byteCount: UInt64(bytes.count), sha256: digester.finish())
    packages = try RepositoryIndex(serialized: bytes, subject: path.string).packages.flatMap { package in
      let custom = package.treeRoot.map { ["tree": JSONValue.string($0.hexadecimal)] as JSONObject }
      let files = [(package.id.imageFileName, package.image, custom), (package.id.metadataFileName, package.metadata, nil)]
      return files.compactMap { name, digest, custom in
        digest.map { Target(path: "\(section.rawValue)/\(name)", byteCount: $0.byteCount, sha256: $0.sha256, custom: custom) }
      }
    }
    var hasNewLinks = false
    for target in packages + [index] where try Self.link(target, in: output) { hasNewLinks = true }
    if hasNewLinks { try Files.synchronize(directory) }
  }

  /// Whether there was none.
  private static func link(_ target: Target, in output: FilePath) throws -> Bool {
    let link = output.appending(target.consistentPath)
    guard try Files.status(of: link) == nil else { return false }
    let file = output.appending(target.path)
    guard let status = try Files.status(of: file) else {
      throw RepositoryError.system(operation: "stat", path: file, .noSuchFileOrDirectory)
    }
    try Files.linkOrCopy(file, to: link, modified: status.modificationTime)
    return true
  }
}

/// The metadata files of a publisher's own directory.
struct MetadataFiles {
  let directory: FilePath

  static let maximumByteCount = 256 << 20

  func read(_ name: String, type: String) -> SignedMetadata? {
    let path = directory.appending(name)
    guard let bytes = try? Files.contents(of: path, limit: Self.maximumByteCount) else { return nil }
    return try? SignedMetadata(bytes, file: path.string, type: type)
  }

  /// Whole at any time, but not yet durable.
  func write(_ bytes: [UInt8], _ name: String) throws(RepositoryError) {
    try Files.replaceLazily(directory.appending(name), by: bytes)
  }

  func replaceTimestamp(by bytes: [UInt8]) throws(RepositoryError) {
    try Files.replace(directory.appending("timestamp.json"), by: bytes)
  }

  /// The versions that a role has files of, the newest first.
  func versions(of role: String) throws(RepositoryError) -> [Int64] {
    try Files.names(in: directory).compactMap { name in
      guard name.string.hasSuffix(".\(role).json") else { return nil }
      return Int64(name.string.dropLast(role.utf8.count + 6))
    }.sorted(by: >)
  }
}

/// Signs everything below the root.
private struct SigningJob {
  let signing: RepositorySigning
  let files: MetadataFiles
  let root: RootMetadata
  var roles: [MetadataPublisher.Report.Role] = []
  /// What was signed anew and is to be written, by name.
  var newFiles: [(name: String, bytes: [UInt8])] = []
  var newTimestamp: [UInt8]?
  private let oldTimestamp: SignedMetadata?
  private let oldSnapshot: SnapshotMetadata?
  private let oldSnapshotFile: SignedMetadata?

  init(signing: RepositorySigning, files: MetadataFiles, root: RootMetadata) {
    self.signing = signing
    self.files = files
    self.root = root
    oldTimestamp = files.read("timestamp.json", type: "timestamp")
    let version = oldTimestamp.flatMap { try? TimestampMetadata($0) }?.snapshot.version
    oldSnapshotFile = version.flatMap { files.read("\($0).snapshot.json", type: "snapshot") }
    oldSnapshot = oldSnapshotFile.flatMap { try? SnapshotMetadata($0) }
  }

  mutating func sign(_ sections: [SectionTargets]) async throws {
    var infos: [String: MetadataFileInfo] = [:]
    var delegations = Delegations(keys: KeyRing(), roles: [])
    for section in sections {
      let name = section.section.rawValue
      let keys = try delegatedKeys(of: name, &delegations.keys)
      delegations.roles.append(
        DelegatedRole(keys: keys, scope: .paths([PathPattern("\(name)/*")]), isTerminating: true))
      infos[name] = try await sign(name, keys: (keys, delegations.keys), old: oldTargets(name), "targets") {
        TargetsMetadata(head: $0, targets: section.packages).signed
      }
    }
    let top = sections.map(\.index)
    infos["targets"] = try await sign("targets", keys: (root.role("targets"), root.keys), old: oldTargets("targets"), "targets") {
      TargetsMetadata(head: $0, targets: top, delegations: delegations).signed
    }
    let listed = infos
    let snapshot = try await sign("snapshot", keys: (root.role("snapshot"), root.keys), old: oldSnapshotFile, "snapshot") {
      SnapshotMetadata(head: $0, files: listed).signed
    }
    _ = try await sign("timestamp", keys: (root.role("timestamp"), root.keys), old: oldTimestamp, "timestamp") {
      TimestampMetadata(head: $0, snapshot: snapshot).signed
    }
  }

  private func oldTargets(_ role: String) -> SignedMetadata? {
    oldSnapshot?.file(of: role).flatMap { files.read("\($0.version).\(role).json", type: "targets") }
  }

  private func delegatedKeys(of role: String, _ ring: inout KeyRing) throws(RepositoryError) -> RoleKeys {
    let keys = signing.signers(of: role).map(\.key)
    guard !keys.isEmpty else { throw .signing(key: role, reason: "no key for this role is given, nor one for «targets»") }
    for key in keys { ring[key.keyID] = key }
    return RoleKeys(name: role, keyIDs: Set(keys.map(\.keyID)).sorted(), threshold: signing.threshold(of: role))
  }

  /// Keeps the old file where it says the same, is signed by the right keys and valid for long enough; signs a new one otherwise.
  private mutating func sign(
    _ role: String, keys: (role: RoleKeys, ring: KeyRing), old: SignedMetadata?, _ type: String,
    content: (MetadataHead) -> JSONObject
  ) async throws -> MetadataFileInfo {
    let oldHead = old.flatMap { try? MetadataHead($0.reader) }
    if let old, let oldHead, (try? old.verify(keys.role, keys: keys.ring)) != nil,
      oldHead.expires >= signing.now.advanced(by: signing.lifetime(of: role) / 2),
      JSONValue.object(content(oldHead)).canonical == old.canonical
    {
      report(role, oldHead, isNew: false)
      return MetadataFileInfo(version: oldHead.version, bytes: old.bytes)
    }
    // Past every version that there ever was a file of, whatever became of the timestamp.
    let last = max(oldHead?.version ?? 0, try files.versions(of: role).first ?? 0)
    let head = MetadataHead(version: last + 1, expires: signing.now.advanced(by: signing.lifetime(of: role)))
    let name = "\(head.version).\(role).json"
    let signers = signing.signers(of: role)
    let bytes = try await SignedMetadata.bytes(of: content(head), signedBy: signers)
    let valid = try SignedMetadata(bytes, file: name, type: type).validKeyCount(of: keys.role, keys: keys.ring)
    guard valid >= keys.role.threshold else {
      throw RepositoryError.signing(
        key: role, reason: "\(valid) of the keys that the root names for it are given, \(keys.role.threshold) are needed")
    }
    if role == "timestamp" { newTimestamp = bytes } else { newFiles.append((name, bytes)) }
    report(role, head, isNew: true)
    return MetadataFileInfo(version: head.version, bytes: bytes)
  }

  private mutating func report(_ role: String, _ head: MetadataHead, isNew: Bool) {
    roles.append(.init(name: role, version: head.version, expires: head.expires.description, isNew: isNew))
  }

  /// Removes what no kept snapshot names: metadata, and indexes under the name of their hash.
  func prune(below output: FilePath, keeping count: Int) throws {
    let kept = try files.versions(of: "snapshot").prefix(max(1, count))
    var named: Set<String> = Set(kept.map { "\($0).snapshot.json" })
    var indexes: Set<String> = []
    for version in kept {
      guard let file = files.read("\(version).snapshot.json", type: "snapshot"), let snapshot = try? SnapshotMetadata(file) else {
        continue
      }
      for (name, version) in snapshot.versions { named.insert("\(version).\(name)") }
      guard let info = snapshot.file(of: "targets"), let file = files.read("\(info.version).targets.json", type: "targets"),
        let targets = try? TargetsMetadata(file)
      else { continue }
      for member in targets.targets.members {
        if let target = try? targets.target(member.name) { indexes.insert(target.consistentPath) }
      }
    }
    for name in try Files.names(in: files.directory).map(\.string) where name.first?.isNumber == true {
      guard name.hasSuffix(".json"), !name.hasSuffix(".root.json"), !named.contains(name) else { continue }
      try Files.remove(files.directory.appending(name))
    }
    for section in LocalStore.Section.allCases {
      let directory = output.appending(section.rawValue)
      for name in try Files.names(in: directory).map(\.string) where name.hasSuffix(".\(Repository.indexFileName)") {
        guard !indexes.contains("\(section.rawValue)/\(name)") else { continue }
        try Files.remove(directory.appending(name))
      }
    }
  }
}
