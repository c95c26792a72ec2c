// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import SystemPackage

extension FileDescriptor {
  /// Up to so many bytes at an offset, fewer at the end of the file only.
  package func bytes(at offset: UInt64, atMost count: Int) throws(Errno) -> [UInt8] {
    guard count > 0, var position = Int64(exactly: offset), position <= Int64.max - Int64(count) else { return [] }
    do {
      return try unsafe [UInt8](unsafeUninitializedCapacity: count) { buffer, filled in
        while filled < count {
          let rest = unsafe UnsafeMutableRawBufferPointer(rebasing: UnsafeMutableRawBufferPointer(buffer)[filled...])
          let step = try unsafe read(fromAbsoluteOffset: position, into: rest)
          if step == 0 { break }
          filled += step
          position += Int64(step)
        }
      }
    } catch {
      throw error as? Errno ?? .ioError
    }
  }
}

extension FilePath {
  /// Up to so many bytes of a file at an offset, fewer at its end only.
  ///
  /// - Throws: ``BuildError/system(operation:path:_:)``.
  func bytes(at offset: UInt64, atMost count: Int) throws(BuildError) -> [UInt8] {
    do {
      let file = try FileDescriptor.open(self, .readOnly, options: [.closeOnExec, .noFollow])
      return try file.closeAfter { try file.bytes(at: offset, atMost: count) }
    } catch {
      throw .system(operation: "read", path: self, error as? Errno ?? .ioError)
    }
  }

  /// Copies a file to a place where nothing is.
  ///
  /// - Throws: ``BuildError/system(operation:path:_:)``.
  func copy(to other: FilePath, permissions: UInt16 = 0o644) throws(BuildError) {
    do {
      let file = try FileDescriptor.open(
        other, .writeOnly, options: [.create, .exclusiveCreate, .closeOnExec],
        permissions: FilePermissions(rawValue: CModeT(permissions)))
      try file.closeAfter {
        var offset: UInt64 = 0
        while true {
          let piece = try bytes(at: offset, atMost: 1 << 20)
          if piece.isEmpty { break }
          try file.writeAll(piece)
          offset += UInt64(piece.count)
        }
      }
    } catch let error as BuildError {
      throw error
    } catch {
      throw .system(operation: "copy to \(other)", path: self, error as? Errno ?? .ioError)
    }
  }

  /// The size of a file in bytes.
  ///
  /// - Throws: ``BuildError/system(operation:path:_:)``.
  func byteCount() throws(BuildError) -> UInt64 {
    do {
      let file = try FileDescriptor.open(self, .readOnly, options: [.closeOnExec, .noFollow])
      return try file.closeAfter { UInt64(try file.seek(offset: 0, from: .end)) }
    } catch {
      throw .system(operation: "stat", path: self, error as? Errno ?? .ioError)
    }
  }
}
