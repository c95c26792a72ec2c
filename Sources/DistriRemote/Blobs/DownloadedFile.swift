// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

#if RemoteExecution

import Crypto
import DistriArchive
import DistriBuild
import DistriStore
import Synchronization
import SystemPackage

/// A file on its way: beside the place where it belongs, under another name, until it is whole. Whoever makes one discards it in the end.
///
/// One task at a time appends.
final class DownloadedFile: Sendable {
  private struct State {
    var hash = SHA256()
    var byteCount: UInt64 = 0
  }

  private let path: FilePath
  private let temporary: FilePath
  private let file: FileDescriptor
  private let digest: ContentDigest?
  private let state = Mutex(State())

  /// - Parameter digest: nil for bytes that are only passed on.
  /// - Throws: ``RemoteError/system(operation:path:_:)``.
  init(for path: FilePath, digest: ContentDigest?) throws(RemoteError) {
    self.path = path
    self.digest = digest
    // The same name each time, so that what a kill leaves is replaced.
    temporary = FilePath("\(path).\(digest == nil ? "zst" : "part")")
    do {
      file = try FileDescriptor.open(
        temporary, .readWrite, options: [.create, .truncate, .closeOnExec, .noFollow],
        permissions: FilePermissions(rawValue: 0o644))
    } catch {
      throw .system(operation: "create", path: temporary, error as? Errno ?? .ioError)
    }
  }

  deinit { try? file.close() }

  /// Removes what has not got its name.
  func discard() { try? temporary.removeAll() }

  /// A file of bytes that are known to be right.
  static func write(_ bytes: [UInt8], to path: FilePath) throws {
    let file = try DownloadedFile(for: path, digest: ContentDigest(of: bytes))
    defer { file.discard() }
    try file.append(bytes)
    _ = try file.finish()
  }

  /// What has been appended.
  var byteCount: UInt64 { state.withLock { $0.byteCount } }

  func append(_ bytes: [UInt8]) throws(RemoteError) {
    do {
      try state.withLock { state in
        try file.writeAll(toAbsoluteOffset: Int64(clamping: state.byteCount), bytes)
        state.byteCount += UInt64(bytes.count)
        if digest != nil { state.hash.update(data: bytes) }
      }
    } catch {
      throw .system(operation: "write", path: temporary, error as? Errno ?? .ioError)
    }
  }

  /// Begins anew.
  func empty() throws(RemoteError) {
    do {
      try state.withLock { state in
        try file.resize(to: 0)
        state = State()
      }
    } catch {
      throw .system(operation: "truncate", path: temporary, error as? Errno ?? .ioError)
    }
  }

  /// Gives the file its name; false, and no name, when it has not its digest.
  func finish() throws(BuildError) -> Bool {
    guard let digest else { return false }
    let found = state.withLock { ContentDigest(sha256: Array($0.hash.finalize()).hexadecimal, byteCount: $0.byteCount) }
    guard found == digest else { return false }
    try temporary.rename(to: path)
    return true
  }

  /// Appends to the other what these bytes become, decompressed: all, or as far as they are whole.
  ///
  /// - Throws: ``StoreError/invalidArchive(_:entry:reason:)`` for damage, a cut end, and more bytes than the other's digest says.
  func decompress(into other: DownloadedFile) async throws {
    let limit = (other.digest?.byteCount ?? 0) - other.byteCount
    try await onThread { [temporary] in
      try CompressedBytes.decompressZstd(temporary, limit: limit) { try other.append($0) }
    }
  }
}

#endif
