// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

/// The kind of a file as `st_mode` has it; archives carry the same numbers.
package enum FileMode: UInt32 {
  case fifo = 0o010000
  case characterDevice = 0o020000
  case directory = 0o040000
  case blockDevice = 0o060000
  case regular = 0o100000
  case symbolicLink = 0o120000
  case socket = 0o140000

  package static let mask: UInt32 = 0o170000
}
