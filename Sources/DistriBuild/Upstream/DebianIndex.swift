// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore

/// A file `Packages` or `Sources` of an archive of Debian's kind.
public struct DebianIndex: Sendable {
  /// What an index says of a package's newest version.
  public struct Entry: Sendable, Hashable {
    /// Debian's version.
    public var version: String
    /// The archive of the source, or the package: its path below the archive's root.
    public var path: String
    /// Of that file; empty where the index has none.
    public var sha256: String
  }

  private let text: [UInt8]
  /// Where the paragraphs of each package start.
  private let places: [String: [Int]]

  static let maximumParagraphCount = 2_000_000

  /// Takes the text of an index.
  ///
  /// - Parameter subject: where it comes from, for errors.
  /// - Throws: ``BuildError/source(_:reason:)`` for what is no such index.
  public init(_ text: [UInt8], subject: String) throws(BuildError) {
    var places: [String: [Int]] = [:], start = 0, position = 0, count = 0
    let field = Array("Package:".utf8)
    while position < text.count {
      let end = text[position...].firstIndex(of: UInt8(ascii: "\n")) ?? text.endIndex
      let line = text[position..<end]
      if !line.contains(where: { $0 > 0x20 }) {
        start = end + 1
      } else if line.starts(with: field) {
        count += 1
        guard count <= Self.maximumParagraphCount else {
          throw .source(subject, reason: "has more than \(Self.maximumParagraphCount) packages")
        }
        let name = line.dropFirst(field.count).drop { $0 <= 0x20 }.prefix { $0 > 0x20 }
        // Once a paragraph, so that reading all of a name is reading the text once.
        if places[String(decoding: name, as: UTF8.self)]?.last != start {
          places[String(decoding: name, as: UTF8.self), default: []].append(start)
        }
      }
      position = end + 1
    }
    guard !places.isEmpty else { throw .source(subject, reason: "is no Packages or Sources file: no line starts with «Package:»") }
    self.text = text
    self.places = places
  }

  /// The newest version of a package by Debian's order; nil when the index does not have it.
  ///
  /// - Throws: ``BuildError/source(_:reason:)`` for a paragraph that lacks version or file.
  public func newest(_ name: String) throws(BuildError) -> Entry? {
    var result: Entry?
    for place in places[name] ?? [] {
      let entry = try entry(at: place, name)
      if let known = result, DebianVersion(entry.version) <= DebianVersion(known.version) { continue }
      result = entry
    }
    return result
  }

  private func entry(at start: Int, _ name: String) throws(BuildError) -> Entry {
    // The end of a paragraph is an empty line; none is longer than 1 MiB.
    let rest = text[start...].prefix(1 << 20)
    var end = rest.startIndex
    while end < rest.endIndex, !rest[end...].starts(with: [0x0a, 0x0a]) { end += 1 }
    guard let fields = DebianRecord.paragraphs(String(decoding: rest[..<end], as: UTF8.self)).first, let version = fields["Version"]
    else {
      throw .source(name, reason: "has no version in the index of Debian packages")
    }
    if let path = fields["Filename"] { return Entry(version: version, path: path, sha256: fields["SHA256"] ?? "") }
    let files = (fields["Checksums-Sha256"] ?? "").split(separator: "\n").map { $0.split(separator: " ").map(String.init) }
    let archives = files.filter { $0.count == 3 && Self.isUpstreamArchive($0[2]) }
    guard let file = archives.first, let directory = fields["Directory"] else {
      throw .source(name, reason: "has no upstream archive in the index of Debian packages")
    }
    return Entry(version: version, path: "\(directory)/\(file[2])", sha256: file[0].lowercased())
  }

  /// `xz-utils_5.4.1.orig.tar.xz`, or what a native package has.
  private static func isUpstreamArchive(_ name: String) -> Bool {
    guard let start = name.firstRange(of: ".tar.") else { return false }
    let ending = name[start.upperBound...]
    return ["xz", "gz", "bz2", "zst", "lzma"].contains(String(ending)) && !name[..<start.lowerBound].hasSuffix(".debian")
      && !name.contains(".orig-")
  }
}

/// A version of Debian's, in Debian's order: epoch, upstream, revision; `~` before everything, also the end.
struct DebianVersion: Comparable {
  private let epoch: Int
  private let parts: [[UInt8]]

  init(_ text: String) {
    let colon = text.firstIndex(of: ":")
    epoch = colon.flatMap { Int(text[..<$0]) } ?? 0
    let rest = colon.map { text[text.index(after: $0)...] } ?? text[...]
    let dash = rest.lastIndex(of: "-")
    parts = [Array(rest[..<(dash ?? rest.endIndex)].utf8), dash.map { Array(rest[rest.index(after: $0)...].utf8) } ?? []]
  }

  static func == (first: Self, second: Self) -> Bool { !(first < second) && !(second < first) }

  static func < (first: Self, second: Self) -> Bool {
    if first.epoch != second.epoch { return first.epoch < second.epoch }
    for (one, other) in zip(first.parts, second.parts) {
      let order = compare(one[...], other[...])
      if order != 0 { return order < 0 }
    }
    return false
  }

  private static func isDigit(_ byte: UInt8) -> Bool { (0x30...0x39).contains(byte) }

  /// Letters before all else, and `~` before the end.
  private static func rank(_ byte: UInt8?) -> Int {
    guard let byte, !isDigit(byte) else { return 0 }
    if byte == UInt8(ascii: "~") { return -1 }
    return (0x41...0x5a).contains(byte) || (0x61...0x7a).contains(byte) ? Int(byte) : Int(byte) + 256
  }

  private static func compare(_ first: ArraySlice<UInt8>, _ second: ArraySlice<UInt8>) -> Int {
    var (first, second) = (first, second)
    while !first.isEmpty || !second.isEmpty {
      while first.first.map({ !isDigit($0) }) == true || second.first.map({ !isDigit($0) }) == true {
        let difference = rank(first.first) - rank(second.first)
        if difference != 0 { return difference }
        first = first.dropFirst()
        second = second.dropFirst()
      }
      let one = first.prefix(while: isDigit), other = second.prefix(while: isDigit)
      first = first.dropFirst(one.count)
      second = second.dropFirst(other.count)
      let (number, otherNumber) = (one.drop { $0 == 0x30 }, other.drop { $0 == 0x30 })
      if number.count != otherNumber.count { return number.count - otherNumber.count }
      if number != otherNumber { return number.lexicographicallyPrecedes(otherNumber) ? -1 : 1 }
    }
    return 0
  }
}
