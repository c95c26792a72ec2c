// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import Glibc
import SystemPackage

/// What tells the file of an image from another of the same name: packages are immutable, so these four never change.
package struct ImageIdentity: Sendable, Hashable {
  package var inode: UInt64
  /// In bytes.
  package var byteCount: UInt64
  /// In seconds since 1970.
  package var modificationTime: Int64
  package var nanoseconds: UInt32

  package init(inode: UInt64, byteCount: UInt64, modificationTime: Int64, nanoseconds: UInt32) {
    self.inode = inode
    self.byteCount = byteCount
    self.modificationTime = modificationTime
    self.nanoseconds = nanoseconds
  }

  /// Looks at a file; links are followed.
  package init(of path: FilePath) throws(Errno) {
    var status = stat()
    guard unsafe path.withPlatformString({ unsafe stat($0, &status) }) == 0 else { throw Errno(rawValue: errno) }
    self.init(status)
  }

  /// Looks at an open file.
  package init(of file: FileDescriptor) throws(Errno) {
    var status = stat()
    guard unsafe fstat(file.rawValue, &status) == 0 else { throw Errno(rawValue: errno) }
    self.init(status)
  }

  private init(_ status: stat) {
    inode = UInt64(status.st_ino)
    byteCount = UInt64(clamping: status.st_size)
    modificationTime = Int64(status.st_mtim.tv_sec)
    nanoseconds = UInt32(truncatingIfNeeded: status.st_mtim.tv_nsec)
  }

  /// As an index is bound to it.
  package var binding: [UInt64] { [inode, byteCount, UInt64(bitPattern: modificationTime), UInt64(nanoseconds)] }

  /// Whether an index is bound to it.
  package func isBinding(_ words: [UInt64]) -> Bool { words.prefix(4).elementsEqual(binding) }
}
