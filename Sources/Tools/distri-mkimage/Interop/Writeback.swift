// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import CLinux
import SystemPackage

/// Lets the disk begin with what has been written. Whether it does changes nothing but the time.
func startWriteback(of file: FileDescriptor, at offset: UInt64, byteCount: UInt64) {
  _ = clinux_start_writeback(file.rawValue, Int64(offset), Int64(byteCount))
}
