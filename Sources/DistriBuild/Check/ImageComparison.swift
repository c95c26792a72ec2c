// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore

/// Tells in what two images differ: which file, and what of it.
public struct ImageComparison: Sendable {
  /// One difference.
  public struct Difference: Sendable, Hashable, CustomStringConvertible {
    /// Inside the package; the root for what concerns the image as a whole.
    public var path: TreePath
    /// What differs: such as «mode 0644, then 0755».
    public var what: String

    /// The path, then what differs.
    public var description: String { "\(path.isRoot ? "the image" : path.description.printable): \(what)" }
  }

  /// No more differences than these are listed.
  public static let maximumCount = 100

  /// In bytewise order of the paths. Empty when the images are the same, byte for byte.
  public private(set) var differences: [Difference] = []

  private let first: PackageImage
  private let second: PackageImage
  private var seen: Set<PackageImage.Node> = []

  /// Compares all entries, their kinds, modes, owners, times, links, attributes and contents; then the images as files.
  ///
  /// - Throws: ``StoreError/damagedImage(_:place:reason:)``; ``BuildError/system(operation:path:_:)``.
  public init(_ first: PackageImage, _ second: PackageImage) throws {
    self.first = first
    self.second = second
    try compare(first.root, second.root, at: .root)
    guard differences.isEmpty else { return }
    if let offset = try Self.firstDifference(first, second) {
      note(.root, "all files are the same, but the bytes differ from offset \(offset) on")
    }
  }

  private mutating func note(_ path: TreePath, _ what: String) {
    if differences.count < Self.maximumCount { differences.append(Difference(path: path, what: what)) }
  }

  private mutating func compare(_ a: PackageImage.Node, _ b: PackageImage.Node, at path: TreePath) throws {
    // Names are in bytewise order, so a stack of pairs gives the paths in that order without recursion.
    var open = [(a, b, path)]
    while let (a, b, path) = open.popLast(), differences.count < Self.maximumCount {
      let left = try first.attributes(of: a), right = try second.attributes(of: b)
      guard left.kind == right.kind else {
        note(path, "\(left.kind), then \(right.kind)")
        continue
      }
      compare(left, right, at: path)
      try compareAttributes(a, b, at: path)
      switch left.kind {
      case .directory:
        // A damaged image may have a directory in itself.
        guard seen.insert(a).inserted else { continue }
        for pair in try entries(a, b, at: path).reversed() { open.append(pair) }
      case .regular: try compareContents(a, b, left.byteCount, right.byteCount, at: path)
      case .symbolicLink:
        let targets = (try first.symbolicLinkTarget(of: a), try second.symbolicLinkTarget(of: b))
        if targets.0 != targets.1 {
          note(path, "leads to \(Self.text(targets.0)), then to \(Self.text(targets.1))")
        }
      case .characterDevice, .blockDevice, .fifo, .socket:
        if left.device != right.device { note(path, "another device") }
      }
    }
  }

  private static func text(_ bytes: [UInt8]) -> String { String(decoding: bytes, as: UTF8.self).printable }

  private mutating func compare(_ a: PackageImage.Attributes, _ b: PackageImage.Attributes, at path: TreePath) {
    func octal(_ mode: UInt16) -> String { "0\(String(mode, radix: 8))" }
    if a.permissions != b.permissions { note(path, "mode \(octal(a.permissions)), then \(octal(b.permissions))") }
    if (a.userID, a.groupID) != (b.userID, b.groupID) {
      note(path, "owner \(a.userID):\(a.groupID), then \(b.userID):\(b.groupID)")
    }
    if a.modificationTime != b.modificationTime { note(path, "time \(a.modificationTime), then \(b.modificationTime)") }
    if a.kind != .directory, a.linkCount != b.linkCount { note(path, "\(a.linkCount) names, then \(b.linkCount)") }
  }

  private mutating func compareAttributes(_ a: PackageImage.Node, _ b: PackageImage.Node, at path: TreePath) throws {
    func sorted(_ attributes: [ExtendedAttribute]) -> [ExtendedAttribute] {
      attributes.sorted { $0.name.lexicographicallyPrecedes($1.name) }
    }
    let left = sorted(try first.extendedAttributes(of: a)), right = sorted(try second.extendedAttributes(of: b))
    guard left != right else { return }
    let names = Set(left).symmetricDifference(right).map { Self.text($0.name) }
    note(path, "extended attributes: \(Set(names).sorted().joined(separator: ", "))")
  }

  /// The entries that both directories have; the others are noted.
  private mutating func entries(
    _ a: PackageImage.Node, _ b: PackageImage.Node, at path: TreePath
  ) throws -> [(PackageImage.Node, PackageImage.Node, TreePath)] {
    let left = try first.entries(of: a), right = try second.entries(of: b)
    let others = Dictionary(right.map { ($0.name, $0.node) }) { first, _ in first }
    let names = Set(left.map(\.name))
    for entry in left where others[entry.name] == nil { note(path.appending(entry.name), "only in the first") }
    for entry in right where !names.contains(entry.name) { note(path.appending(entry.name), "only in the second") }
    return left.compactMap { entry in others[entry.name].map { (entry.node, $0, path.appending(entry.name)) } }
  }

  private static let pieceByteCount = 1 << 20

  private mutating func compareContents(
    _ a: PackageImage.Node, _ b: PackageImage.Node, _ byteCount: UInt64, _ otherByteCount: UInt64, at path: TreePath
  ) throws {
    let sizes = byteCount == otherByteCount ? "" : "; \(byteCount) bytes, then \(otherByteCount)"
    var offset: UInt64 = 0
    while offset < min(byteCount, otherByteCount) {
      let left = try first.bytes(of: a, at: offset, atMost: Self.pieceByteCount)
      let right = try second.bytes(of: b, at: offset, atMost: Self.pieceByteCount)
      if let index = Self.firstDifference(left, right) {
        return note(path, "differs from byte \(offset + UInt64(index)) on\(sizes)")
      }
      if left.isEmpty || left.count != right.count { break }
      offset += UInt64(left.count)
    }
    if byteCount != otherByteCount { note(path, "differs from byte \(min(byteCount, otherByteCount)) on\(sizes)") }
  }

  private static func firstDifference(_ a: [UInt8], _ b: [UInt8]) -> Int? {
    a == b ? nil : zip(a, b).enumerated().first { $0.element.0 != $0.element.1 }?.offset
  }

  private static func firstDifference(_ a: PackageImage, _ b: PackageImage) throws(BuildError) -> UInt64? {
    var offset: UInt64 = 0
    while true {
      let left = try a.path.bytes(at: offset, atMost: pieceByteCount), right = try b.path.bytes(at: offset, atMost: pieceByteCount)
      if let index = firstDifference(left, right) { return offset + UInt64(index) }
      if left.count != right.count { return offset + UInt64(min(left.count, right.count)) }
      if left.isEmpty { return nil }
      offset += UInt64(left.count)
    }
  }
}
