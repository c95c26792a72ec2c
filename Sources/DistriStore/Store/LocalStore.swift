// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import SystemPackage

/// A store: a directory that holds two files per package, its image and its metadata.
///
/// Reading takes no lock and sees whole packages only: the image, which makes a package exist, appears last and disappears first.
/// Packages never change; ``transaction(_:)`` adds some, ``remove(_:)`` takes some away.
///
/// Format: FORMATS section 2, `docs/formats.md`.
public struct LocalStore: Sendable {
  /// The parts of a store that are mounted apart.
  public enum Section: String, Sendable, Hashable, CaseIterable {
    /// What is mounted on `/ro`: the store's directory itself.
    case packages = "pkg"
    /// Debug symbols, in `<store>/debug`. Packages need no metadata.
    case debug
    /// Sources, in `<store>/src`. Packages need no metadata.
    case sources = "src"

    var needsMetadata: Bool { self == .packages }
  }

  /// The directory that holds the section's files.
  public let path: FilePath
  /// Which part this is.
  public let section: Section
  /// How long a transaction waits while another process commits to the store; commits are short.
  public let patience: Duration

  let images = ImageCache()

  /// Refers to a section of the store at a path. Nothing is touched yet; the first transaction makes missing directories.
  ///
  /// - Throws: ``StoreError/system(operation:path:_:)`` with `ENOTDIR` when something else is there.
  public init(path: FilePath, section: Section = .packages, patience: Duration = .seconds(60)) throws(StoreError) {
    self.path = section == .packages ? path : path.appending(section.rawValue)
    self.section = section
    self.patience = patience
    do { _ = try DirectoryHandle(opening: self.path) } catch .system(_, _, .noSuchFileOrDirectory) {}
  }

  // MARK: What is there

  /// All packages of which image and metadata are there, in ``PackageID``'s order. Other files are ignored; see ``defects()``.
  ///
  /// - Throws: ``StoreError/system(operation:path:_:)`` when the directory cannot be listed. The sections `debug` and `src` are
  ///   empty as long as they have none.
  public func packages() throws(StoreError) -> [PackageID] { try listing().packages }

  /// What is wrong in the directory, sorted by file name: nothing of it is fatal, all of it is skipped.
  ///
  /// - Throws: as ``packages()``.
  public func defects() throws(StoreError) -> [StoreDefect] { try listing().defects }

  /// What the package says of itself. In sections without metadata files, its version alone.
  ///
  /// - Throws: ``StoreError/notFound(_:)``; ``StoreError/invalidMetadata(of:line:reason:)``; ``StoreError/system(operation:path:_:)``.
  public func metadata(of package: PackageID) throws(StoreError) -> PackageMetadata {
    let file = path.appending(package.metadataFileName)
    let bytes: [UInt8]
    do {
      bytes = try OwnedDescriptor(reading: file).contents(limit: PackageMetadata.maximumByteCount + 1, path: file)
    } catch .system(_, _, .noSuchFileOrDirectory) {
      guard !section.needsMetadata, try contains(package) else { throw .notFound(package.description) }
      return PackageMetadata(version: package.version)
    }
    return try PackageMetadata(textproto: bytes, subject: file.string)
  }

  /// The package's image. As long as somebody uses it, all callers share one.
  ///
  /// - Throws: ``StoreError/notFound(_:)``; ``StoreError/damagedImage(_:place:reason:)``; ``StoreError/system(operation:path:_:)``.
  public func image(of package: PackageID) throws(StoreError) -> PackageImage {
    let file = path.appending(package.imageFileName)
    do {
      return try images.image(of: package, at: file)
    } catch .system(_, _, .noSuchFileOrDirectory) {
      throw .notFound(package.description)
    }
  }

  /// Whether the package's image is there.
  ///
  /// - Throws: ``StoreError/system(operation:path:_:)``.
  public func contains(_ package: PackageID) throws(StoreError) -> Bool {
    guard let directory = try openDirectory() else { return false }
    return try directory.status(of: try EntryName(package.imageFileName)) != nil
  }

  /// The newest package that the query asks for: the highest revision, as a number.
  ///
  /// - Throws: as ``packages()``.
  public func newest(_ query: PackageQuery) throws(StoreError) -> PackageID? { query.newest(of: try packages()) }

  /// The package that a person means by `nano`, `nano-amd64` or `nano-amd64-7.2-3`.
  ///
  /// - Throws: ``StoreError/notFound(_:)``; ``StoreError/invalidName(_:_:)``; ``StoreError/system(operation:path:_:)``.
  public func resolve(_ text: String) throws(StoreError) -> PackageID {
    guard let package = try newest(try PackageQuery(parsing: text)) else { throw .notFound(text) }
    return package
  }

  // MARK: Inside

  func openDirectory() throws(StoreError) -> DirectoryHandle? {
    do {
      return try DirectoryHandle(opening: path)
    } catch .system(let operation, let path, .noSuchFileOrDirectory) {
      if section == .packages { throw .system(operation: operation, path: path, .noSuchFileOrDirectory) }
      return nil
    }
  }

  func listing() throws(StoreError) -> StoreListing {
    guard let directory = try openDirectory() else { return StoreListing(names: [], needsMetadata: false) }
    var listing = StoreListing(names: try directory.names(), needsMetadata: section.needsMetadata)
    try listing.confirmDefects { name throws(StoreError) in try directory.status(of: try EntryName(name)) != nil }
    return listing
  }
}

extension LocalStore: PackageCatalog, ImageSource, PackageSink {}
