// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import Glibc
import SystemPackage

/// The file that holds a package's image, and what tells it from another of the same name.
struct ImageFile: Sendable, Hashable {
  let path: FilePath
  private let device: UInt64
  private let inode: UInt64
  /// In bytes.
  let byteCount: UInt64
  /// In seconds since 1970.
  let modificationTime: Int64
  private let nanoseconds: Int64

  /// Looks at a file; links are followed.
  init(_ path: FilePath) throws(Errno) {
    var status = stat()
    guard unsafe path.withPlatformString({ unsafe stat($0, &status) }) == 0 else { throw Errno(rawValue: errno) }
    self.path = path
    device = UInt64(status.st_dev)
    inode = UInt64(status.st_ino)
    byteCount = UInt64(clamping: status.st_size)
    modificationTime = Int64(status.st_mtim.tv_sec)
    nanoseconds = Int64(status.st_mtim.tv_nsec)
  }
}
