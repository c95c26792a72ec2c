// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriArchive
import DistriStore
import SystemPackage

/// Brings a definition's source into a directory: fetched, verified, unpacked, with its extra files.
struct SourcePreparation {
  let definition: Definition
  /// The directory of the definition.
  let directory: FilePath
  let fetcher: any SourceFetcher

  /// - Parameters:
  ///   - archives: where a fetched archive is put meanwhile; its name is kept, since a file's ending may matter to readers.
  /// - Returns: what `SOURCE_DATE_EPOCH` is set to, in seconds since 1970: the time of the newest file of the source, or of what it is
  ///   the state of.
  /// - Throws: ``BuildError/source(_:reason:)`` and what fetching and unpacking throw.
  func prepare(_ source: FilePath, archives: FilePath) async throws -> Int64 {
    try source.makeDirectories()
    let origin = try SourceOrigin(of: definition, in: directory)
    let reference = origin.reference
    var date: Int64?
    switch reference.scheme {
    case "empty": break
    case "http", "https",
      nil where origin.isElsewhere:
      guard let name = reference.fileName else { throw BuildError.source(reference.url, reason: "names no file") }
      try await fetch(reference, as: name, in: archives) { try unpack($0, into: source) }
    case nil, "file":
      try await onThread { try takeLocal(origin, into: source) }
    case GoModule.scheme:
      let module = try GoModule(url: reference.url)
      try await fetch(reference, as: "module.zip", in: archives) { try take(module, $0, into: source) }
      date = GoModule.date
    case "distriroot":
      let place = try placeOfWorkingCopy(in: source)
      date = try await onThread { try WorkingCopy(around: directory).copy(into: place, options: Self.options) }
    case .some(let scheme):
      throw BuildError.source(reference.url, reason: "\(scheme) is no scheme of sources")
    }
    let newest = if let date { date } else { try await onThread { try newestFile(in: source) } }
    for file in definition.extraFiles { try copy(file, into: source) }
    return newest
  }

  /// Fetches and verifies an archive, and removes it when the body is done with it.
  private func fetch(
    _ reference: SourceReference, as name: String, in archives: FilePath, _ body: @escaping @Sendable (FilePath) throws -> Void
  ) async throws {
    try archives.makeDirectories()
    let archive = archives.appending(name)
    try archive.removeAll()
    try await fetcher.fetch(reference, to: archive)
    try await onThread {
      try Checksum.verify(archive, is: reference)
      try body(archive)
      try archive.removeAll()
    }
  }

  /// The gomod builder copies a download cache; who builds a module has its files.
  private func take(_ module: GoModule, _ archive: FilePath, into source: FilePath) throws {
    switch definition.builder {
    case .goModule: try module.layOut(archive, in: source)
    default: try module.unpack(archive, into: source, options: Self.options)
    }
  }

  /// Of the go builder, where the original has it: definitions name files of it by this path.
  private func placeOfWorkingCopy(in source: FilePath) throws -> FilePath {
    guard case .go(let options) = definition.builder, !options.importPath.isEmpty else { return source }
    guard let path = try? TreePath(parsing: "pkg/mod/\(options.importPath)@v0") else {
      throw BuildError.source(definition.source, reason: "the import_path «\(options.importPath.printable)» is no path")
    }
    let place = path.components.reduce(source) { $0.appending($1.description) }
    try place.makeDirectories()
    return place
  }

  private func takeLocal(_ origin: SourceOrigin, into source: FilePath) throws {
    let reference = origin.reference
    let text = reference.scheme == nil ? reference.url : String(reference.url.dropFirst("file://".count))
    guard !text.isEmpty else {
      throw BuildError.source(reference.url, reason: "is empty; a definition without source says empty://")
    }
    let path = origin.directory.pushing(FilePath(text))
    if path.isDirectory {
      var tree = try DirectoryTree(path: path)
      _ = try TreeExtractor.extract(&tree, into: source, options: Self.options)
    } else {
      try Checksum.verify(path, is: reference)
      try unpack(path, into: source)
    }
  }

  private static var options: TreeExtractor.Options { TreeExtractor.Options(keepsOwners: false) }

  /// Of an archive the files below its one directory; of a Debian package what it installs, as it lies there.
  private func unpack(_ archive: FilePath, into source: FilePath) throws {
    if try archive.contents(limit: 21).elementsEqual("!<arch>\ndebian-binary".utf8) {
      var tree = try DebianArchive(path: archive).data()
      _ = try TreeExtractor.extract(&tree, into: source, options: Self.options)
      return
    }
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
