// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import CLinux
import Glibc

/// What `stat` says of a file, as plain values.
package struct FileStatus: Sendable {
  var device: UInt64
  var inode: UInt64
  var mode: UInt32
  var linkCount: UInt64
  var userID: UInt32
  var groupID: UInt32
  package var byteCount: UInt64
  var modificationTime: Int64
  var deviceMajor: UInt32
  var deviceMinor: UInt32

  init(_ status: Glibc.stat) {
    device = UInt64(status.st_dev)
    inode = UInt64(status.st_ino)
    mode = UInt32(status.st_mode)
    linkCount = UInt64(status.st_nlink)
    userID = status.st_uid
    groupID = status.st_gid
    byteCount = UInt64(clamping: status.st_size)
    modificationTime = Int64(status.st_mtim.tv_sec)
    deviceMajor = clinux_major(UInt64(status.st_rdev))
    deviceMinor = clinux_minor(UInt64(status.st_rdev))
  }

  var permissions: UInt16 { UInt16(truncatingIfNeeded: mode & 0o7777) }
  var isDirectory: Bool { mode & UInt32(S_IFMT) == UInt32(S_IFDIR) }
  var isRegular: Bool { mode & UInt32(S_IFMT) == UInt32(S_IFREG) }
  var isSymbolicLink: Bool { mode & UInt32(S_IFMT) == UInt32(S_IFLNK) }
  var isCharacterDevice: Bool { mode & UInt32(S_IFMT) == UInt32(S_IFCHR) }
  var isBlockDevice: Bool { mode & UInt32(S_IFMT) == UInt32(S_IFBLK) }
  var isFIFO: Bool { mode & UInt32(S_IFMT) == UInt32(S_IFIFO) }
  var isSocket: Bool { mode & UInt32(S_IFMT) == UInt32(S_IFSOCK) }

  /// One file, under however many names.
  struct Identity: Hashable, Sendable {
    var device: UInt64
    var inode: UInt64
  }

  var identity: Identity { Identity(device: device, inode: inode) }
}
