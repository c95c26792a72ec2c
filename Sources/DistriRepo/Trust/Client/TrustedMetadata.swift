// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

/// Metadata that is trusted, and the rules by which more becomes so: section 5 of the specification without files and network.
struct TrustedMetadata: Sendable {
  /// When the update began; expiry is judged by this one moment.
  let now: UTCTime
  private(set) var root: RootMetadata
  private(set) var timestamp: TimestampMetadata?
  private(set) var snapshot: SnapshotMetadata?
  private var targets: [Delegation: TargetsMetadata] = [:]

  /// A role by the keys of this delegator: what another one delegates to has to be verified anew.
  private struct Delegation: Hashable {
    var delegator: [UInt8]
    var role: [UInt8]

    init(_ role: String, by delegator: String) { (self.delegator, self.role) = (Array(delegator.utf8), Array(role.utf8)) }
  }

  /// Starts from a root that is trusted as it is, provided that it is signed by its own keys.
  init(root bytes: [UInt8], file: String, now: UTCTime) throws(RepositoryError) {
    let metadata = try SignedMetadata(bytes, file: file, type: "root")
    let root = try RootMetadata(metadata)
    try metadata.verify(root.role("root"), keys: root.keys)
    self.root = root
    self.now = now
  }

  /// Takes the next root: signed by the keys of the trusted one and by its own. It may have expired if there is a further one.
  mutating func updateRoot(_ bytes: [UInt8], file: String) throws(RepositoryError) {
    let metadata = try SignedMetadata(bytes, file: file, type: "root")
    let next = try RootMetadata(metadata)
    try metadata.verify(root.role("root"), keys: root.keys)
    try metadata.verify(next.role("root"), keys: next.keys)
    let expected = root.head.version.addingReportingOverflow(1)
    guard !expected.overflow, next.head.version == expected.partialValue else {
      throw .untrusted(file: file, .wrongVersion(expected: expected.partialValue, got: next.head.version))
    }
    root = next
  }

  /// Once there is no further root.
  func checkRootExpiry(file: String) throws(RepositoryError) { try root.head.checkExpiry(at: now, of: file) }

  /// Takes a timestamp, which may have expired: that is for ``checkTimestampExpiry(file:)``.
  ///
  /// - Returns: false when it is of the version that is trusted already, which stays.
  mutating func updateTimestamp(_ bytes: [UInt8], file: String) throws(RepositoryError) -> Bool {
    let metadata = try SignedMetadata(bytes, file: file, type: "timestamp")
    let next = try TimestampMetadata(metadata)
    try metadata.verify(root.role("timestamp"), keys: root.keys)
    if let timestamp {
      guard next.head.version >= timestamp.head.version else {
        throw .untrusted(file: file, .rolledBack(trusted: timestamp.head.version, offered: next.head.version))
      }
      if next.head.version == timestamp.head.version { return false }
      guard next.snapshot.version >= timestamp.snapshot.version else {
        throw .untrusted(
          file: "\(file): snapshot", .rolledBack(trusted: timestamp.snapshot.version, offered: next.snapshot.version))
      }
    }
    timestamp = next
    return true
  }

  func checkTimestampExpiry(file: String) throws(RepositoryError) { try timestamp?.head.checkExpiry(at: now, of: file) }

  /// Takes a snapshot that was trusted before, as what later ones must not go back behind.
  ///
  /// - Returns: whether it is the one that the timestamp names, and still valid.
  mutating func restoreSnapshot(_ bytes: [UInt8], file: String) throws(RepositoryError) -> Bool {
    let metadata = try SignedMetadata(bytes, file: file, type: "snapshot")
    let old = try SnapshotMetadata(metadata)
    try metadata.verify(root.role("snapshot"), keys: root.keys)
    snapshot = old
    guard let info = timestamp?.snapshot else { return false }
    return old.head.version == info.version && info.matches(bytes) && now < old.head.expires
  }

  /// Takes the snapshot that the timestamp names.
  mutating func updateSnapshot(_ bytes: [UInt8], file: String) throws(RepositoryError) {
    guard let info = timestamp?.snapshot else { throw .untrusted(file: file, .notInitialized) }
    try info.check(bytes, file: file)
    let metadata = try SignedMetadata(bytes, file: file, type: "snapshot")
    let next = try SnapshotMetadata(metadata)
    try metadata.verify(root.role("snapshot"), keys: root.keys)
    guard next.head.version == info.version else {
      throw .untrusted(file: file, .wrongVersion(expected: info.version, got: next.head.version))
    }
    for (name, version) in snapshot?.versions ?? [] {
      guard let offered = next.version(of: name) else { throw .untrusted(file: "\(file): \(name)", .notInSnapshot) }
      guard offered >= version else {
        throw .untrusted(file: "\(file): \(name)", .rolledBack(trusted: version, offered: offered))
      }
    }
    try next.head.checkExpiry(at: now, of: file)
    snapshot = next
  }

  /// What the snapshot says of a role's file.
  func file(of role: String) throws(RepositoryError) -> MetadataFileInfo {
    guard let info = snapshot?.file(of: role) else { throw .untrusted(file: "\(role).json", .notInSnapshot) }
    return info
  }

  /// Takes targets metadata of a role: the top-level one by the root's keys, any other by its delegator's.
  mutating func updateTargets(
    _ bytes: [UInt8], of role: String, by delegator: String, file: String
  ) throws(RepositoryError) -> TargetsMetadata {
    let info = try self.file(of: role)
    try info.check(bytes, file: file)
    let metadata = try SignedMetadata(bytes, file: file, type: "targets")
    if delegator == "root" {
      try metadata.verify(root.role(role), keys: root.keys)
    } else {
      guard let delegations = targets(of: delegator)?.delegations,
        let delegated = delegations.roles.first(where: { $0.keys.name.hasSameBytes(as: role) })
      else { throw .untrusted(file: file, .noSuchTarget) }
      try metadata.verify(delegated.keys, keys: delegations.keys)
    }
    let next = try TargetsMetadata(metadata)
    guard next.head.version == info.version else {
      throw .untrusted(file: file, .wrongVersion(expected: info.version, got: next.head.version))
    }
    try next.head.checkExpiry(at: now, of: file)
    targets[Delegation(role, by: delegator)] = next
    return next
  }

  /// A role's metadata as it was verified by this delegator.
  func targets(of role: String, by delegator: String) -> TargetsMetadata? { targets[Delegation(role, by: delegator)] }

  /// A role's metadata as it was verified by any delegator: the same bytes, since there is one snapshot.
  private func targets(of role: String) -> TargetsMetadata? {
    targets.first { $0.key.role.elementsEqual(role.utf8) }?.value
  }
}
