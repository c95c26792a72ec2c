// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore
import Synchronization

/// Where the packages of a view come from: a store and, for what that has not, maybe others that lie elsewhere.
struct PackageSupply: Sendable {
  let store: LocalStore
  let remote: RemoteCatalog?
  let keeper: (any DescriptorKeeper)?
  /// Is told what is wrong with remote packages.
  var report: @Sendable (StoreError) -> Void = { _ in }

  /// The state of all of it.
  ///
  /// - Throws: ``StoreError/system(operation:path:_:)``.
  func fingerprint() throws(StoreError) -> StoreScan.Fingerprint { fingerprint(with: try StoreScan.fingerprint(of: store)) }

  /// The same, of a store that has been looked at.
  func fingerprint(with local: StoreScan.Fingerprint) -> StoreScan.Fingerprint {
    guard let remote = remote?.fingerprint else { return local }
    return .init(count: local.count &+ remote.count, sum: local.sum &+ remote.sum)
  }

  /// Gives the files of a package that lies elsewhere; nil for one of the store.
  func paths(of package: MountedPackage) -> (() -> [String])? {
    guard let remote, let there = remotePackage(of: package) else { return nil }
    return { remote.source.wellKnownPaths(of: there) }
  }

  /// What a mounted package is elsewhere; nil for one of the store.
  func remotePackage(of package: MountedPackage) -> RemotePackage? {
    guard let entry = remote?.entries[package.name.checksum], entry.identity == package.identity else { return nil }
    return entry.package
  }
}

/// The packages of a remote source, as a view wants to know them.
final class RemoteCatalog: Sendable {
  struct Entry: Sendable {
    var package: RemotePackage
    var identity: ImageIdentity
  }

  private struct State: Sendable {
    var source: any RemotePackageSource
    var entries: [UInt64: Entry] = [:]
    var fingerprint = StoreScan.Fingerprint()
  }

  private let state: Mutex<State>
  private let indexes: IndexDirectory

  init(_ source: any RemotePackageSource) {
    state = Mutex(Self.state(of: source))
    indexes = IndexDirectory(in: source.cacheDirectory)
  }

  var source: any RemotePackageSource { state.withLock { $0.source } }
  /// By the ``IndexBytes/checksum`` of the full name.
  var entries: [UInt64: Entry] { state.withLock { $0.entries } }
  /// Of all of them.
  var fingerprint: StoreScan.Fingerprint { state.withLock { $0.fingerprint } }

  /// Goes on with other packages, which use the same cache.
  func replace(by source: any RemotePackageSource) {
    let new = Self.state(of: source)
    state.withLock { $0 = new }
  }

  private static func state(of source: any RemotePackageSource) -> State {
    var state = State(source: source)
    for package in source.packages {
      let key = IndexBytes(Array(package.id.description.utf8)).checksum
      let entry = Entry(package: package, identity: ImageIdentity(package))
      state.entries[key] = entry
      var words: [UInt8] = []
      for word in [key] + entry.identity.binding { words.append(number: word) }
      state.fingerprint.count &+= 1
      state.fingerprint.sum &+= IndexBytes(words).checksum
    }
    return state
  }

  /// The index of a package that was touched before; nil when it is not here.
  func keptIndex(of package: RemotePackage, _ identity: ImageIdentity) -> PackageIndex? {
    PackageIndex.kept(IndexDirectory.fileName(of: package.name), in: indexes, of: identity)
  }

  /// The index, for which what describes the package's files is fetched.
  func makeIndex(of package: RemotePackage, _ identity: ImageIdentity) async throws -> PackageIndex {
    try await PackageIndex.making(
      IndexDirectory.fileName(of: package.name), in: indexes, of: source.image(of: package), identity,
      path: .init(package.id.imageFileName))
  }
}

extension ImageIdentity {
  /// Instead of a file, which there is none of: the image's hash.
  fileprivate init(_ package: RemotePackage) {
    let digest = IndexBytes(package.digest)
    self.init(
      inode: digest.u64(0), byteCount: package.byteCount, modificationTime: package.modificationTime, nanoseconds: digest.u32(8))
  }
}
