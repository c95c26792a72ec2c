// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriFS
import DistriRepo
import DistriStore
import Dispatch
import Glibc
import RepositorySupport
import Synchronization
import SystemPackage
import ViewSupervisor

/// A repository over HTTP or in a directory, and where parts of its packages are kept. Paths are absolute.
struct RepositoryRecipe: RemoteRecipe, Equatable {
  /// URL or path, without a slash at the end.
  var root: String
  /// Who has the same files.
  var mirrors: [String] = []
  /// What the machine trusts of repositories.
  var trust: FilePath
  /// Whether a repository is shown that the machine trusts no root of.
  var isUnsigned = false
  var cache: FilePath
  /// In bytes.
  var cacheLimit: UInt64
  /// Certificates to trust instead of the system's.
  var certificates: FilePath?

  /// The name under which the index is kept for the next server.
  private static let keeperName = "repository-index"

  var name: String { root.withoutCredentials }

  func makeViewDirectory(for section: LocalStore.Section) throws -> FilePath {
    let path = cache.appending("views").appending(root.trustName)
    try Files.makeDirectories(try LocalStore(path: path, section: section).path)
    return path
  }

  func open(
    _ section: LocalStore.Section, _ keeper: any DescriptorKeeper, report: @escaping @Sendable (String) -> Void
  ) throws -> any RemotePackageSource {
    let places = places(report)
    let transport = try StandardTransport(options: transportOptions)
    let cache = try RangeCache(path: cache, byteLimit: cacheLimit)
    let index = try inheritedIndex(keeper) ?? fetchIndex(section, transport, places)
    keep(index, keeper)
    let repository = try RemoteRepository(at: places, section: section, index: index, cache: cache, transport: transport)
    if case let unproven = repository.unprovenPackages, let first = unproven.first {
      report("\(first) and \(unproven.count - 1) others are not shown: nothing in the index proves a part of them")
    }
    return repository
  }

  func update(
    _ source: any RemotePackageSource, _ section: LocalStore.Section, _ keeper: any DescriptorKeeper,
    report: @escaping @Sendable (String) -> Void
  ) throws -> any RemotePackageSource {
    guard let repository = source as? RemoteRepository else { throw Errno.invalidArgument }
    let index = try fetchIndex(section, try StandardTransport(options: transportOptions), places(report))
    keep(index, keeper)
    return try repository.updated(to: index)
  }

  private func keep(_ index: [UInt8], _ keeper: any DescriptorKeeper) {
    guard let file = try? MappedFile.anonymousFile(index) else { return }
    keeper.keep(file, as: Self.keeperName)
    try? file.close()
  }

  /// A server that does not give what it should is said once.
  private func places(_ report: @escaping @Sendable (String) -> Void) -> MirrorSet {
    let said = Mutex<Set<String>>([])
    return MirrorSet(root, mirrors: mirrors) { _, error in
      if said.withLock({ $0.insert("\(error)").inserted }) { report("\(error); the next mirror is asked") }
    }
  }

  private var transportOptions: CurlTransport.Options {
    var options = CurlTransport.Options()
    options.usesProxyOfEnvironment = true
    options.certificateAuthorities = certificates
    // Somebody waits in a system call.
    options.connectTimeLimit = .seconds(10)
    options.slownessTimeLimit = .seconds(10)
    options.maximumAttempts = 3
    return options
  }

  private func inheritedIndex(_ keeper: any DescriptorKeeper) throws -> [UInt8]? {
    try keeper.inherited[Self.keeperName].map { try MappedFile(descriptor: $0).indexBytes.array }
  }

  private func fetchIndex(
    _ section: LocalStore.Section, _ transport: any Transport, _ places: MirrorSet
  ) throws -> [UInt8] {
    try Self.waiting { [recipe = self] in
      var trust = TrustOptions()
      trust.directory = recipe.trust.string
      var options = Repository.Options()
      options.allowsUnsignedIndex = recipe.isUnsigned
      let trusted = try await places.firstGood { try await trust.refresh(recipe.root, at: $0, through: transport) }
      return try await Repository.indexBytes(
        at: places, section: section, trust: trusted, transport: transport, options: options)
    }
  }

  /// Waits on this thread, which must be one of our own, for something asynchronous.
  private static func waiting<Value: Sendable>(for body: @escaping @Sendable () async throws -> Value) throws -> Value {
    let done = DispatchSemaphore(value: 0)
    let result = Mutex<Result<Value, any Error>?>(nil)
    Task.detached {
      do {
        let value = try await body()
        result.withLock { $0 = .success(value) }
      } catch {
        result.withLock { $0 = .failure(error) }
      }
      done.signal()
    }
    done.wait()
    guard let result = result.withLock({ $0 }) else { throw Errno.canceled }
    return try result.get()
  }

  // MARK: As fields of a recipe

  var fields: [String] {
    ["remote=\(root)", "trust=\(trust)", "cache=\(cache)", "cache-limit=\(cacheLimit)"] + (isUnsigned ? ["unsigned=accepted"] : [])
      + (mirrors.isEmpty ? [] : ["mirrors=" + mirrors.joined(separator: "\n")])
      + (certificates.map { ["certificates=\($0)"] } ?? [])
  }

  init(
    root: String, mirrors: [String], trust: FilePath, isUnsigned: Bool, cache: FilePath, cacheLimit: UInt64, certificates: FilePath?
  ) {
    self.root = root
    self.mirrors = mirrors
    self.certificates = certificates
    self.trust = trust
    self.isUnsigned = isUnsigned
    self.cache = cache
    self.cacheLimit = cacheLimit
  }

  /// Nil when a recipe's fields name no repository.
  ///
  /// - Throws: `EBADMSG` when they do, but not all that it takes.
  init?(_ fields: [String: String]) throws {
    guard let root = fields["remote"] else { return nil }
    guard let trust = fields["trust"], let cache = fields["cache"], let limit = fields["cache-limit"].flatMap({ UInt64($0) }) else {
      throw Errno.badMessage
    }
    self.init(
      root: root, mirrors: fields["mirrors"]?.split(separator: "\n").map(String.init) ?? [], trust: FilePath(trust),
      isUnsigned: fields["unsigned"] == "accepted", cache: FilePath(cache), cacheLimit: limit,
      certificates: fields["certificates"].map { FilePath($0) })
  }
}
