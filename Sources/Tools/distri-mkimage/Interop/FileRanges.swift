// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import CLinux
import SystemPackage

/// Copies a part of a file into another one: the kernel does, blocks by reference where the file system can.
///
/// - Returns: false when the source ends before that.
/// - Throws: `Errno`.
func copyRange(
  of source: FileDescriptor, at sourceOffset: UInt64, to target: FileDescriptor, at targetOffset: UInt64, byteCount: UInt64
) throws -> Bool {
  var done: UInt64 = 0
  var isByKernel = true
  while done < byteCount {
    let (from, to) = (Int64(sourceOffset + done), Int64(targetOffset + done))
    if isByKernel {
      let count = clinux_copy_file_range(source.rawValue, from, target.rawValue, to, Int(min(byteCount - done, 1 << 30)))
      // Not between these two: what is the matter is seen by copying it ourselves.
      if count <= 0 { isByKernel = false } else { done += UInt64(count) }
      continue
    }
    var buffer = [UInt8](repeating: 0, count: Int(min(byteCount - done, 1 << 20)))
    let count = try buffer.withUnsafeMutableBytes { try source.read(fromAbsoluteOffset: from, into: $0) }
    guard count > 0 else { return false }
    try target.writeAll(toAbsoluteOffset: to, buffer[..<count])
    done += UInt64(count)
  }
  return true
}

/// Lets the disk begin with what has been written. Whether it does changes nothing but the time.
func startWriteback(of file: FileDescriptor, at offset: UInt64, byteCount: UInt64) {
  _ = clinux_start_writeback(file.rawValue, Int64(offset), Int64(byteCount))
}
