// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

/// What identifies an encrypted device: its first header («LUKS2 On-Disk Format Specification», binary header).
struct LUKSHeader: Equatable {
  /// How much of the device it takes to tell, in bytes.
  static let byteCount = 512

  /// 16 bytes.
  let uuid: [UInt8]

  /// Nil when the bytes, those at the start of a device, are no header of version 2.
  init?(_ bytes: [UInt8]) {
    guard bytes.count >= Self.byteCount, bytes.starts(with: Array("LUKS".utf8) + [0xba, 0xbe, 0, 2]) else { return nil }
    let text = bytes[168..<208].prefix { $0 != 0 }
    guard let uuid = DeviceSpecification.bytes(ofUUID: Substring(decoding: text, as: UTF8.self)) else { return nil }
    self.uuid = uuid
  }
}
