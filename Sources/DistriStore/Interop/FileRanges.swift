// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import CLinux
import SystemPackage

extension FileDescriptor {
  /// Copies bytes into another file: the kernel does, blocks by reference where the file system can.
  ///
  /// - Returns: how many bytes; fewer than asked for only where the source ends.
  /// - Throws: `Errno`.
  @discardableResult
  package func copy(
    at sourceOffset: UInt64, to target: FileDescriptor, at targetOffset: UInt64, byteCount: UInt64
  ) throws -> UInt64 {
    var done: UInt64 = 0
    var isByKernel = true
    var buffer: [UInt8] = []
    while done < byteCount {
      let (from, to) = (Int64(clamping: sourceOffset + done), Int64(clamping: targetOffset + done))
      if isByKernel {
        let count = clinux_copy_file_range(rawValue, from, target.rawValue, to, Int(min(byteCount - done, 64 << 20)))
        if count > 0 { done += UInt64(count) }
        if count == 0 && done > 0 { break }
        // Not between these file systems; nothing at all where the source reports no size.
        if count <= 0 { isByKernel = false }
        continue
      }
      if buffer.isEmpty { buffer = [UInt8](repeating: 0, count: Int(min(byteCount - done, 1 << 20))) }
      let wanted = Int(min(byteCount - done, UInt64(buffer.count)))
      let count = try unsafe buffer.withUnsafeMutableBytes {
        try unsafe read(fromAbsoluteOffset: from, into: UnsafeMutableRawBufferPointer(rebasing: $0[..<wanted]))
      }
      if count == 0 { break }
      try target.writeAll(toAbsoluteOffset: to, buffer[..<count])
      done += UInt64(count)
    }
    return done
  }
}
