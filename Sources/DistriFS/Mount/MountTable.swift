// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import SystemPackage

/// What is mounted where, as `/proc/self/mountinfo` says: reading it asks no file system, so a dead one cannot block.
public struct MountTable: Sendable {
  /// One mount.
  public struct Entry: Sendable, Hashable {
    /// Where, in this process's view.
    public var mountPoint: FilePath
    /// Such as `ext4` or `fuse.distri`.
    public var type: String
    /// Such as `/dev/sda1`; of our mounts the store.
    public var source: String
    /// Major and minor number, such as `0:52`.
    public var device: String

    /// Whether it is one of ours.
    public var isOurs: Bool { type == "fuse." + MountOptions.subtype }
  }

  /// In the order in which they were mounted.
  public let entries: [Entry]

  /// Reads the current table.
  ///
  /// - Throws: ``MountError/system(operation:path:_:)`` where there is no `/proc`.
  public static func current() throws(MountError) -> MountTable {
    let path = FilePath("/proc/self/mountinfo")
    do {
      return MountTable(parsing: try SystemCalls.contents(of: path))
    } catch {
      throw .system(operation: "read", path: path, error)
    }
  }

  /// Parses lines of proc_pid_mountinfo(5); those that are none are skipped.
  init(parsing bytes: [UInt8]) {
    entries = bytes.split(separator: UInt8(ascii: "\n")).compactMap { line in
      let fields = line.split(separator: UInt8(ascii: " "))
      guard let dash = fields.firstIndex(of: [UInt8(ascii: "-")]), dash >= 6, dash + 2 < fields.count else { return nil }
      return Entry(
        mountPoint: FilePath(Self.unescaped(fields[4])), type: Self.unescaped(fields[dash + 1]),
        source: Self.unescaped(fields[dash + 2]),
        device: Self.unescaped(fields[2]))
    }
  }

  /// The uppermost mount on exactly this path.
  public func entry(at mountPoint: FilePath) -> Entry? { entries.last { $0.mountPoint == mountPoint } }

  /// Space, tab, newline and backslash are written as three octal digits.
  private static func unescaped(_ field: ArraySlice<UInt8>) -> String {
    var bytes: [UInt8] = []
    var index = field.startIndex
    while index < field.endIndex {
      let digits = field[(index + 1)...].prefix(3)
      if field[index] == UInt8(ascii: "\\"), digits.count == 3, digits.allSatisfy({ (0x30...0x37).contains($0) }) {
        bytes.append(digits.reduce(0) { $0 &* 8 &+ ($1 &- 0x30) })
        index += 4
      } else {
        bytes.append(field[index])
        index += 1
      }
    }
    return String(decoding: bytes, as: UTF8.self)
  }
}
