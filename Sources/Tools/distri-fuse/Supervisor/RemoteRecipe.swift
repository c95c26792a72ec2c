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

/// The part of a recipe that says which repository is shown, and where parts of its packages are kept. Paths are absolute.
struct RemoteRecipe: Sendable, Equatable {
  /// URL or path, without a slash at the end.
  var root: String
  /// What the machine trusts of repositories.
  var trust: FilePath
  /// Whether a repository is shown that the machine trusts no root of.
  var isUnsigned = false
  var cache: FilePath
  /// In bytes.
  var cacheLimit: UInt64

  /// The name under which the index is kept for the next server.
  private static let keeperName = "repository-index"

  /// The packages. A server that follows another one shows the same as that, and needs no network for it.
  ///
  /// - Throws: what is wrong with the repository or the cache.
  func open(_ section: LocalStore.Section, _ keeper: any DescriptorKeeper) throws -> RemoteRepository {
    let transport = try StandardTransport(options: Self.transportOptions)
    let cache = try RangeCache(path: cache, byteLimit: cacheLimit)
    let index = try inheritedIndex(keeper) ?? fetchIndex(section, transport)
    keep(index, keeper)
    return RemoteRepository(at: root, section: section, index: index, cache: cache, transport: transport)
  }

  /// The packages that the repository has now.
  ///
  /// - Throws: what is wrong with the repository.
  func update(_ repository: RemoteRepository, _ section: LocalStore.Section, _ keeper: any DescriptorKeeper) throws
    -> RemoteRepository
  {
    let index = try fetchIndex(section, try StandardTransport(options: Self.transportOptions))
    keep(index, keeper)
    return repository.updated(to: index)
  }

  private func keep(_ index: RepositoryIndex, _ keeper: any DescriptorKeeper) {
    guard let file = try? MappedFile.anonymousFile(index.serialized()) else { return }
    keeper.keep(file, as: Self.keeperName)
    try? file.close()
  }

  private static var transportOptions: CurlTransport.Options {
    var options = CurlTransport.Options()
    options.usesProxyOfEnvironment = true
    // Somebody waits in a system call.
    options.connectTimeLimit = .seconds(10)
    options.slownessTimeLimit = .seconds(10)
    options.maximumAttempts = 3
    return options
  }

  private func inheritedIndex(_ keeper: any DescriptorKeeper) throws -> RepositoryIndex? {
    guard let file = keeper.inherited[Self.keeperName] else { return nil }
    return try RepositoryIndex(serialized: try MappedFile(descriptor: file).indexBytes.array, subject: root)
  }

  private func fetchIndex(_ section: LocalStore.Section, _ transport: any Transport) throws -> RepositoryIndex {
    try Self.waiting { [recipe = self] in
      var trust = TrustOptions()
      trust.directory = recipe.trust.string
      var options = Repository.Options()
      options.allowsUnsignedIndex = recipe.isUnsigned
      let trusted = try await trust.refresh(recipe.root, at: recipe.root, through: transport)
      return try await Repository(at: recipe.root, section: section, trust: trusted, transport: transport, options: options).index
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
  }

  init(root: String, trust: FilePath, isUnsigned: Bool, cache: FilePath, cacheLimit: UInt64) {
    self.root = root
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
      root: root, trust: FilePath(trust), isUnsigned: fields["unsigned"] == "accepted", cache: FilePath(cache), cacheLimit: limit)
  }
}
