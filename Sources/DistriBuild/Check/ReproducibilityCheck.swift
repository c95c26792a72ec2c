// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore
import SystemPackage

/// Builds a definition twice and compares what comes out: the same inputs have to give the same bytes.
///
/// The two builds happen at different times, in different directories, with another number of jobs. Neither touches the store;
/// what both agree on is then added to it.
public struct ReproducibilityCheck: Sendable {
  /// Builds; its store is a directory.
  public var builder: Builder
  /// Where dependencies come from and the result goes.
  public var store: LocalStore
  /// A directory on the store's file system or another; what is below it is removed.
  public var scratch: FilePath

  /// Makes a check.
  public init(builder: Builder, store: LocalStore, scratch: FilePath) {
    self.builder = builder
    self.store = store
    self.scratch = scratch
  }

  /// What the check found.
  public struct Outcome: Sendable {
    /// The packages that the definition makes.
    public var packages: [PackageID]
    /// What differs, an image a line and then its files; empty when all is the same.
    public var differences: [Finding]
  }

  /// An image, or metadata, that differ.
  public struct Finding: Sendable, Hashable {
    /// The package.
    public var package: PackageID
    /// Whether it is the package itself, its debug symbols or its source.
    public var section: LocalStore.Section
    /// Whether the second build gave something else, or the store has something else.
    public var other: Other
    /// What differs.
    public var differences: [String]

    /// What the first build is compared with.
    public enum Other: Sendable, Hashable {
      /// The second build.
      case secondBuild
      /// What is in the store already.
      case store
    }
  }

  /// Builds twice, compares and, when nothing differs, adds to the store what it does not have yet.
  ///
  /// A package that is in the store already is compared with the new ones, too.
  ///
  /// - Throws: what ``Builder/build(_:)`` throws; ``StoreError``.
  public func run(_ file: DefinitionFile) async throws -> Outcome {
    try await onThread { [scratch] in try scratch.removeAll() }
    let first = try await build(file, in: "1", jobs: builder.jobs)
    let second = try await build(file, in: "second", jobs: builder.jobs == 1 ? 2 : 1)
    var outcome = Outcome(packages: first.packages, differences: try await compare(first, second.folder))
    if outcome.differences.isEmpty {
      let present = Set(try store.packages())
      let known = first.packages.filter(present.contains)
      if !known.isEmpty {
        outcome.differences = try await compare((known, first.folder), store.path, .store)
      }
      if outcome.differences.isEmpty { try await add(first.packages.filter { !present.contains($0) }, from: first.folder) }
    }
    try await onThread { [scratch] in try scratch.removeAll() }
    return outcome
  }

  private func build(_ file: DefinitionFile, in name: String, jobs: Int) async throws -> (packages: [PackageID], folder: FilePath) {
    let folder = scratch.appending(name).appending("store")
    try folder.makeDirectories()
    var builder = builder
    builder.work = scratch.appending(name).appending("work")
    builder.jobs = jobs
    let result = try LocalStore(path: folder)
    builder.store = ScratchStore(base: store, result: result, hidden: try file.definition.packages(for: builder.architecture))
    builder.debugStore = try LocalStore(path: folder, section: .debug)
    builder.sourceStore = try LocalStore(path: folder, section: .sources)
    return (try await builder.build(file), folder)
  }

  // MARK: Comparing

  private func compare(
    _ first: (packages: [PackageID], folder: FilePath), _ second: FilePath, _ other: Finding.Other = .secondBuild
  ) async throws -> [Finding] {
    try await onThread {
      var result: [Finding] = []
      for section in LocalStore.Section.allCases {
        let left = try LocalStore(path: first.folder, section: section), right = try LocalStore(path: second, section: section)
        for package in first.packages {
          let there = (try left.contains(package), try right.contains(package))
          var found: [String] = []
          switch there {
          case (true, true): found = try Self.differences(package, left, right)
          case (true, false):
            // Debug symbols and sources may have been taken out of the store.
            found = other == .store ? [] : ["only the first build made it"]
          case (false, true): found = [other == .store ? "only the store has it" : "only the second build made it"]
          case (false, false): continue
          }
          if !found.isEmpty { result.append(Finding(package: package, section: section, other: other, differences: found)) }
        }
      }
      return result
    }
  }

  private static func differences(_ package: PackageID, _ left: LocalStore, _ right: LocalStore) throws -> [String] {
    var result = try ImageComparison(left.image(of: package), right.image(of: package)).differences.map(\.description)
    if left.section == .packages {
      let first = try left.metadata(of: package).textproto, second = try right.metadata(of: package).textproto
      let pair = zip(first.split(separator: "\n"), second.split(separator: "\n")).first { $0 != $1 }
      if let pair {
        result.append("metadata: \(pair.0), then \(pair.1)")
      } else if first != second {
        result.append("metadata: more lines")
      }
    }
    return result
  }

  // MARK: Adding

  private func add(_ packages: [PackageID], from folder: FilePath) async throws {
    guard !packages.isEmpty else { return }
    for section in [LocalStore.Section.debug, .sources, .packages] {
      let from = try LocalStore(path: folder, section: section), to = try LocalStore(path: store.path, section: section)
      let made = try packages.filter { package throws(StoreError) in try from.contains(package) }
      guard !made.isEmpty else { continue }
      if section != .packages {
        let leftovers = try made.filter { package throws(StoreError) in try to.contains(package) }
        if !leftovers.isEmpty { try await to.remove(leftovers) }
      }
      try await to.transaction { staging in
        for package in made {
          let path = staging.imagePath(of: package)
          try await onThread { try from.path.appending(package.imageFileName).copy(to: path) }
          if section == .packages { try staging.stage(try from.metadata(of: package), of: package) }
        }
      }
    }
  }
}

/// Reads from one store, but for the packages that are being checked, and writes to another.
private struct ScratchStore: PackageCatalog, ImageSource, PackageSink {
  let base: LocalStore
  let result: LocalStore
  /// What the definition makes is as good as not there yet.
  let hidden: [PackageID]

  func packages() async throws -> [PackageID] { try base.packages().filter { !hidden.contains($0) } }

  func metadata(of package: PackageID) async throws -> PackageMetadata { try base.metadata(of: package) }

  func image(of package: PackageID) async throws -> PackageImage { try base.image(of: package) }

  func transaction(_ body: (borrowing StagingArea) async throws -> Void) async throws { try await result.transaction(body) }
}
