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

  /// Ranges of one image that are asked for at the same time.
  private static let maximumRequests = 6
  /// What a request for a range costs beside the range, in bytes.
  private static let requestByteCount: UInt64 = 512

  /// - Throws: as ``VerifiedDownload/run(creating:keepingPartsIn:)``.
  func run(to files: StagedFiles) async throws {
    let come = files.partials?.byteCount(of: image.sha256) ?? 0
    let whole = image.byteCount - min(come, image.byteCount)
    let compressed = compressedFile(shorterThan: whole)
    if let base = files.base, let blocks = entry.blocks, options.reusesBlocks, mirrors.root.isHTTP {
      let limit = compressed?.byteCount ?? whole
      if try await isMade(files.image, by: { try await assemble(files.image, from: base, blocks, cheaperThan: limit) }) { return }
    }
    if let compressed, try await isMade(files.image, by: { try await decompress(compressed, to: files) }) { return }
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

  // MARK: Blocks

  /// False when it would not be cheaper than so many bytes.
  private func assemble(
    _ path: FilePath, from basePath: FilePath, _ digest: RepositoryIndex.FileDigest, cheaperThan limit: UInt64
  ) async throws -> Bool {
    guard digest.byteCount < limit, digest.byteCount <= UInt64(BlockHashes.maximumByteCount) else { return false }
    let blocks = try await hashes(digest)
    let base = try Files.open(reading: basePath)
    defer { try? base.close() }
    let plan = try await blocking { try Self.plan(for: blocks, from: base, basePath) }
    let cost = plan.missingByteCount + digest.byteCount + UInt64(plan.missing.count) * Self.requestByteCount
    guard cost < limit else { return false }
    let file = try Files.open(creating: path)
    defer { try? file.close() }
    try await blocking { try Self.copy(plan.copies, from: base, to: file, path) }
    try await fetch(plan.missing, into: file, path)
    let got = try await blocking { try Files.prefix(of: file, path: path).digest }
    guard got == image else {
      throw RepositoryError.mismatch(
        subject: entry.id.description, url: url(entry.id.imageFileName)(mirrors.root), expected: image, got: got)
    }
    options.onReused(image.byteCount - plan.missingByteCount)
    return true
  }

  private static func plan(for blocks: BlockHashes, from base: FileDescriptor, _ path: FilePath) throws -> BlockPlan {
    do { return try BlockPlan(for: blocks, from: base) } catch {
      throw RepositoryError.system(operation: "read", path: path, error)
    }
  }

  private static func copy(_ parts: [BlockPlan.Copy], from base: FileDescriptor, to file: FileDescriptor, _ path: FilePath) throws {
    do {
      for part in parts {
        try Files.copy(from: base, at: part.source, to: file, at: part.target.lowerBound, byteCount: part.target.byteCount)
      }
    } catch {
      throw RepositoryError.system(operation: "copy to", path: path, error as? Errno ?? .ioError)
    }
  }

  private func hashes(_ expected: RepositoryIndex.FileDigest) async throws -> BlockHashes {
    let url = url(entry.id.imageFileName + BlockHashes.fileSuffix)
    let bytes = try await mirrors.firstGood { root in
      let bytes = try await transport.bytes(
        of: url(root), maximumByteCount: expected.byteCount, timeLimit: options.smallFileTimeLimit)
      try expected.check(bytes, subject: entry.id.description, url: url(root))
      return bytes
    }
    let subject = url(mirrors.root).withoutCredentials
    let blocks = try BlockHashes(serialized: bytes, subject: subject)
    guard blocks.fileByteCount == image.byteCount else {
      throw StoreError.invalidMetadata(of: subject, line: nil, reason: "is of another image than that of the index")
    }
    return blocks
  }

  private func fetch(_ ranges: [Range<UInt64>], into file: FileDescriptor, _ path: FilePath) async throws {
    let url = url(entry.id.imageFileName)
    try await withThrowingTaskGroup(of: Void.self) { group in
      for (index, range) in ranges.enumerated() {
        if index >= Self.maximumRequests { try await group.next() }
        group.addTask {
          try await mirrors.firstGood { root in
            var received = ReceivedPrefix(byteCount: range.lowerBound)
            try await transport.receive(
              TransferRequest(url: url(root), range: range), into: file, path: path, &received, isPart: true)
          }
        }
      }
      try await group.waitForAll()
    }
  }

  // MARK: Compressed

  private func compressedFile(shorterThan limit: UInt64) -> RepositoryIndex.FileDigest? {
    guard let compressed = entry.compressed, compressed.byteCount < limit else { return nil }
    switch options.compression {
    case .never: return nil
    case .always: return compressed
    case .automatic: return mirrors.root.isOfThisMachine ? nil : compressed
    }
  }

  private func decompress(_ compressed: RepositoryIndex.FileDigest, to files: StagedFiles) async throws -> Bool {
    let suffix = Repository.compressedSuffix
    let path = FilePath(files.image.string + suffix)
    let download = VerifiedDownload(
      transport: transport, mirrors: mirrors, subject: entry.id.description, expected: compressed,
      url: url(entry.id.imageFileName + suffix), allowsEncoding: false)
    try await download.run(creating: path, keepingPartsIn: files.partials)
    defer { try? Files.remove(path) }
    let file = try Files.open(creating: files.image)
    defer { try? file.close() }
    let got = try await blocking { [image] in
      try CompressedBytes.decompress(path, limit: image.byteCount, to: file)
      return try Files.prefix(of: file, path: files.image).digest
    }
    guard got == image else {
      throw RepositoryError.mismatch(
        subject: entry.id.description, url: download.url(mirrors.root), expected: image, got: got)
    }
    options.onReused(image.byteCount - compressed.byteCount)
    return true
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
