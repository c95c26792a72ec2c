// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import SystemPackage

extension LocalStore {
  /// Adds packages: all that the body staged appears when it returns, durable, each package whole. When it throws, nothing happened.
  ///
  /// Areas are filled in parallel, by this and other processes. The store is locked only while leftovers of killed writers are
  /// cleared and while the files, on the medium by then, are renamed. A kill before the commit leaves the store as it was; after
  /// it, the next writer finishes the renames.
  ///
  /// Images are opened before: what is none never gets into the store. A package that is there already never changes: the same bytes staged again are dropped, others are an error.
  ///
  /// - Throws: what the body throws; ``StoreError/immutable(_:in:)``; ``StoreError/locked(_:holder:)``;
  ///   ``StoreError/invalidMetadata(of:line:reason:)`` or ``StoreError/damagedImage(_:place:reason:)`` when one of a package's two
  ///   files was not staged; ``StoreError/system(operation:path:_:)``.
  public func transaction(_ body: (borrowing StagingArea) async throws -> Void) async throws { _ = try await transact(nil, body) }

  /// Adds packages, and puts them in the place of damaged ones: as ``transaction(_:)``, but of the packages that are named, what is there
  /// counts for nothing. Programs that have an old image open keep it.
  ///
  /// - Throws: as ``transaction(_:)``.
  public func repair(_ damaged: Set<PackageID>, _ body: (borrowing StagingArea) async throws -> Void) async throws {
    _ = try await transact(nil, replacing: damaged, body)
  }

  func transact(
    _ change: GenerationMaker?, replacing damaged: Set<PackageID> = [], _ body: (borrowing StagingArea) async throws -> Void
  ) async throws -> Generation? {
    let writer = try await openForWriting()
    let lock = try await writer.lock(patience: patience)
    try await blocking { try writer.recover() }
    let area = try StagingArea.make(in: writer.staging)
    lock.release()
    let (handle, name) = (area.handle, area.name)
    do {
      try await body(area)
      try Task.checkCancellation()
      let staged = try await blocking { try StagedPackages(checking: handle) }
      // The view's index is made while the disk is busy with the rest.
      async let indexed: Void = makeIndexes(of: staged.images, in: handle)
      try await synchronize(staged.fileNames, in: handle)
      await indexed
      let lock = try await writer.lock(patience: patience)
      let generation = try await blocking { [self] in
        // Again: what another writer had decided when it was killed meanwhile comes before what we decide.
        try writer.recover()
        return try writer.commit(staged, replacing: damaged, handle, name, change, self)
      }
      lock.release()
      return generation
    } catch {
      try? await blocking { try writer.staging.removeTree(name) }
      throw error
    }
  }

  /// Takes packages away, the image of each first; programs that have an image open keep it. Durable when it returns.
  ///
  /// - Throws: ``StoreError/notFound(_:)``, and then nothing happened; ``StoreError/locked(_:holder:)``;
  ///   ``StoreError/system(operation:path:_:)``.
  public func remove(_ packages: [PackageID]) async throws {
    for package in packages where !(try contains(package)) { throw StoreError.notFound(package.description) }
    let writer = try await openForWriting()
    let lock = try await writer.lock(patience: patience)
    try await blocking {
      try writer.recover()
      try writer.remove(packages)
      for package in packages { IndexDirectory(self).remove(IndexDirectory.fileName(of: package.description)) }
    }
    lock.release()
  }

  /// Clears what killed writers left behind, as every transaction does first.
  ///
  /// - Throws: ``StoreError/locked(_:holder:)``; ``StoreError/system(operation:path:_:)``.
  public func recover() async throws {
    let writer = try await openForWriting()
    let lock = try await writer.lock(patience: patience)
    try await blocking { try writer.recover() }
    lock.release()
  }

  /// Into the area, from where they move with their images. An index is derived: where it cannot be made, whoever shows the package makes it,
  /// or names the damage.
  private func makeIndexes(of packages: Set<PackageID>, in area: DirectoryHandle) async {
    _ = try? await blocking {
      for package in packages.sorted() { try? IndexDirectory.makeIndex(of: package, in: area) }
    }
  }

  func openForWriting() async throws -> StoreWriter {
    try await blocking { [path, section] in try StoreWriter(store: path, section: section) }
  }
}

/// The packages' files in a staging area.
struct StagedPackages: Sendable {
  var images: Set<PackageID> = []
  var metadata: Set<PackageID> = []

  /// - Throws: ``StoreError/damagedImage(_:place:reason:)`` when an image is none.
  init(checking area: DirectoryHandle) throws(StoreError) {
    self.init(names: try area.names())
    for package in images.sorted() {
      let image = try PackageImage(path: area.path.appending(package.imageFileName))
      _ = try image.attributes(of: image.root)
    }
  }

  init(names: [EntryName]) {
    for name in names.map(\.description) {
      guard let package = (try? PackageQuery(parsing: name))?.exact else { continue }
      if package.imageFileName == name { images.insert(package) }
      if package.metadataFileName == name { metadata.insert(package) }
    }
  }

  var fileNames: [String] { images.sorted().map(\.imageFileName) + metadata.sorted().map(\.metadataFileName) }
}

/// The steps of a commit. All of its methods want the store's lock held, but for ``lock(patience:)``.
struct StoreWriter: Sendable {
  let store: DirectoryHandle
  let staging: DirectoryHandle
  private let section: LocalStore.Section

  // An area is renamed to say what has been decided; from then on it is finished, by its writer or the next one.
  private static let commitSuffix = ".commit"
  private static let removeSuffix = ".remove"

  /// Opens the section, makes it where it is missing.
  init(store path: FilePath, section: LocalStore.Section) throws(StoreError) {
    if section != .packages { try makeDirectoryIfMissing(path.removingLastComponent()) }
    try makeDirectoryIfMissing(path)
    try makeDirectoryIfMissing(path.appending(".staging"))
    store = try DirectoryHandle(opening: path)
    staging = try store.openDirectory(beneath: try TreePath(parsing: ".staging"))
    self.section = section
  }

  /// Opens what is there, to look at it: for readers that have no right to write.
  init(existing path: FilePath) throws(StoreError) {
    store = try DirectoryHandle(opening: path)
    staging = try store.openDirectory(beneath: try TreePath(parsing: ".staging"))
    section = .packages
  }

  var partials: PartialFiles { PartialFiles(staging: staging.path) }

  func lock(patience: Duration) async throws -> StoreLock {
    try await StoreLock.acquire(in: staging, store: store.path, patience: patience)
  }

  /// Makes the staged packages appear; their data is on the medium.
  ///
  /// - Parameters:
  ///   - damaged: whose files are replaced, whatever they are.
  ///   - change: decides what the next generation names.
  func commit(
    _ staged: consuming StagedPackages, replacing damaged: Set<PackageID>, _ area: DirectoryHandle, _ name: EntryName,
    _ change: GenerationMaker?, _ own: LocalStore
  ) throws -> Generation? {
    try dropPresent(&staged, except: damaged, area)
    if section.needsMetadata {
      if let package = staged.images.subtracting(staged.metadata).min() {
        throw StoreError.invalidMetadata(of: package.metadataFileName, line: nil, reason: "the image was staged without it")
      }
    }
    if let package = staged.metadata.subtracting(staged.images).min() {
      throw StoreError.damagedImage(
        area.path.appending(package.imageFileName), place: "file", reason: "its metadata was staged without it")
    }
    let generation = try change.flatMap { try stageGeneration($0, staged, area, of: own) }
    guard !staged.images.isEmpty || generation != nil else {
      try staging.removeTree(name)
      return nil
    }
    try area.synchronize()
    let decided = try EntryName("\(name)\(Self.commitSuffix)")
    try staging.rename(name, to: staging, as: decided)
    try staging.synchronize()
    try finishCommit(area)
    if !staged.images.isEmpty {
      try pointToNewest(Set(staged.images.map(\.unversioned)), using: area)
      try store.synchronize()
    }
    try staging.removeTree(decided)
    return generation
  }

  /// Takes out of the area what the store has already, byte for byte.
  private func dropPresent(
    _ staged: inout StagedPackages, except damaged: Set<PackageID>, _ area: DirectoryHandle
  ) throws(StoreError) {
    for package in staged.images.union(staged.metadata).subtracting(damaged).sorted() where try isVisible(package) {
      for file in [package.imageFileName, package.metadataFileName] {
        let name = try EntryName(file)
        guard try area.status(of: name) != nil else { continue }
        guard try sameContents(name, in: area, store) else { throw .immutable(package, in: store.path) }
        try area.remove(name)
      }
      staged.images.remove(package)
      staged.metadata.remove(package)
    }
  }

  private func finishCommit(_ area: DirectoryHandle) throws(StoreError) {
    let staged = StagedPackages(names: try area.names())
    for package in staged.images.sorted() { IndexDirectory.move(indexOf: package, from: area, to: store) }
    for package in staged.metadata.sorted() { try move(package.metadataFileName, from: area, to: store) }
    for package in staged.images.sorted() { try move(package.imageFileName, from: area, to: store) }
    try finishGeneration(area)
  }

  func remove(_ packages: [PackageID]) throws(StoreError) {
    let area = try StagingArea.make(in: staging, suffix: Self.removeSuffix)
    for package in Set(packages).sorted() { try move(package.imageFileName, from: store, to: area.handle) }
    try store.synchronize()
    try finishRemove(area.handle)
    try pointToNewest(Set(packages.map(\.unversioned)), using: area.handle)
    try store.synchronize()
    try staging.removeTree(area.name)
  }

  private func finishRemove(_ area: DirectoryHandle) throws(StoreError) {
    for package in StagedPackages(names: try area.names()).images.sorted() {
      let metadata = try EntryName(package.metadataFileName)
      guard try store.status(of: try EntryName(package.imageFileName)) == nil, try store.status(of: metadata) != nil else {
        continue
      }
      try store.remove(metadata)
    }
  }

  private func move(_ name: String, from: DirectoryHandle, to: DirectoryHandle) throws(StoreError) {
    let name = try EntryName(name)
    try from.rename(name, to: to, as: name)
  }

  /// Clears or finishes the areas of writers that live no more. A live one holds its area's lock.
  func recover() throws(StoreError) {
    try partials.prune()
    var finished = false
    for name in try staging.names() where ![StoreLock.fileName, PartialFiles.directoryName].contains(name.description) {
      guard let area = try openArea(name) else { continue }
      do { guard try area.descriptor.lockExclusively() else { continue } } catch {
        throw .system(operation: "lock", path: area.path, error)
      }
      if name.description.hasSuffix(Self.commitSuffix) { try finishCommit(area) }
      if name.description.hasSuffix(Self.removeSuffix) { try finishRemove(area) }
      if name.description.hasSuffix(Self.commitSuffix) || name.description.hasSuffix(Self.removeSuffix) {
        // Which packages it was about can no longer be told when their files were moved: all links are checked.
        try pointToNewest(nil, using: area)
        finished = true
      }
      if finished { try store.synchronize() }
      try staging.removeTree(name)
    }
  }

  /// Nil for what is none, and is removed, and for one that its owner has given up meanwhile, which he does without the lock.
  private func openArea(_ name: EntryName) throws(StoreError) -> DirectoryHandle? {
    do throws(StoreError) {
      guard let status = try staging.status(of: name) else { return nil }
      if status.isDirectory { return try staging.openDirectory(beneath: TreePath(components: [name])) }
      try staging.remove(name)
    } catch {
      if case .system(_, _, .noSuchFileOrDirectory) = error { return nil }
      throw error
    }
    return nil
  }

  /// Makes `<name>-<architecture>.meta.textproto` links lead to the newest version, each replaced atomically.
  ///
  /// - Parameter names: which; nil for all.
  private func pointToNewest(_ names: Set<String>?, using area: DirectoryHandle) throws(StoreError) {
    guard section.needsMetadata else { return }
    let listed = try store.names()
    let versions = Dictionary(grouping: StoreListing(names: listed, needsMetadata: true).packages, by: \.unversioned)
    let linked = listed.compactMap { name -> String? in
      guard name.description.hasSuffix(".meta.textproto"), let query = try? PackageQuery(parsing: name.description),
        query.exact == nil, query.architecture != nil
      else { return nil }
      return query.description
    }
    for unversioned in (names ?? Set(linked).union(versions.keys)).sorted() {
      let link = try EntryName("\(unversioned).meta.textproto")
      let status = try store.status(of: link)
      guard let newest = versions[unversioned]?.newest() else {
        if status?.isSymbolicLink == true { try store.remove(link) }
        continue
      }
      let target = Array(newest.metadataFileName.utf8)
      if status?.isSymbolicLink == true, try store.symbolicLinkTarget(of: link) == target { continue }
      if try area.status(of: link) != nil { try area.remove(link) }
      try area.makeSymbolicLink(link, target: target)
      try area.rename(link, to: store, as: link)
    }
  }

  private func isVisible(_ package: PackageID) throws(StoreError) -> Bool {
    guard try store.status(of: try EntryName(package.imageFileName)) != nil else { return false }
    guard section.needsMetadata else { return true }
    return try store.status(of: try EntryName(package.metadataFileName)) != nil
  }
}
