// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore
import SystemPackage

/// Brings a definition's source into a directory: fetched, verified, unpacked, with its extra files.
struct SourcePreparation {
  let definition: Definition
  /// The directory of the definition.
  let directory: FilePath
  let fetcher: any SourceFetcher

  /// - Parameters:
  ///   - archive: where a fetched archive is put meanwhile; its name is kept, since a file's ending may matter to readers.
  /// - Returns: the time of the newest file of the source, in seconds since 1970: what `SOURCE_DATE_EPOCH` is set to.
  /// - Throws: ``BuildError/source(_:reason:)`` and what fetching and unpacking throw.
  func prepare(_ source: FilePath, archives: FilePath) async throws -> Int64 {
    try source.makeDirectories()
    let reference = SourceReference(url: definition.source, hash: definition.hash)
    switch reference.scheme {
    case "empty": break
    case "http", "https",
      nil where isElsewhere(reference):
      guard let name = reference.fileName else { throw BuildError.source(reference.url, reason: "names no file") }
      try archives.makeDirectories()
      let archive = archives.appending(name)
      try archive.removeAll()
      try await fetcher.fetch(reference, to: archive)
      try await onThread {
        try Checksum.verify(archive, is: reference)
        try unpack(archive, into: source)
        try archive.removeAll()
      }
    case nil, "file":
      try await onThread { try takeLocal(reference, into: source) }
    case .some(let scheme):
      throw BuildError.source(reference.url, reason: "sources of the scheme \(scheme) cannot be built by this version")
    }
    let newest = try await onThread { try newestFile(in: source) }
    for file in definition.extraFiles { try copy(file, into: source) }
    return newest
  }

  /// A name that is not beside the definition is one that the fetcher may know.
  private func isElsewhere(_ reference: SourceReference) -> Bool {
    reference.scheme != nil || (reference.fileName == reference.url && !directory.appending(reference.url).exists)
  }

  private func takeLocal(_ reference: SourceReference, into source: FilePath) throws {
    let text = reference.scheme == nil ? reference.url : String(reference.url.dropFirst("file://".count))
    guard !text.isEmpty else {
      throw BuildError.source(reference.url, reason: "is empty; a definition without source says empty://")
    }
    let path = directory.pushing(FilePath(text))
    if path.isDirectory {
      var tree = try DirectoryTree(path: path)
      _ = try TreeExtractor.extract(&tree, into: source, options: Self.options)
    } else {
      try Checksum.verify(path, is: reference)
      try unpack(path, into: source)
    }
  }

  private static var options: TreeExtractor.Options { TreeExtractor.Options(keepsOwners: false) }

  private func unpack(_ archive: FilePath, into source: FilePath) throws {
    var tree = try ArchiveTree(path: archive, strippingComponents: 1)
    _ = try TreeExtractor.extract(&tree, into: source, options: Self.options)
  }

  /// Of files only: directories get the time of the unpacking.
  private func newestFile(in source: FilePath) throws -> Int64 {
    var newest: Int64 = 0
    var tree = try DirectoryTree(path: source)
    while let entry = try tree.next() {
      if case .regular = entry.kind { newest = max(newest, entry.modificationTime) }
    }
    return newest
  }

  private func copy(_ file: String, into source: FilePath) throws {
    guard let name = FilePath(file).lastComponent, FilePath(file).components.count == 1 else {
      throw BuildError.source(file, reason: "an extra_file lies beside the definition")
    }
    let bytes = try directory.appending(file).contents(limit: 64 << 20)
    try source.appending(name).write(bytes)
  }
}
