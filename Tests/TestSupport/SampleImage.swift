// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore
import SystemPackage

/// A tree of one regular file, `data`.
public struct SampleTree: FileTree {
  private let contents: [UInt8]
  private var position: Int?

  /// Makes a tree whose file holds the bytes.
  public init(_ contents: [UInt8]) { self.contents = contents }

  /// A tree whose file follows from a package's name alone, so that another process can tell whether it is whole.
  public init(of package: PackageID) { self.init(Self.contents(of: package)) }

  /// What the file of a package's tree holds: between nothing and a few hundred kilobytes.
  public static func contents(of package: PackageID) -> [UInt8] {
    let line = "\(package)\n"
    let hash = line.utf8.reduce(0xcbf2_9ce4_8422_2325 as UInt64) { ($0 ^ UInt64($1)) &* 0x100_0000_01b3 }
    return Array(String(repeating: line, count: Int(hash % 10_000)).utf8)
  }

  /// What the file of a package's image holds.
  public static func contents(of image: PackageImage) throws -> [UInt8] {
    guard let node = try image.node(at: try TreePath(parsing: "data")) else { throw Errno.noSuchFileOrDirectory }
    return try image.contents(of: node, limit: 1 << 24)
  }

  /// The file.
  public mutating func next() throws -> TreeEntry? {
    guard position == nil else { return nil }
    position = 0
    return TreeEntry(
      path: try TreePath(parsing: "data"), kind: .regular(byteCount: UInt64(contents.count)), permissions: 0o644)
  }

  /// Its bytes.
  public mutating func readContents(into output: inout OutputRawSpan) throws {
    while let next = position, next < contents.count, output.freeCapacity > 0 {
      let count = min(contents.count - next, output.freeCapacity)
      for byte in contents[next..<(next + count)] { output.append(byte) }
      position = next + count
    }
  }
}
