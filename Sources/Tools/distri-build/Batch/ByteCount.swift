// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Glibc

/// A number of bytes as people write it: `512M`, `8G`, `1073741824`; K, M, G and T are powers of 1024.
struct ByteCount: ExpressibleByArgument {
  var value: UInt64

  init?(argument: String) {
    let units: [Character: UInt64] = ["K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40]
    let unit = argument.uppercased().last.flatMap { units[$0] }
    guard let number = UInt64(unit == nil ? argument[...] : argument.dropLast()), number > 0 else { return nil }
    let (product, overflow) = number.multipliedReportingOverflow(by: unit ?? 1)
    guard !overflow else { return nil }
    value = product
  }

  /// The memory of this machine.
  static var ofMachine: UInt64 { UInt64(max(1, sysconf(Int32(_SC_PHYS_PAGES)))) * UInt64(max(1, sysconf(Int32(_SC_PAGESIZE)))) }
}
