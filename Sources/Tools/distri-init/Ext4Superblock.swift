// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

/// What identifies an ext2, ext3 or ext4 file system: from its superblock.
struct Ext4Superblock: Equatable {
  /// Where the superblock lies on the device, in bytes.
  static let offset = 1024
  /// How much of it there is, in bytes.
  static let byteCount = 1024

  /// 16 bytes, in the order in which they are written as text.
  let uuid: [UInt8]
  /// The volume name without its padding; empty where there is none.
  let label: [UInt8]

  /// Nil when the bytes are no superblock. All fields are little-endian.
  init?(_ bytes: [UInt8]) {
    guard bytes.count >= Self.byteCount, bytes[0x38] == 0x53, bytes[0x39] == 0xef else { return nil }
    // Blocks have 1 KiB to 64 KiB: whoever claims others has only the two magic bytes in common with the format.
    guard bytes[0x18] <= 6, bytes[0x19..<0x1c].allSatisfy({ $0 == 0 }) else { return nil }
    uuid = Array(bytes[0x68..<0x78])
    label = Array(bytes[0x78..<0x88].prefix { $0 != 0 })
  }

  /// Whether this is the file system that was asked for.
  func matches(_ wanted: DeviceSpecification) -> Bool {
    switch wanted {
    case .label(let text): label == Array(text.utf8)
    case .uuid(let bytes): uuid == bytes
    case .device, .encrypted: false
    }
  }
}
