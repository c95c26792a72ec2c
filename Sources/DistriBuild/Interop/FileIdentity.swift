// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import Glibc
import SystemPackage

/// What tells a file from what it was or will be: while these are the same, so are its bytes, but for a change in the moment of the look.
struct FileIdentity: Sendable, Hashable {
  var device: UInt64
  var inode: UInt64
  /// In bytes.
  var byteCount: UInt64
  /// Of the bytes, in nanoseconds since 1970.
  var modificationTime: Int64
  /// Of bytes or attributes, in nanoseconds since 1970: nobody can set it.
  var changeTime: Int64

  /// Looks at a file; links are followed.
  ///
  /// - Throws: ``BuildError/system(operation:path:_:)``.
  init(of path: FilePath) throws(BuildError) {
    var status = stat()
    guard unsafe path.withPlatformString({ unsafe stat($0, &status) }) == 0 else {
      throw .system(operation: "stat", path: path, Errno(rawValue: errno))
    }
    device = UInt64(status.st_dev)
    inode = UInt64(status.st_ino)
    byteCount = UInt64(clamping: status.st_size)
    modificationTime = Self.nanoseconds(status.st_mtim)
    changeTime = Self.nanoseconds(status.st_ctim)
  }

  init(device: UInt64, inode: UInt64, byteCount: UInt64, modificationTime: Int64, changeTime: Int64) {
    self.device = device
    self.inode = inode
    self.byteCount = byteCount
    self.modificationTime = modificationTime
    self.changeTime = changeTime
  }

  private static func nanoseconds(_ time: timespec) -> Int64 {
    Int64(time.tv_sec).multipliedReportingOverflow(by: 1_000_000_000).partialValue &+ Int64(time.tv_nsec)
  }

  /// The present, as file systems write it, in nanoseconds since 1970.
  static var now: Int64 {
    var time = timespec()
    unsafe clock_gettime(CLOCK_REALTIME, &time)
    return nanoseconds(time)
  }
}
