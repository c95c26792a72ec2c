// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore
import Synchronization
import SystemPackage

/// A package in a view: opened on first use and kept for as long as anybody uses a file of it.
final class MountedPackage: Sendable {
  /// As in ``NodeCodec``.
  let number: UInt32
  /// The full name.
  let name: IndexBytes
  /// Nil for an empty directory that only keeps the package's place.
  let identity: ImageIdentity?
  private let known: Summary
  private let found = AtomicLazyReference<Box<Summary>>()
  private let opened = AtomicLazyReference<OpenedPackage>()
  private let notes = AtomicLazyReference<Box<Mutex<StoreError?>>>()

  final class Box<Value: ~Copyable & Sendable>: Sendable {
    let value: Value
    init(_ value: consuming Value) { self.value = value }
  }

  /// Makes a package; `summary`, where it is known already.
  init(number: UInt32, name: IndexBytes, identity: ImageIdentity?, summary: Summary = Summary()) {
    self.number = number
    self.name = name
    self.identity = identity
    known = summary
  }

  /// The same package, of which nothing has been said yet.
  func renewed() -> MountedPackage {
    let package = MountedPackage(number: number, name: name, identity: identity)
    if let opened = opened.load() { _ = package.opened.storeIfNil(opened) }
    if let notes = notes.load() { _ = package.notes.storeIfNil(notes) }
    return package
  }

  /// The full name. A name that is none never gets into a view.
  var id: PackageID { get throws(StoreError) { try PackageID(parsing: String(decoding: name.array, as: UTF8.self)) } }

  /// For messages.
  var description: String { String(decoding: name.array, as: UTF8.self) }

  /// In seconds since 1970; of what has no image, 0.
  var modificationTime: Int64 { identity?.modificationTime ?? 0 }

  /// What a view says of the package without opening it.
  var summary: Summary { found.load()?.value ?? known }

  /// Whether it has not been opened yet, when it was looked at: so its claims may be missing.
  var isDoubtful: Bool { identity != nil && summary.modificationTime == nil }

  /// Set once, by the builder of the first view that shows the package.
  func set(_ summary: Summary) { _ = found.storeIfNil(Box(summary)) }

  /// What is wrong with the image, as far as it has been noticed.
  var problem: StoreError? { notes.load()?.value.withLock { $0 } }

  /// Remembers damage for ``problem``.
  @discardableResult
  func note(_ error: StoreError) -> StoreError {
    notes.storeIfNil(Box(Mutex(nil))).value.withLock { known in
      switch known {
      case nil, .unavailable: known = error
      default: break
      }
    }
    return error
  }

  /// Forgets a problem that may have passed.
  func clearPassingProblem() {
    notes.load()?.value.withLock { if case .system = $0 { $0 = nil } }
  }

  /// What is open, if it is.
  var openedIfUsed: OpenedPackage? { opened.load() }

  /// The name under which the image is kept for the next server.
  var keeperName: String { "image/\(number)/\(description)" }

  /// Index and image, opened on the first call.
  ///
  /// - Throws: ``StoreError/damagedImage(_:place:reason:)``, remembered; ``StoreError/system(operation:path:_:)``, tried again next time;
  ///   ``StoreError/unavailable(_:reason:)`` for a remote package that has to be fetched first.
  func open(in supply: PackageSupply) throws(StoreError) -> OpenedPackage {
    if let opened = opened.load() { return opened }
    guard let identity else { throw .notFound(description) }
    if let problem, case .damagedImage = problem { throw problem }
    if let remote = supply.remote, let package = supply.remotePackage(of: self) {
      guard let index = remote.keptIndex(of: package, identity) else { throw .unavailable(description, reason: "not here yet") }
      return opened.storeIfNil(OpenedPackage(index: index, remote: remote.source.image(of: package), description))
    }
    let (store, keeper) = (supply.store, supply.keeper)
    do throws(StoreError) {
      let file = try openImage(in: store, keeper, identity)
      defer { if !file.isInherited { try? file.descriptor.close() } }
      let path = store.path.appending("\(description).squashfs")
      let mapping: MappedFile
      do throws(Errno) { mapping = try MappedFile(descriptor: file.descriptor) } catch {
        throw .system(operation: "map", path: path, error)
      }
      let index = try store.index(of: description, image: mapping, identity)
      mapping.expectRandomAccess()
      let made = OpenedPackage(index: index, mapping: mapping, path: path)
      let winner = opened.storeIfNil(made)
      if winner === made, !file.isInherited { keeper?.keep(file.descriptor, as: keeperName) }
      return winner
    } catch {
      throw note(error)
    }
  }

  /// Fetches what ``open(in:)`` needs of a remote package.
  ///
  /// - Throws: what is wrong, remembered.
  func fetchIndex(of package: RemotePackage, from remote: RemoteCatalog, in supply: PackageSupply) async throws(StoreError) {
    guard let identity else { throw .notFound(description) }
    try await noting(in: supply) { [self] in
      let index = try await remote.makeIndex(of: package, identity)
      _ = opened.storeIfNil(OpenedPackage(index: index, remote: remote.source.image(of: package), description))
    }
  }

  /// Does something for which bytes have to be fetched, and remembers why it fails; what was wrong before is over when it does not.
  ///
  /// - Throws: the store's errors as they are, all others as ``StoreError/unavailable(_:reason:)``.
  func noting(in supply: PackageSupply, _ body: @Sendable () async throws -> Void) async throws(StoreError) {
    do {
      try await body()
      notes.load()?.value.withLock { if case .unavailable = $0 { $0 = nil } }
    } catch {
      let problem = error as? StoreError ?? .unavailable(description, reason: "\(error)")
      // The same is said once, until something could be brought again.
      if self.problem != problem { supply.report(problem) }
      throw note(problem)
    }
  }

  private func openImage(
    in store: LocalStore, _ keeper: (any DescriptorKeeper)?, _ identity: ImageIdentity
  ) throws(StoreError) -> (descriptor: FileDescriptor, isInherited: Bool) {
    if let inherited = keeper?.inherited[keeperName], (try? ImageIdentity(of: inherited)) == identity { return (inherited, true) }
    let path = store.path.appending("\(description).squashfs")
    do {
      // Whoever opens a FIFO waits for a writer, unless he says that he does not.
      let file = try FileDescriptor.open(path, .readOnly, options: [.closeOnExec, .nonBlocking])
      if try ImageIdentity(of: file) == identity { return (file, false) }
      try file.close()
    } catch {
      throw .system(operation: "open", path: path, error as? Errno ?? .ioError)
    }
    // Replaced since the store was looked at: the next look shows the new one.
    throw .system(operation: "open", path: path, .staleNFSFileHandle)
  }
}

extension MountedPackage {
  /// What a view says of a package without opening it.
  struct Summary: Sendable {
    /// Where each claim lies: the number of the directory and the upper half of the name's hash, 4 bytes each, by the claim's number.
    var claims = IndexBytes.none
    /// Of the package's own directory, as in `st_mode` and so on; of one that cannot be opened, what any directory has.
    var mode: UInt32 = 0o040555
    var userID: UInt32 = 0
    var groupID: UInt32 = 0
    var linkCount: UInt32 = 2
    /// In bytes.
    var byteCount: UInt64 = 0
    /// In seconds since 1970; nil for that of the image's file.
    var modificationTime: Int64?
    /// How many files, directories and so on the package has.
    var fileCount: UInt32 = 0

    init() {}

    /// Of a package that is not here.
    init(fileCount: Int, claims: [UInt8], modificationTime: Int64) {
      self.claims = IndexBytes(claims)
      self.fileCount = UInt32(clamping: fileCount)
      self.modificationTime = modificationTime
    }

    init(_ index: PackageIndex, claims: [UInt8]) {
      self.claims = IndexBytes(claims)
      fileCount = index.nodeCount
      guard let root = index.node(PackageIndex.root) else { return }
      mode = root.mode
      userID = root.userID
      groupID = root.groupID
      linkCount = root.linkCount
      byteCount = root.byteCount
      modificationTime = root.modificationTime
    }
  }

  /// What `lstat` says of the package's own directory.
  var attributes: Attributes {
    let summary = summary
    return Attributes(
      inode: NodeCodec.file(package: number, node: PackageIndex.root), kind: .directory,
      permissions: UInt16(truncatingIfNeeded: summary.mode & 0o7777), userID: summary.userID, groupID: summary.groupID,
      linkCount: summary.linkCount, byteCount: summary.byteCount, modificationTime: summary.modificationTime ?? modificationTime)
  }
}

extension MountedPackage {
  /// All names in the package, as changes.
  func names(of index: PackageIndex) -> [FileSystemChange] {
    (0..<index.nodeCount).flatMap { number -> [FileSystemChange] in
      guard let node = index.node(number), node.kind == .directory else { return [] }
      let directory = NodeCodec.file(package: self.number, node: number)
      return node.entries.map { entry in
        let entry = index.entry(entry)
        return .entry(EntryName(checked: index.names.array(entry.nameOffset, entry.nameLength)), in: directory)
      }
    }
  }
}

/// What is open of a package.
final class OpenedPackage: Sendable {
  /// Where the image's bytes are.
  enum Contents: Sendable {
    case mapped(MappedFile)
    case remote(any RemoteByteSource)
  }

  let index: PackageIndex
  let contents: Contents
  private let path: FilePath
  private let parsed = AtomicLazyReference<PackageImage>()

  init(index: PackageIndex, mapping: MappedFile, path: FilePath) {
    self.index = index
    contents = .mapped(mapping)
    self.path = path
  }

  init(index: PackageIndex, remote: any RemoteByteSource, _ description: String) {
    self.index = index
    contents = .remote(remote)
    path = FilePath("\(description).squashfs")
  }

  /// For contents that do not lie in one piece: the image, its superblock checked. Nil when what describes its files is to be fetched first.
  func image() throws(StoreError) -> PackageImage? {
    if let image = parsed.load() { return image }
    guard case .mapped(let mapping) = contents else { return nil }
    return parsed.storeIfNil(try PackageImage(mapping, path: path))
  }

  /// Fetches what ``image()`` needs.
  func fetchImage(from source: any RemoteByteSource) async throws {
    _ = parsed.storeIfNil(try await PackageImage.fetchingMetadata(of: source, path: path))
  }
}
