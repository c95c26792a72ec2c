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
  private let compressionLevel: Int?

  /// The smallest image, in bytes, beside which files are put that make its transfer shorter.
  public static let smallestLargeImage: UInt64 = 1 << 20

  /// Plans to publish.
  ///
  /// - Parameters:
  ///   - store: the store's directory.
  ///   - output: the repository's directory; made where it does not exist.
  ///   - maximumTasks: packages that are read and hashed at the same time.
  ///   - compressionLevel: how small large images are compressed in addition, from 1 to 19; nil for not at all.
  public init(store: FilePath, output: FilePath, maximumTasks: Int = 4, compressionLevel: Int? = nil) {
    self.store = store
    self.output = output
    self.maximumTasks = max(1, maximumTasks)
    self.compressionLevel = compressionLevel
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
    let job = PublishJob(section: section, source: source, target: target, old: old, compressionLevel: compressionLevel)
    let entries = try await boundedMap(packages) { package in
      let entry = try job.publish(package)
      onPackage(package)
      return entry
    }
    try Files.linkNewest(of: packages, in: target)
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
