// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser

/// A number of bytes as people write it: `512M`, `8G`.
struct ByteCount: ExpressibleByArgument, Equatable {
  let value: UInt64

  init?(argument: String) {
    let units: [Character: UInt64] = ["K": 10, "M": 20, "G": 30, "T": 40]
    let shift = argument.last.flatMap { units[$0] }
    guard let number = UInt64(shift == nil ? argument[...] : argument.dropLast()), number > 0 else { return nil }
    let (value, overflow) = number.multipliedReportingOverflow(by: 1 << (shift ?? 0))
    guard !overflow, value <= 1 << 44 else { return nil }
    self.value = value
  }
}
