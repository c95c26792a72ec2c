// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore

/// Bytes that follow from a package's name alone, so that another process can tell whether its image is whole. No SquashFS.
public func sampleImage(of package: PackageID) -> [UInt8] {
  let line = "\(package)\n"
  let hash = line.utf8.reduce(0xcbf2_9ce4_8422_2325 as UInt64) { ($0 ^ UInt64($1)) &* 0x100_0000_01b3 }
  return Array(String(repeating: line, count: Int(hash % 10_000)).utf8)
}
