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
    let isKnown = try place(package.imageFileName, known: try hasTree(known) ? known?.image : nil)
    var entry = RepositoryIndex.Package(id: package)
    if let known, isKnown {
      entry = known
      (entry.metadata, entry.compressed, entry.blocks, entry.summary) = (nil, nil, nil, "")
    } else {
      try describe(target.appending(package.imageFileName), in: &entry)
    }
    try addShortcuts(to: &entry, isKnown ? known : nil)
    try addMetadata(to: &entry, known)
    return entry
  }

  /// What the index says of an image that is new. Puts its tree beside it.
  private func describe(_ path: FilePath, in entry: inout RepositoryIndex.Package) throws {
    var builder = BlockTree.Builder()
    entry.image = try Files.digest(of: path) { builder.update($0) }
    let tree = builder.finish()
    let bytes = tree.serialized
    try Files.replaceCarelessly(target.appending(entry.treeFileName), by: bytes)
    entry.treeRoot = tree.root
    entry.tree = .init(byteCount: UInt64(bytes.count), sha256: Digester.hash([], bytes[...]))
    let image = try PackageImage(path: path)
    entry.imageTime = image.creationTime
    if section != .sources { entry.wellKnownPaths = try WellKnownPaths.of(image) }
  }

  /// Whether the image's tree that the old index speaks of is there. One that a power cut took has another size.
  private func hasTree(_ known: RepositoryIndex.Package?) throws -> Bool {
    guard let known, let tree = known.tree, known.treeRoot != nil else { return false }
    return try Files.status(of: target.appending(known.treeFileName))?.byteCount == tree.byteCount
  }

  private func addMetadata(to entry: inout RepositoryIndex.Package, _ known: RepositoryIndex.Package?) throws {
    let name = entry.id.metadataFileName
    guard try Files.status(of: source.appending(name)) != nil else { return }
    let isKnown = try place(name, known: known?.metadata)
    if isKnown, let known {
      (entry.metadata, entry.summary) = (known.metadata, known.summary)
      return
    }
    let path = target.appending(name)
    let bytes = try Files.contents(of: path, limit: PackageMetadata.maximumByteCount)
    var digester = Digester()
    digester.update(bytes)
    entry.metadata = .init(byteCount: UInt64(bytes.count), sha256: digester.finish())
    entry.summary = try PackageMetadata(textproto: bytes, subject: path.string).summary
  }

  /// Puts a file of the store into the repository.
  ///
  /// - Returns: whether the old index has it as it is; else it is to be hashed.
  private func place(_ name: String, known: RepositoryIndex.FileDigest?) throws -> Bool {
    try Task.checkCancellation()
    let (from, to) = (source.appending(name), target.appending(name))
    guard let wanted = try Files.status(of: from) else {
      throw RepositoryError.system(operation: "stat", path: from, .noSuchFileOrDirectory)
    }
    guard wanted.isRegular else { throw RepositoryError.system(operation: "publish", path: from, .notSupported) }
    let present = try Files.status(of: to)
    let isPresent = present.map { $0.isSameFile(as: wanted) || $0.isLikelyCopy(of: wanted) } ?? false
    if isPresent, let known, known.byteCount == wanted.byteCount, old.isNewer(than: wanted) { return true }
    if !isPresent { try Files.linkOrCopy(from, to: to, modified: wanted.modificationTime) }
    return false
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

  /// What it says that files beside it are, by name.
  var digests: [String: RepositoryIndex.FileDigest] {
    var result: [String: RepositoryIndex.FileDigest] = [:]
    for package in entries.values {
      result[package.id.imageFileName] = package.image
      result[package.id.metadataFileName] = package.metadata
      for (name, digest) in package.companions { result[name] = digest }
    }
    return result
  }

  /// The files that its readers may ask for: packages', also by their hashes, and itself under the name of its own.
  var fileNames: [String] {
    var digester = Digester()
    digester.update(bytes ?? [])
    return ["\(digester.finish().hexadecimal).\(Repository.indexFileName)"]
      + digests.flatMap { name, digest in [name, "\(digest.sha256.hexadecimal).\(name)"] }
  }

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

extension RepositoryIndex.Package {
  /// The file of the image's tree, beside the image.
  var treeFileName: String { id.imageFileName + BlockTree.fileSuffix }

  /// Files beside the image that make its transfer shorter, or prove parts of it.
  var companions: [(name: String, digest: RepositoryIndex.FileDigest)] {
    [(BlockTree.fileSuffix, tree), (BlockHashes.fileSuffix, blocks), (Repository.compressedSuffix, compressed)].compactMap {
      suffix, digest in
      digest.map { (id.imageFileName + suffix, $0) }
    }
  }
}
