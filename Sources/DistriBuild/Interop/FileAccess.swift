// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import SystemPackage

extension FileDescriptor {
  /// Up to so many bytes at an offset, fewer at the end of the file only.
  func bytes(at offset: UInt64, atMost count: Int) throws(Errno) -> [UInt8] {
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
