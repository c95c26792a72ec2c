// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import SystemPackage

/// Makes the first root of a repository, and further ones.
struct RootPublisher {
  let signing: RepositorySigning

  /// The root that is to be used: the newest that is there, or a new one.
  ///
  /// - Throws: ``RepositoryError/signing(key:reason:)``; ``RepositoryError/untrusted(file:_:)``.
  func publish(in files: inout MetadataFiles) async throws -> (root: RootMetadata, isNew: Bool) {
    guard let version = try files.versions(of: "root").first else { return (try await first(in: files), true) }
    let path = files.directory.appending("\(version).root.json")
    let bytes = try Files.contents(of: path, limit: TrustStore.maximumRootByteCount)
    let trusted = try TrustedMetadata(root: bytes, file: path.string, now: signing.now)
    guard signing.rotatesRoot else {
      // What a kill may have left undone.
      try publishCopy(of: bytes, in: files)
      return (trusted.root, false)
    }
    return (try await next(after: trusted, in: files), true)
  }

  private func first(in files: MetadataFiles) async throws -> RootMetadata {
    for role in RootMetadata.roleNames where signing.signers(of: role).isEmpty {
      throw RepositoryError.signing(key: role, reason: "no key for this role is given; the first root needs one for each role")
    }
    var root = RootMetadata(head: head(version: 1))
    delegate(in: &root)
    let bytes = try await SignedMetadata.bytes(of: root.signed, signedBy: signing.signers(of: "root"))
    let trusted = try TrustedMetadata(root: bytes, file: "1.root.json", now: signing.now)
    try files.write(bytes, "1.root.json")
    try publishCopy(of: bytes, in: files)
    return trusted.root
  }

  private func next(after trusted: TrustedMetadata, in files: MetadataFiles) async throws -> RootMetadata {
    var root = trusted.root
    root.head = head(version: root.head.version + 1)
    delegate(in: &root)
    let name = "\(root.head.version).root.json"
    let signers = signing.signers(of: "root") + signing.formerRootSigners
    let bytes = try await SignedMetadata.bytes(of: root.signed, signedBy: signers)
    var trusted = trusted
    // As every client will judge it.
    try trusted.updateRoot(bytes, file: name)
    try files.write(bytes, name)
    try publishCopy(of: bytes, in: files)
    return trusted.root
  }

  private func head(version: Int64) -> MetadataHead {
    MetadataHead(version: version, expires: signing.now.advanced(by: signing.lifetime(of: "root")))
  }

  private func delegate(in root: inout RootMetadata) {
    for role in RootMetadata.roleNames {
      guard let signers = signing.signers[role] else { continue }
      root.delegate(role, to: signers.map(\.key), threshold: signing.threshold(of: role))
    }
  }

  /// `root.json`, for people who hand it out. Clients go by the versions.
  private func publishCopy(of bytes: [UInt8], in files: MetadataFiles) throws {
    let path = files.directory.appending("root.json")
    if let old = try? Files.contents(of: path, limit: TrustStore.maximumRootByteCount), old == bytes { return }
    try files.write(bytes, "root.json")
  }
}
