// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore
import Synchronization
import SystemPackage

/// The packages that actions are made of: those of a store, and those that other actions have made and whose images are not here.
///
/// Any number of tasks may use it.
public final class ActionPackages: PackageCatalog, Sendable {
  private struct Remote {
    var metadata: PackageMetadata
    var bytes: [UInt8]
    var image: ContentDigest
  }

  /// The store.
  public let store: LocalStore
  /// What is known of its files.
  public let digests: FileDigests
  private let elsewhere = Mutex<[PackageID: Remote]>([:])
  private let parsed = Mutex<[PackageID: PackageMetadata]>([:])

  /// Starts with what the store has.
  public init(store: LocalStore, digests: FileDigests) {
    self.store = store
    self.digests = digests
  }

  /// Adds a package of which only the metadata are here.
  ///
  /// - Parameter metadata: the bytes of the metadata file.
  /// - Throws: ``StoreError/invalidMetadata(of:line:reason:)``.
  public func add(_ package: PackageID, metadata bytes: [UInt8], image: ContentDigest) throws(StoreError) {
    let metadata = try PackageMetadata(textproto: bytes, subject: package.metadataFileName)
    elsewhere.withLock { $0[package] = Remote(metadata: metadata, bytes: bytes, image: image) }
  }

  /// Those of the store, and those that were added, in ``PackageID``'s order.
  ///
  /// - Throws: as ``LocalStore/packages()``.
  public func packages() async throws -> [PackageID] {
    let added = elsewhere.withLock { Array($0.keys) }
    let present = try store.packages()
    return added.isEmpty ? present : Set(present).union(added).sorted()
  }

  /// What the package says of itself.
  ///
  /// - Throws: as ``LocalStore/metadata(of:)``.
  public func metadata(of package: PackageID) async throws -> PackageMetadata {
    if let remote = elsewhere.withLock({ $0[package] }) { return remote.metadata }
    // Packages never change.
    if let known = parsed.withLock({ $0[package] }) { return known }
    let metadata = try store.metadata(of: package)
    parsed.withLock { $0[package] = metadata }
    return metadata
  }

  /// The package's two files, as files of an action.
  ///
  /// - Throws: ``BuildError/system(operation:path:_:)`` for one that is not there.
  func files(of package: PackageID) throws -> [ActionFile] {
    let image = try ActionLayout.path(ActionLayout.store, package.imageFileName)
    let metadata = try ActionLayout.path(ActionLayout.store, package.metadataFileName)
    // What is here needs no storage.
    if !(try store.contains(package)), let remote = elsewhere.withLock({ $0[package] }) {
      return [ActionFile(image, .elsewhere, digest: remote.image), ActionFile(metadata, bytes: remote.bytes)]
    }
    return try [(image, package.imageFileName), (metadata, package.metadataFileName)].map { path, name in
      let file = store.path.appending(name)
      return ActionFile(path, .file(file), digest: try digests.digest(of: file))
    }
  }
}

extension InputDigest.Dependency {
  /// As ``init(_:in:)``, of a package whose image may be elsewhere.
  init(_ package: PackageID, in packages: ActionPackages) async throws {
    let metadata = try await packages.metadata(of: package)
    try await self.init(package, metadata) {
      try await onThread { try packages.files(of: package)[0].digest.sha256 }
    }
  }
}
