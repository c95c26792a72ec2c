// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore
import SystemPackage

/// Makes a repository of a store: a directory that any web server can serve.
///
/// Images and metadata are hard links of the store's where that is possible, copies elsewhere. Each file takes its place by a
/// rename and the index comes last, so that a reader never sees half of anything, and a kill leaves the old repository or the new
/// one. The same store gives the same bytes. Files of packages that left the store stay, for readers of an older index.
public struct Publisher: Sendable {
  /// What was published of one section.
  public struct SectionReport: Sendable, Hashable, Codable {
    /// `pkg`, `debug` or `src`.
    public var section: String
    /// Packages in the index.
    public var packageCount: Int
    /// Those that are new in it.
    public var newPackages: [PackageID]
    /// All images of the index, in bytes.
    public var byteCount: UInt64
  }

  private let store: FilePath
  private let output: FilePath
  private let maximumTasks: Int

  /// Plans to publish.
  ///
  /// - Parameters:
  ///   - store: the store's directory.
  ///   - output: the repository's directory; made where it does not exist.
  ///   - maximumTasks: packages that are read and hashed at the same time.
  public init(store: FilePath, output: FilePath, maximumTasks: Int = 4) {
    self.store = store
    self.output = output
    self.maximumTasks = max(1, maximumTasks)
  }

  /// Publishes the packages and, where the store has them, their debug symbols and sources.
  ///
  /// - Parameter onPackage: called for each package that was examined, in any order.
  /// - Throws: what `LocalStore` throws; `StoreError.damagedImage`; `StoreError.locked` while another process publishes there;
  ///   ``RepositoryError/system(operation:path:_:)``.
  public func publish(onPackage: @escaping @Sendable (PackageID) -> Void = { _ in }) async throws -> [SectionReport] {
    var reports: [SectionReport] = []
    for section in LocalStore.Section.allCases {
      let local = try LocalStore(path: store, section: section)
      let packages = try local.packages()
      guard section == .packages || !packages.isEmpty else { continue }
      reports.append(try await publish(packages, of: section, from: local.path, onPackage))
    }
    return reports
  }

  private func publish(
    _ packages: [PackageID], of section: LocalStore.Section, from source: FilePath,
    _ onPackage: @escaping @Sendable (PackageID) -> Void
  ) async throws -> SectionReport {
    let target = output.appending(section.rawValue)
    try Files.makeDirectories(target)
    let lock = try Files.lock(target)
    defer { try? lock.close() }
    try Files.removeLeftovers(in: target)
    let old = PublishedIndex(at: target.appending(Repository.indexFileName))
    let job = PublishJob(section: section, source: source, target: target, old: old)
    let entries = try await boundedMap(packages) { package in
      let entry = try job.publish(package)
      onPackage(package)
      return entry
    }
    try job.linkNewest(of: packages)
    let index = RepositoryIndex(packages: entries)
    try old.replace(by: try index.serialized())
    return SectionReport(
      section: section.rawValue, packageCount: entries.count, newPackages: packages.filter { old.entry(of: $0) == nil },
      byteCount: entries.reduce(0) { $0 &+ ($1.image?.byteCount ?? 0) })
  }

  private func boundedMap<Value: Sendable>(
    _ packages: [PackageID], _ body: @escaping @Sendable (PackageID) throws -> Value
  ) async throws -> [Value] {
    try await withThrowingTaskGroup(of: Value.self) { group in
      var results: [Value] = []
      for (position, package) in packages.enumerated() {
        if position >= maximumTasks, let value = try await group.next() { results.append(value) }
        group.addTask { try body(package) }
      }
      for try await value in group { results.append(value) }
      return results
    }
  }
}

/// What all packages of one section need to be published.
private struct PublishJob: Sendable {
  let section: LocalStore.Section
  let source: FilePath
  let target: FilePath
  let old: PublishedIndex

  func publish(_ package: PackageID) throws -> RepositoryIndex.Package {
    let known = old.entry(of: package)
    var entry = RepositoryIndex.Package(id: package)
    let treePath = target.appending(package.imageFileName + BlockTree.fileSuffix)
    let path = try place(package.imageFileName, known: try hasTree(known, at: treePath) ? known?.image : nil)
    if let known, path == nil {
      entry = known
      entry.metadata = nil
    } else {
      let path = path ?? target.appending(package.imageFileName)
      var tree = BlockTree.Builder()
      entry.image = try Files.digest(of: path) { tree.update($0) }
      let made = tree.finish()
      try Files.replaceCarelessly(treePath, by: made.serialized)
      entry.treeRoot = made.root
      let image = try PackageImage(path: path)
      entry.imageTime = image.creationTime
      if section != .sources { entry.wellKnownPaths = try WellKnownPaths.of(image) }
    }
    if try Files.status(of: source.appending(package.metadataFileName)) != nil {
      let path = try place(package.metadataFileName, known: known?.metadata)
      entry.metadata = try path.map { try Files.digest(of: $0) } ?? known?.metadata
    }
    return entry
  }

  /// Whether the image's tree that the old index speaks of is there. One that a power cut took has another size.
  private func hasTree(_ known: RepositoryIndex.Package?, at path: FilePath) throws -> Bool {
    guard let image = known?.image, known?.treeRoot != nil else { return false }
    return try Files.status(of: path)?.byteCount == BlockTree.fileByteCount(of: image.byteCount)
  }

  /// Puts a file of the store into the repository. Nil when the old index has it as it is; else it is to be hashed.
  private func place(_ name: String, known: RepositoryIndex.FileDigest?) throws -> FilePath? {
    try Task.checkCancellation()
    let (from, to) = (source.appending(name), target.appending(name))
    guard let wanted = try Files.status(of: from) else {
      throw RepositoryError.system(operation: "stat", path: from, .noSuchFileOrDirectory)
    }
    guard wanted.isRegular else { throw RepositoryError.system(operation: "publish", path: from, .notSupported) }
    let present = try Files.status(of: to)
    let isPresent = present.map { $0.isSameFile(as: wanted) || $0.isLikelyCopy(of: wanted) } ?? false
    if isPresent, let known, known.byteCount == wanted.byteCount, old.isNewer(than: wanted) { return nil }
    if !isPresent { try Files.linkOrCopy(from, to: to, modified: wanted.modificationTime) }
    return to
  }

  /// `<pkg>-<arch>.meta.textproto`, by which the original distri finds the newest version.
  func linkNewest(of packages: [PackageID]) throws {
    for versions in Dictionary(grouping: packages, by: \.unversioned).values {
      guard let newest = versions.newest() else { continue }
      guard try Files.status(of: target.appending(newest.metadataFileName)) != nil else { continue }
      try Files.replaceLink(at: target.appending("\(newest.unversioned).meta.textproto"), by: newest.metadataFileName)
    }
  }
}

/// The index that a publisher finds, and replaces.
private struct PublishedIndex: Sendable {
  private let path: FilePath
  private let bytes: [UInt8]?
  private let entries: [PackageID: RepositoryIndex.Package]
  private let modificationTime: Files.Time?

  /// One that is missing or damaged counts as empty: everything is hashed again.
  init(at path: FilePath) {
    self.path = path
    modificationTime = (try? Files.status(of: path))?.modificationTime
    bytes = try? Files.contents(of: path, limit: RepositoryIndex.maximumByteCount)
    let index = bytes.flatMap { try? RepositoryIndex(serialized: $0, subject: path.string) }
    entries = Dictionary((index?.packages ?? []).map { ($0.id, $0) }, uniquingKeysWith: { first, _ in first })
  }

  func entry(of package: PackageID) -> RepositoryIndex.Package? { entries[package] }

  /// A file that changed after the index was written is not what the index says.
  func isNewer(than file: Files.Status) -> Bool { modificationTime.map { file.modificationTime < $0 } ?? false }

  /// Puts the new index into place, durable, last of all. The same bytes are left alone, so that caches stay valid.
  func replace(by new: [UInt8]) throws {
    guard new != bytes else { return }
    try Files.replace(path, by: new)
  }
}
