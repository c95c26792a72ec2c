// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

/// What opens an encrypted disk: a line that somebody can type.
struct Passphrase: Equatable {
  let bytes: [UInt8]

  private static let longest = 512

  /// - Parameter source: where it is from, for errors.
  /// - Throws: ``MkimageError/unusableFile(_:reason:)`` for what nobody could type.
  init(_ bytes: [UInt8], source: String) throws(MkimageError) {
    guard (1...Self.longest).contains(bytes.count), bytes.allSatisfy({ $0 >= 0x20 && $0 != 0x7f }) else {
      throw .unusableFile(source, reason: "a passphrase is one line of 1 to \(Self.longest) bytes without control characters")
    }
    self.bytes = bytes
  }
}
