// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import CLinux
import Glibc
import SystemPackage

/// Gives each of two files or directories the other's name, in one step.
func exchangeNames(_ one: FilePath, _ other: FilePath) throws {
  guard clinux_rename_exchange(AT_FDCWD, one.string, AT_FDCWD, other.string) == 0 else {
    throw MkimageError.unusableFile(other.string, reason: "\(Errno(rawValue: errno))")
  }
}
