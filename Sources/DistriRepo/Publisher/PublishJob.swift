// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore
import SystemPackage

/// What all packages of one section need to be published.
struct PublishJob: Sendable {
  let section: LocalStore.Section
  let source: FilePath
  let target: FilePath
  let old: PublishedIndex
  let compressionLevel: Int?

  /// What a compressed image has to save, as this part of the image.
  private static let smallestSaving: UInt64 = 16

  func publish(_ package: PackageID) throws -> RepositoryIndex.Package {
    let known = old.entry(of: package)
    let image = try place(package.imageFileName, known: known?.image)
    var entry = RepositoryIndex.Package(id: package, image: image.digest)
    if let known, image.isKnown {
      entry.wellKnownPaths = known.wellKnownPaths
    } else if section != .sources {
      entry.wellKnownPaths = try WellKnownPaths.of(try PackageImage(path: target.appending(package.imageFileName)))
    }
    try addShortcuts(to: &entry, image.isKnown ? known : nil)
    if try Files.status(of: source.appending(package.metadataFileName)) != nil {
      entry.metadata = try place(package.metadataFileName, known: known?.metadata).digest
    }
    return entry
  }

  /// Puts a file of the store into the repository and hashes it, unless the old index has it as it is.
  private func place(
    _ name: String, known: RepositoryIndex.FileDigest?
  ) throws -> (digest: RepositoryIndex.FileDigest, isKnown: Bool) {
    try Task.checkCancellation()
    let (from, to) = (source.appending(name), target.appending(name))
    guard let wanted = try Files.status(of: from) else {
      throw RepositoryError.system(operation: "stat", path: from, .noSuchFileOrDirectory)
    }
    guard wanted.isRegular else { throw RepositoryError.system(operation: "publish", path: from, .notSupported) }
    let present = try Files.status(of: to)
    let isPresent = present.map { $0.isSameFile(as: wanted) || $0.isLikelyCopy(of: wanted) } ?? false
    if isPresent, let known, known.byteCount == wanted.byteCount, old.isNewer(than: wanted) { return (known, true) }
    if !isPresent { try Files.linkOrCopy(from, to: to, modified: wanted.modificationTime) }
    return (try Files.digest(of: to), false)
  }

  /// Puts files beside a large image that make its transfer shorter: its blocks' hashes, and the image compressed.
  ///
  /// - Parameter known: the entry of the old index, if the image is the same.
  private func addShortcuts(to entry: inout RepositoryIndex.Package, _ known: RepositoryIndex.Package?) throws {
    guard let image = entry.image, image.byteCount >= Publisher.smallestLargeImage else { return }
    let path = target.appending(entry.id.imageFileName)
    entry.blocks = try shortcut(FilePath(path.string + BlockHashes.fileSuffix), known?.blocks) { place in
      // Compressed files have no block in common with those of another version.
      guard try !PackageImage(path: path).compressesFiles, let blocks = try BlockHashes(of: path) else { return false }
      try Files.create(place, holding: blocks.serialized)
      return true
    }
    guard let compressionLevel else { return }
    // One that did not get much smaller when the others were compressed will not now.
    if let known, known.compressed == nil, old.hasCompressedImages { return }
    entry.compressed = try shortcut(FilePath(path.string + Repository.compressedSuffix), known?.compressed) { place in
      let file = try Files.open(creating: place)
      defer { try? file.close() }
      try CompressedFrames.compress(path, level: compressionLevel, to: file)
      return try Files.status(of: file).byteCount < image.byteCount - image.byteCount / Self.smallestSaving
    }
  }

  /// A file that is made of an image, unless the old index has it as it is.
  ///
  /// - Parameter make: creates the file; false if it is of no use.
  private func shortcut(
    _ path: FilePath, _ known: RepositoryIndex.FileDigest?, _ make: (FilePath) throws -> Bool
  ) throws -> RepositoryIndex.FileDigest? {
    if let known, let present = try Files.status(of: path), present.isRegular, present.byteCount == known.byteCount,
      old.isNewer(than: present)
    {
      return known
    }
    return try Files.replace(path, makingWith: make) ? try Files.digest(of: path) : nil
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
struct PublishedIndex: Sendable {
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

  /// Whether images were compressed when it was made.
  var hasCompressedImages: Bool { entries.values.contains { $0.compressed != nil } }

  /// A file that changed after the index was written is not what the index says.
  func isNewer(than file: Files.Status) -> Bool { modificationTime.map { file.modificationTime < $0 } ?? false }

  /// Puts the new index into place, durable, last of all. The same bytes are left alone, so that caches stay valid.
  func replace(by new: [UInt8]) throws {
    guard new != bytes else { return }
    try Files.replace(path, by: new)
  }
}
