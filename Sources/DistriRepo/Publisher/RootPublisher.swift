// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import SystemPackage

/// Makes the first root of a repository, and further ones.
struct RootPublisher {
  let signing: RepositorySigning

  typealias File = (name: String, bytes: [UInt8])

  /// The root that is to be used: the newest that is there, or a new one, and what is to be written for it.
  ///
  /// - Throws: ``RepositoryError/signing(key:reason:)``; ``RepositoryError/untrusted(file:_:)``.
  func sign(in files: MetadataFiles) async throws -> (root: RootMetadata, isNew: Bool, files: [File]) {
    guard let version = try files.versions(of: "root").first else {
      let (root, bytes) = try await first()
      return (root, true, [("1.root.json", bytes), (Self.copyName, bytes)])
    }
    let path = files.directory.appending("\(version).root.json")
    let bytes = try Files.contents(of: path, limit: TrustStore.maximumRootByteCount)
    let trusted = try TrustedMetadata(root: bytes, file: path.string, now: signing.now)
    guard signing.rotatesRoot else {
      // A kill may have come between the two.
      let copy = try? Files.contents(of: files.directory.appending(Self.copyName), limit: TrustStore.maximumRootByteCount)
      return (trusted.root, false, copy == bytes ? [] : [(Self.copyName, bytes)])
    }
    let (root, next) = try await next(after: trusted)
    return (root, true, [("\(root.head.version).root.json", next), (Self.copyName, next)])
  }

  /// The newest root, for people who hand it out. Clients go by the versions.
  private static let copyName = "root.json"

  private func first() async throws -> (RootMetadata, [UInt8]) {
    for role in RootMetadata.roleNames where signing.signers(of: role).isEmpty {
      throw RepositoryError.signing(key: role, reason: "no key for this role is given; the first root needs one for each role")
    }
    var root = RootMetadata(head: head(version: 1))
    try delegate(in: &root)
    let bytes = try await SignedMetadata.bytes(of: root.signed, signedBy: signing.signers(of: "root"))
    return (try TrustedMetadata(root: bytes, file: "1.root.json", now: signing.now).root, bytes)
  }

  private func next(after trusted: TrustedMetadata) async throws -> (RootMetadata, [UInt8]) {
    var root = trusted.root
    root.head = head(version: root.head.version + 1)
    try delegate(in: &root)
    let signers = signing.signers(of: "root") + signing.formerRootSigners
    let bytes = try await SignedMetadata.bytes(of: root.signed, signedBy: signers)
    var trusted = trusted
    // As every client will judge it.
    try trusted.updateRoot(bytes, file: "\(root.head.version).root.json")
    return (trusted.root, bytes)
  }

  private func head(version: Int64) -> MetadataHead {
    MetadataHead(version: version, expires: signing.now.advanced(by: signing.lifetime(of: "root")))
  }

  private func delegate(in root: inout RootMetadata) throws {
    for role in RootMetadata.roleNames {
      guard let signers = signing.signers[role] else { continue }
      root.delegate(role, to: signers.map(\.key), threshold: signing.threshold(of: role))
      let (count, threshold) = (root.role(role).keyIDs.count, signing.threshold(of: role))
      guard threshold <= count else {
        throw RepositoryError.signing(
          key: role, reason: "a threshold of \(threshold) needs more than the \(count) keys that are given")
      }
    }
  }
}
