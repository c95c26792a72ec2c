// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

#if RemoteExecution

import DistriBuild
import DistriStore
import SystemPackage

/// Reads contents that are sent, piece by piece, and notices when they are not what they were. The file is closed with the last reference.
final class BlobReader: Sendable {
  private enum Origin {
    case file(FileDescriptor, FilePath)
    case bytes([UInt8])
  }

  /// For errors: the file, where it is one.
  var path: FilePath {
    if case .file(_, let path) = origin { path } else { "" }
  }

  private let origin: Origin
  private let byteCount: UInt64

  /// - Throws: ``RemoteError/system(operation:path:_:)``, ``RemoteError/changedFile(_:)``.
  init(_ blob: Blob) throws(RemoteError) {
    byteCount = blob.digest.byteCount
    switch blob.content {
    case .bytes(let bytes): origin = .bytes(bytes)
    case .file(let path):
      do {
        origin = .file(try FileDescriptor.open(path, .readOnly, options: .closeOnExec), path)
      } catch {
        throw .system(operation: "open", path: path, error as? Errno ?? .ioError)
      }
    case .elsewhere: throw .invalidAction(nil, reason: "the bytes of \(blob.digest) are not on this machine")
    }
  }

  deinit {
    if case .file(let file, _) = origin { try? file.close() }
  }

  /// The next bytes at an offset, at most so many; none at the end only.
  ///
  /// - Throws: ``RemoteError/changedFile(_:)`` for a file that has become shorter or longer; ``RemoteError/system(operation:path:_:)``.
  func bytes(at offset: UInt64, atMost limit: Int) throws(RemoteError) -> [UInt8] {
    let wanted = Int(min(UInt64(limit), byteCount - min(offset, byteCount)))
    switch origin {
    case .bytes(let bytes): return Array(bytes.dropFirst(Int(clamping: offset)).prefix(wanted))
    case .file(let file, let path):
      do {
        // One more at the end, where there must be none.
        let isLast = offset + UInt64(wanted) >= byteCount
        let bytes = try file.bytes(at: offset, atMost: wanted + (isLast ? 1 : 0))
        guard bytes.count == wanted else { throw RemoteError.changedFile(path) }
        return bytes
      } catch let error as RemoteError {
        throw error
      } catch {
        throw .system(operation: "read", path: path, error as? Errno ?? .ioError)
      }
    }
  }

  /// All bytes.
  ///
  /// - Throws: as ``bytes(at:atMost:)``.
  func all() throws(RemoteError) -> [UInt8] { try bytes(at: 0, atMost: Int(clamping: byteCount)) }
}

#endif
