// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore
import SystemPackage

/// Keeps a copy of a repository: the same files, which the same root proves, for any web server to serve.
///
/// Everything that is signed is verified before it appears. Files come first, the timestamp (or the index, where nothing is signed) last, each by a
/// rename: a reader sees the old copy or the new one, and a kill leaves one of them. What is there is not fetched again.
public struct Mirror: Sendable {
  /// What a copy has.
  public struct Report: Sendable, Hashable, Codable {
    /// Files that are signed, or listed in an index.
    public var fileCount = 0
    /// Their bytes.
    public var byteCount: UInt64 = 0
    /// Those that came this time.
    public var fetchedFileCount = 0
    /// Their bytes.
    public var fetchedByteCount: UInt64 = 0
    /// Files that were removed.
    public var removedFileCount = 0
  }

  /// How a copy is made.
  public struct Options: Sendable {
    /// Files that are fetched at the same time.
    public var maximumDownloads = 16
    /// Whether files that are there are read and verified again.
    public var verifies = false
    /// Whether files of packages that the repository has no more are removed.
    public var prunes = false
    /// Whether an unsigned repository is copied. Nothing but TLS protects it then.
    public var allowsUnsigned = false

    /// The defaults.
    public init() {}
  }

  private let root: String
  private let output: FilePath
  private let trust: TrustStore?
  private let transport: any Transport
  private let options: Options

  /// What the copy itself trusts, so that no later server can lead it back. Hidden: servers of repositories show no such names.
  private static let trustDirectoryName = ".trust"

  /// Plans a copy.
  ///
  /// - Parameters:
  ///   - root: the repository's URL or path.
  ///   - output: the copy's directory; made where it does not exist.
  ///   - trust: whose root proves the repository; nil for one that is not signed, which the options must allow.
  public init(
    of root: String, output: FilePath, trust: TrustStore?, transport: any Transport, options: Options = Options()
  ) {
    self.root = root.withoutTrailingSlashes
    self.output = output
    self.trust = trust
    self.transport = transport
    self.options = options
  }

  /// Brings the copy up to date.
  ///
  /// - Parameters:
  ///   - onPlan: told what is to be fetched, in files and bytes.
  ///   - onFetched: called for each file that came, in any order.
  /// - Throws: what ``TUFClient/refresh()``, ``Repository`` and the transport throw; ``RepositoryError/mismatch(subject:url:expected:got:)``;
  ///   `StoreError.locked` while another process writes there; ``RepositoryError/system(operation:path:_:)``.
  public func update(
    onPlan: (Int, UInt64) -> Void = { _, _ in }, onFetched: @escaping @Sendable () -> Void = {}
  ) async throws -> Report {
    try Files.makeDirectories(output)
    let lock = try Files.lock(output)
    defer { try? lock.close() }
    guard let trust else {
      guard options.allowsUnsigned else { throw RepositoryError.unsigned(repository: root) }
      return try await updateUnsigned(onPlan, onFetched)
    }
    return try await updateSigned(trust, onPlan, onFetched)
  }

  // MARK: Signed

  private func updateSigned(
    _ trust: TrustStore, _ onPlan: (Int, UInt64) -> Void, _ onFetched: @escaping @Sendable () -> Void
  ) async throws -> Report {
    let own = TrustStore(path: output.appending(Self.trustDirectoryName))
    let trusted = try Files.contents(of: trust.path(of: "root"), limit: TrustStore.maximumRootByteCount)
    try await own.initialize(root: trusted, file: trust.path(of: "root").string, replacing: true)
    var source = try await TUFClient(store: own, metadata: "\(root)/\(tuf)", transport: transport).refresh()
    let targets = try await source.allTargets()
    for target in targets { try checkPlace(of: target) }
    let repository = source
    let indexes = targets.filter(\.isIndex)
    var companions: [Target] = []
    for index in indexes {
      companions += try files(ofIndex: try await bytes(of: index, from: repository), index.path).companions
    }
    let previous = indexes.map { PublishedIndex(at: place($0.path)) }
    let missing = try targets.filter { try !$0.isIndex && !isCopied($0, of: repository) }
    let missingCompanions = try self.missing(companions, after: zip(indexes.map(\.path), previous))
    var report = try begin(targets + companions, missing + missingCompanions, onPlan)
    try await bring(missingCompanions, &report) { target in
      try await fetch(target)
      onFetched()
      return true
    }
    try await bring(missing, &report) { target in
      let path = place(target.path)
      let isNew = try await repository.download(target, from: root, to: path)
      try Files.synchronizeContents(of: path)
      if repository.path(of: target) != target.path { try link(path, to: place(target.consistentPath)) }
      onFetched()
      return isNew
    }
    // Each index under the name of its hash, then metadata that names it; the plain names are for readers that trust nobody.
    for index in indexes { try await repository.download(index, from: root, to: place(repository.path(of: index))) }
    try synchronizeDirectories(of: targets.map(\.path))
    try await copyMetadata(of: repository, from: own)
    var links: [String] = []
    for (index, old) in zip(indexes, previous) {
      links += try finish(index.path, with: try contents(repository.path(of: index)), replacing: old)
    }
    if let timestamp = own.bytes(of: "timestamp", limit: 1 << 20) {
      try Files.replace(place("\(tuf)/timestamp.json"), by: timestamp)
    }
    if options.prunes {
      let named = links + companions.map(\.path) + targets.flatMap { [$0.path, repository.path(of: $0)] }
      report.removedFileCount = try prune(except: Set(named), previous, in: Set(targets.map { directory(of: $0.path) }))
    }
    return report
  }

  private let tuf = MetadataPublisher.directoryName

  /// An index; under the name of its hash, it may appear at once.
  private func bytes(of index: Target, from repository: TrustedRepository) async throws -> [UInt8] {
    guard repository.root.hasConsistentSnapshots else {
      return try await repository.bytes(of: index, from: root, limit: UInt64(RepositoryIndex.maximumByteCount))
    }
    try Files.makeDirectories(place(directory(of: index.path)))
    try await repository.download(index, from: root, to: place(index.consistentPath))
    return try contents(index.consistentPath)
  }

  /// A target must not lie where the copy keeps what it trusts, or metadata.
  private func checkPlace(of target: Target) throws(RepositoryError) {
    let parts = target.path.split(separator: "/")
    guard parts.count > 1, parts.allSatisfy({ !$0.hasPrefix(".") }), parts[0] != tuf else {
      throw .untrusted(file: target.path, .malformed(place: "path", reason: "not a path of a repository's files"))
    }
  }

  /// Whether the file is there as it has to be. The name of its hash says what a file was when it came.
  private func isCopied(_ target: Target, of repository: TrustedRepository) throws -> Bool {
    guard !options.verifies, repository.root.hasConsistentSnapshots,
      let file = try Files.status(of: place(target.path)), file.byteCount == target.byteCount,
      let named = try Files.status(of: place(target.consistentPath))
    else { return false }
    return named.isSameFile(as: file) || named.isLikelyCopy(of: file)
  }

  /// All but the timestamp. Earlier roots are for machines that trust one of them.
  private func copyMetadata(of repository: TrustedRepository, from own: TrustStore) async throws {
    try Files.makeDirectories(place(tuf))
    for version in 1..<max(1, repository.root.head.version) {
      let (name, url) = ("\(tuf)/\(version).root.json", "\(root)/\(tuf)/\(version).root.json")
      guard try Files.status(of: place(name)) == nil else { continue }
      do {
        let bytes = try await transport.bytes(of: url, maximumByteCount: UInt64(TrustStore.maximumRootByteCount))
        let got = try RootMetadata(try SignedMetadata(bytes, file: url, type: "root")).head.version
        guard got == version else { throw RepositoryError.untrusted(file: url, .wrongVersion(expected: version, got: got)) }
        try Files.replaceLazily(place(name), by: bytes)
      } catch RepositoryError.notFound {
        // A publisher may have thrown it away.
      }
    }
    for (name, role) in repository.metadataFiles {
      guard let bytes = own.bytes(of: role, limit: UInt64(MetadataFiles.maximumByteCount)) else { continue }
      try Files.replaceLazily(place("\(tuf)/\(name)"), by: bytes)
      // For people.
      if role == "root" { try Files.replaceLazily(place("\(tuf)/root.json"), by: bytes) }
    }
    try Files.synchronize(place(tuf))
  }

  // MARK: Unsigned

  private func updateUnsigned(
    _ onPlan: (Int, UInt64) -> Void, _ onFetched: @escaping @Sendable () -> Void
  ) async throws -> Report {
    var indexes: [(path: String, bytes: [UInt8])] = []
    var listed: [Target] = []
    for section in LocalStore.Section.allCases {
      let path = "\(section.rawValue)/\(Repository.indexFileName)"
      let bytes: [UInt8]
      do {
        bytes = try await transport.bytes(of: "\(root)/\(path)", maximumByteCount: UInt64(RepositoryIndex.maximumByteCount))
      } catch RepositoryError.notFound where section != .packages {
        continue
      }
      indexes.append((path, bytes))
      let files = try files(ofIndex: bytes, path)
      listed += files.packages + files.companions
    }
    let previous = indexes.map { PublishedIndex(at: place($0.path)) }
    let missing = try missing(listed, after: zip(indexes.map(\.path), previous))
    var report = try begin(listed, missing, onPlan)
    try await bring(missing, &report) { target in
      try await fetch(target)
      onFetched()
      return true
    }
    try synchronizeDirectories(of: listed.map(\.path) + indexes.map(\.path))
    let links = try zip(indexes, previous).flatMap { index, old in try finish(index.path, with: index.bytes, replacing: old) }
    if options.prunes {
      report.removedFileCount = try prune(
        except: Set(listed.map(\.path) + links), previous, in: Set(indexes.map { directory(of: $0.path) }))
    }
    return report
  }

  // MARK: Both

  /// What an index lists: packages' files, and those beside them that make transfers shorter, or parts of images usable.
  private func files(
    ofIndex bytes: [UInt8], _ path: String
  ) throws -> (packages: [Target], companions: [Target]) {
    let directory = directory(of: path)
    var (packages, companions): ([Target], [Target]) = ([], [])
    for package in try RepositoryIndex(serialized: bytes, subject: "\(root)/\(path)").packages {
      guard let image = package.image else { throw RepositoryError.unverifiable(package.id, repository: root) }
      func target(_ name: String, _ digest: RepositoryIndex.FileDigest) -> Target {
        Target(path: "\(directory)/\(name)", byteCount: digest.byteCount, sha256: digest.sha256)
      }
      packages.append(target(package.id.imageFileName, image))
      if let metadata = package.metadata { packages.append(target(package.id.metadataFileName, metadata)) }
      companions += package.companions.map { target($0, $1) }
    }
    return (packages, companions)
  }

  /// Those that are not there as they have to be. A file that an earlier index listed so is not read again, unless it is newer than that.
  private func missing(_ targets: [Target], after indexes: some Sequence<(String, PublishedIndex)>) throws -> [Target] {
    let indexes = indexes.map { path, index in (directory(of: path), (index, index.digests)) }
    let known = Dictionary(indexes, uniquingKeysWith: { first, _ in first })
    return try targets.filter { target in
      let path = place(target.path)
      guard let status = try Files.status(of: path), status.byteCount == target.byteCount else { return true }
      if !options.verifies, let (index, digests) = known[directory(of: target.path)], index.isNewer(than: status),
        digests[path.lastComponent?.string ?? ""]?.sha256 == target.hashes.sha256
      {
        return false
      }
      return try Files.digest(of: path).sha256 != target.hashes.sha256
    }
  }

  /// Brings a file that an index proves.
  private func fetch(_ target: Target) async throws {
    let path = place(target.path)
    try await transport.download(
      target.path.urlPath(below: root), to: path, sha256: target.hashes.sha256, subject: target.path,
      maximumByteCount: target.byteCount)
    try Files.synchronizeContents(of: path)
  }

  private func place(_ path: String) -> FilePath { output.appending(path) }

  private func directory(of path: String) -> String { path.split(separator: "/").dropLast().joined(separator: "/") }

  private func contents(_ path: String) throws -> [UInt8] {
    try Files.contents(of: place(path), limit: RepositoryIndex.maximumByteCount)
  }

  private func begin(_ all: [Target], _ missing: [Target], _ onPlan: (Int, UInt64) -> Void) throws -> Report {
    for directory in Set(all.map { directory(of: $0.path) }) {
      try Files.makeDirectories(place(directory))
      try Files.removeLeftovers(in: place(directory))
    }
    onPlan(missing.count, missing.reduce(0) { $0 &+ $1.byteCount })
    return Report(fileCount: all.count, byteCount: all.reduce(0) { $0 &+ $1.byteCount })
  }

  /// - Parameter body: tells whether the file was fetched.
  private func bring(
    _ targets: [Target], _ report: inout Report, _ body: @escaping @Sendable (Target) async throws -> Bool
  ) async throws {
    try await withThrowingTaskGroup(of: (Bool, UInt64).self) { group in
      func finishOne() async throws {
        guard let (isNew, byteCount) = try await group.next(), isNew else { return }
        report.fetchedFileCount += 1
        report.fetchedByteCount += byteCount
      }
      for (position, target) in targets.enumerated() {
        if position >= max(1, options.maximumDownloads) { try await finishOne() }
        group.addTask { (try await body(target), target.byteCount) }
      }
      for _ in 0..<min(targets.count, max(1, options.maximumDownloads)) { try await finishOne() }
    }
  }

  private func link(_ file: FilePath, to path: FilePath) throws {
    guard let status = try Files.status(of: file) else { return }
    try Files.linkOrCopy(file, to: path, modified: status.modificationTime)
  }

  private func synchronizeDirectories(of paths: [String]) throws {
    for directory in Set(paths.map { directory(of: $0) }) { try Files.synchronize(place(directory)) }
  }

  /// Puts an index into its place.
  ///
  /// - Returns: the links to the newest versions beside it.
  private func finish(_ path: String, with bytes: [UInt8], replacing old: PublishedIndex) throws -> [String] {
    try old.replace(by: bytes)
    let packages = try RepositoryIndex(serialized: bytes, subject: place(path).string).packages.map(\.id)
    try Files.linkNewest(of: packages, in: place(directory(of: path)))
    return Set(packages.map(\.unversioned)).map { "\(directory(of: path))/\($0).meta.textproto" }
  }

  /// Removes what neither the copy nor the one before has any use for.
  private func prune(except named: Set<String>, _ previous: [PublishedIndex], in directories: Set<String>) throws -> Int {
    var count = 0
    let kept = Set(previous.flatMap(\.fileNames))
    for directory in directories {
      for name in try Files.names(in: place(directory)).map(\.string) {
        let path = "\(directory)/\(name)"
        if named.contains(path) || kept.contains(name) || name.hasPrefix(".") { continue }
        if name == Repository.indexFileName { continue }
        try Files.remove(place(path))
        count += 1
      }
    }
    return count
  }
}

extension Target {
  /// Whether it is the index of a section.
  fileprivate var isIndex: Bool { path.hasSuffix("/\(Repository.indexFileName)") }
}
