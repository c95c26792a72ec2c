// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore
import SystemPackage

extension Transport {
  /// Brings a small file into memory.
  ///
  /// - Parameter maximumByteCount: decoded bytes.
  /// - Throws: as ``download(_:into:)``.
  public func bytes(of url: String, maximumByteCount: UInt64, timeLimit: Duration? = nil) async throws -> [UInt8] {
    try await page(of: url, maximumByteCount: maximumByteCount, timeLimit: timeLimit).bytes
  }

  /// Brings a part of a file into memory.
  ///
  /// - Throws: as ``download(_:into:)``.
  func bytes(of url: String, range: Range<UInt64>) async throws -> [UInt8] {
    let sink = BufferSink()
    try await download(TransferRequest(url: url, range: range), into: sink)
    return sink.bytes
  }

  /// A small file, with where it came from in the end: links of a page are relative to that.
  ///
  /// - Throws: as ``download(_:into:)``.
  public func page(
    of url: String, maximumByteCount: UInt64, timeLimit: Duration? = nil
  ) async throws -> (url: String, bytes: [UInt8]) {
    let sink = BufferSink()
    let response = try await download(
      TransferRequest(url: url, maximumByteCount: maximumByteCount, timeLimit: timeLimit), into: sink)
    return (response.url, sink.bytes)
  }

  /// Brings a file to a path: it is there whole and, where a digest is given, verified, or not at all.
  ///
  /// The bytes are collected in a file beside it, which takes its place at the end; an older file is replaced.
  ///
  /// - Parameters:
  ///   - sha256: 32 bytes that the file must hash to.
  ///   - subject: what the file is called in an error, such as the package that needs it.
  ///   - maximumByteCount: decoded bytes.
  /// - Returns: size and hash of the file.
  /// - Throws: as ``download(_:into:)``; ``RepositoryError/mismatch(subject:url:expected:got:)``;
  ///   ``RepositoryError/system(operation:path:_:)``.
  @discardableResult
  public func download(
    _ url: String, to path: FilePath, sha256: [UInt8]? = nil, subject: String? = nil, maximumByteCount: UInt64 = 64 << 30
  ) async throws -> RepositoryIndex.FileDigest {
    try await replacing(path) { partial in
      let got = try await write(url, creating: partial, maximumByteCount: maximumByteCount)
      if let sha256, sha256 != got.sha256 {
        let expected = RepositoryIndex.FileDigest(byteCount: got.byteCount, sha256: sha256)
        throw RepositoryError.mismatch(subject: subject ?? path.string, url: url, expected: expected, got: got)
      }
      return got
    }
  }

  /// Gives the body a name beside the path; what it has made there takes the path's place at the end.
  func replacing<Result>(_ path: FilePath, by body: (FilePath) async throws -> Result) async throws -> Result {
    let suffix = String(UInt64.random(in: .min ... .max), radix: 36)
    let partial = path.removingLastComponent().appending(".\(path.lastComponent?.string ?? "download").\(suffix).part")
    do {
      let result = try await body(partial)
      try Files.rename(partial, to: path)
      return result
    } catch {
      try? Files.remove(partial)
      throw error
    }
  }

  /// Creates the file, which must not exist, and writes the body to it.
  func write(
    _ url: String, creating path: FilePath, maximumByteCount: UInt64
  ) async throws -> RepositoryIndex.FileDigest {
    let file = try Files.open(creating: path)
    defer { try? file.close() }
    var received = ReceivedPrefix()
    try await receive(TransferRequest(url: url, maximumByteCount: maximumByteCount), into: file, path: path, &received)
    return received.digest
  }

  /// Writes the body to the file, behind what has been received.
  ///
  /// - Parameters:
  ///   - received: goes on with what came, also when this throws.
  ///   - isPart: whether what the file has behind it is left alone.
  func receive(
    _ request: TransferRequest, into file: FileDescriptor, path: FilePath, _ received: inout ReceivedPrefix, isPart: Bool = false
  ) async throws {
    let sink = FileSink(after: received, isPart: isPart)
    async let written = sink.write(to: file, path: path)
    do {
      try await download(request, into: sink)
      sink.finish()
    } catch {
      sink.finish()
      if let all = try? await written { received = all }
      throw error
    }
    received = try await written
  }
}
