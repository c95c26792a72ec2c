// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

/// What the keys of the consoles mean: tables as `loadkeys --bkeymap` writes them.
///
///     bkeymap                      7 bytes
///     is a table there?            a byte for each of 256 combinations of Shift, AltGr, Ctrl, Alt and so on
///     meanings                     of each table that is there, of each of 128 keys: a little-endian number of 16 bits, as KDSKBENT takes it
struct Keymap: Equatable {
  /// Where it lies in the initramfs, if at all.
  static let path = "/etc/distri/keymap"

  private static let magic = Array("bkeymap".utf8)
  private static let tableCount = 256
  private static let keyCount = 128

  /// The meanings of all keys with certain modifiers.
  struct Table: Equatable {
    let number: UInt8
    let meanings: [UInt16]
  }

  let tables: [Table]

  /// - Throws: when it is no such file.
  init(_ bytes: [UInt8]) throws(BootFailure) {
    let damaged = BootFailure("\(Self.path) is no keymap; the initramfs is damaged")
    guard bytes.starts(with: Self.magic) else { throw damaged }
    let flags = bytes.dropFirst(Self.magic.count).prefix(Self.tableCount)
    guard flags.count == Self.tableCount else { throw damaged }
    let numbers = zip(UInt8.min...UInt8.max, flags).filter { $0.1 != 0 }.map(\.0)
    var rest = bytes.dropFirst(Self.magic.count + Self.tableCount)
    guard rest.count == numbers.count * Self.keyCount * 2 else { throw damaged }
    tables = numbers.map { number in
      let table = Array(rest.prefix(Self.keyCount * 2))
      rest = rest.dropFirst(table.count)
      return Table(number: number, meanings: (0..<Self.keyCount).map { UInt16(table[2 * $0]) | UInt16(table[2 * $0 + 1]) << 8 })
    }
  }
}
