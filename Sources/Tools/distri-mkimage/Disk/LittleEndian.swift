// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

extension Array where Element == UInt8 {
  /// A little-endian number; nil when it lies outside.
  func load<N: FixedWidthInteger>(_: N.Type = N.self, at offset: Int) -> N? {
    let size = N.bitWidth / 8
    guard offset >= 0, offset <= count - size else { return nil }
    return self[offset..<offset + size].reversed().reduce(0) { $0 << 8 | N($1) }
  }

  /// Writes a little-endian number, which must lie inside.
  mutating func store<N: FixedWidthInteger>(_ value: N, at offset: Int) {
    for index in 0..<N.bitWidth / 8 { self[offset + index] = UInt8(truncatingIfNeeded: value >> (8 * index)) }
  }

  /// Appends zeros up to the next multiple.
  mutating func pad(toMultipleOf unit: Int) {
    self += [UInt8](repeating: 0, count: count.rounded(upTo: unit) - count)
  }
}

extension BinaryInteger {
  /// The next multiple of a positive number.
  func rounded(upTo unit: Self) -> Self { (self + unit - 1) / unit * unit }
}

/// Lower-case hexadecimal digits with hyphens.
func text(ofUUID bytes: [UInt8]) -> String {
  var text = ""
  for (index, byte) in bytes.enumerated() {
    if [4, 6, 8, 10].contains(index) { text += "-" }
    text += (byte < 16 ? "0" : "") + String(byte, radix: 16)
  }
  return text
}
