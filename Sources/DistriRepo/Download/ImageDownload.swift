// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore
import SystemPackage

/// Brings the image of a package on the way that costs least: blocks of another version and what is missing, the compressed image, or the image.
///
/// Whatever the way, it is the whole image's SHA-256 that decides in the end; when a shorter way fails, the image itself is fetched.
struct ImageDownload: Sendable {
  let transport: any Transport
  let mirrors: MirrorSet
  let entry: RepositoryIndex.Package
  let image: RepositoryIndex.FileDigest
  let options: Repository.Options
  /// Where a file of the section is at a mirror.
  let url: @Sendable (_ file: String) -> @Sendable (_ root: String) -> String

  /// - Throws: as ``VerifiedDownload/run(creating:keepingPartsIn:)``.
  func run(to files: StagedFiles) async throws {
    let come = files.partials?.byteCount(of: image.sha256) ?? 0
    let whole = image.byteCount - min(come, image.byteCount)
    let compressed = compressedFile
    let limit = min(whole, compressed?.byteCount ?? .max)
    if let base = files.base, let blocks = entry.blocks, options.reusesBlocks, mirrors.root.isHTTP {
      let assembly = BlockAssembly(download: self, blocks: blocks, compressed: compressed, limit: limit)
      if try await isMade(files.image, by: { try await assembly.make(files.image, from: base) }) { return }
    }
    if let compressed, limit < whole, try await isMade(files.image, by: { try await decompress(compressed, to: files) }) { return }
    let download = VerifiedDownload(
      transport: transport, mirrors: mirrors, subject: entry.id.description, expected: image, url: url(entry.id.imageFileName))
    try await download.run(creating: files.image, keepingPartsIn: files.partials)
    options.onReused(image.byteCount - whole)
  }

  /// Whether a shorter way has led to the image. That it has not is told, and nothing is left of it.
  private func isMade(_ path: FilePath, by body: () async throws -> Bool) async throws -> Bool {
    do {
      if try await body() { return true }
    } catch is CancellationError {
      throw CancellationError()
    } catch {
      options.onDetour(entry.id, error)
    }
    try Task.checkCancellation()
    try? Files.remove(path)
    return false
  }

  /// The compressed image, if it may be used.
  private var compressedFile: RepositoryIndex.FileDigest? {
    switch options.compression {
    case .never: nil
    case .always: entry.compressed
    case .automatic: mirrors.root.isOfThisMachine ? nil : entry.compressed
    }
  }

  private func decompress(_ compressed: RepositoryIndex.FileDigest, to files: StagedFiles) async throws -> Bool {
    let path = FilePath(files.image.string + Repository.compressedSuffix)
    let download = VerifiedDownload(
      transport: transport, mirrors: mirrors, subject: entry.id.description, expected: compressed,
      url: url(compressedName), allowsEncoding: false)
    try await download.run(creating: path, keepingPartsIn: files.partials)
    defer { try? Files.remove(path) }
    let file = try Files.open(creating: files.image)
    defer { try? file.close() }
    try await blocking { [image] in try CompressedFrames.decompress(path, of: image.byteCount, to: file) }
    try await check(file, files.image, madeOf: compressedName)
    options.onReused(image.byteCount - compressed.byteCount)
    return true
  }

  var compressedName: String { entry.id.imageFileName + Repository.compressedSuffix }

  /// Whatever the file was made of, it has to be the image.
  ///
  /// - Throws: ``RepositoryError/mismatch(subject:url:expected:got:)``.
  func check(_ file: FileDescriptor, _ path: FilePath, madeOf name: String) async throws {
    let got = try await blocking { try Files.prefix(of: file, path: path).digest }
    guard got == image else {
      throw RepositoryError.mismatch(subject: entry.id.description, url: url(name)(mirrors.root), expected: image, got: got)
    }
  }
}

extension RepositoryIndex.FileDigest {
  /// - Throws: ``RepositoryError/mismatch(subject:url:expected:got:)`` for other bytes.
  func check(_ bytes: [UInt8], subject: String, url: String) throws(RepositoryError) {
    var digester = Digester()
    digester.update(bytes)
    let got = Self(byteCount: UInt64(bytes.count), sha256: digester.finish())
    if got != self { throw .mismatch(subject: subject, url: url, expected: self, got: got) }
  }
}

extension String {
  /// Whether a repository is at hand, so that compression only costs time: a directory, or a server on the loopback device.
  fileprivate var isOfThisMachine: Bool {
    guard isHTTP else { return true }
    let authority = host.drop { $0 != "/" }.dropFirst(2)
    let name = authority.suffix(from: authority.lastIndex(of: "@").map { authority.index(after: $0) } ?? authority.startIndex)
    return name == "localhost" || name.hasPrefix("localhost:") || name.hasPrefix("127.") || name.hasPrefix("[::1]")
  }
}
