// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

/// The name of one directory entry: raw bytes, need not be UTF-8.
///
/// Never empty, `.` or `..`, never longer than 255 bytes, never with `/` or NUL, so that it can be appended to a directory's path safely.
public struct EntryName: Sendable, Hashable, CustomStringConvertible {
  /// The bytes.
  public let bytes: [UInt8]

  /// - Throws: ``StoreError/invalidName(_:_:)`` when the bytes cannot name a directory entry.
  public init(_ bytes: some Collection<UInt8>) throws(StoreError) {
    let defect = Self.defect(of: bytes)
    if let defect { throw .invalidName(String(decoding: bytes, as: UTF8.self), defect) }
    self.bytes = Array(bytes)
  }

  /// For bytes that have been checked before, when an index was made of them.
  package init(checked bytes: [UInt8]) { self.bytes = bytes }

  /// - Throws: as ``init(_:)-(Collection<UInt8>)``.
  public init(_ text: String) throws(StoreError) { try self.init(Array(text.utf8)) }

  private static func defect(of bytes: some Collection<UInt8>) -> StoreError.NameDefect? {
    if bytes.isEmpty { return .empty }
    if bytes.count > 255 { return .tooLong }
    if bytes.elementsEqual(".".utf8) || bytes.elementsEqual("..".utf8) { return .hidden }
    return bytes.first { $0 == UInt8(ascii: "/") || $0 == 0 }.map { .forbiddenByte($0) }
  }

  /// For display only: bytes that are no UTF-8 are replaced.
  public var description: String { String(decoding: bytes, as: UTF8.self) }
}

extension EntryName: Comparable {
  /// Bytewise, as SquashFS and our listings are sorted.
  public static func < (a: EntryName, b: EntryName) -> Bool { a.bytes.lexicographicallyPrecedes(b.bytes) }
}
