// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

/// A name with a version in it, such as that of an archive: what is the same for other versions, and how the version is spelled.
struct VersionedName: Sendable, Hashable {
  /// What is in front of the version.
  let prefix: String
  /// What is behind it.
  let suffix: String
  /// What stands for the dots of the version: `boost_1_69_0`.
  private let separator: String

  /// Another version that a page names.
  struct Candidate: Sendable, Hashable {
    /// With dots.
    var version: String
    /// The whole name.
    var name: String
  }

  /// The most that are taken of a page.
  static let maximumCandidateCount = 20_000

  private static let separators = [".", "_", "-"]

  /// Nil where the name does not have the version.
  init?(_ name: String, version: String) {
    for separator in Self.separators {
      let text = Self.bare(version).replacing(".", with: separator)
      guard let range = Self.ranges(of: text, in: name).last else { continue }
      prefix = String(name[..<range.lowerBound])
      suffix = String(name[range.upperBound...])
      self.separator = separator
      return
    }
    return nil
  }

  /// Where the version stands on its own: no digit touches it.
  static func ranges(of version: String, in text: String) -> [Range<String.Index>] {
    guard !version.isEmpty else { return [] }
    return text.ranges(of: version).filter { range in
      let before = range.lowerBound > text.startIndex ? text[text.index(before: range.lowerBound)] : nil
      let after = range.upperBound < text.endIndex ? text[range.upperBound] : nil
      return !(before?.isNumber ?? false) && !(after?.isNumber ?? false)
    }
  }

  /// The name of another version.
  func name(of version: String) -> String { prefix + spelled(version) + suffix }

  private func spelled(_ version: String) -> String { Self.bare(version).replacing(".", with: separator) }

  /// A text with every place of one version replaced by another, however the places are spelled.
  static func replacing(_ old: String, with new: String, in text: String) -> String {
    var result = text
    let pairs = [(old, new), (bare(old), bare(new))]
    for (old, new) in pairs {
      for separator in separators {
        let from = old.replacing(".", with: separator), to = new.replacing(".", with: separator)
        if separator != ".", from == old { continue }
        for range in ranges(of: from, in: result).reversed() { result.replaceSubrange(range, with: to) }
      }
      if result != text { return result }
    }
    return result
  }

  static func bare(_ version: String) -> String { version.hasPrefix("v") ? String(version.dropFirst()) : version }

  // MARK: Looking for other versions

  private static let archiveEndings = [".tar.xz", ".tar.gz", ".tar.bz2", ".tar.zst", ".tar.lz", ".tgz", ".zip"]

  /// What may stand behind the version, the present one first: projects change how they compress.
  private var endings: [[UInt8]] {
    guard let ending = Self.archiveEndings.first(where: suffix.hasSuffix) else { return [Array(suffix.utf8)] }
    let stem = suffix.dropLast(ending.count)
    return ([suffix] + Self.archiveEndings.map { stem + $0 }).map { Array($0.utf8) }
  }

  /// The other versions of this name in a text, each once, in their order. Takes time in proportion to the text.
  func candidates(in bytes: [UInt8]) -> [Candidate] {
    let prefix = Array(prefix.utf8), endings = endings
    var seen: Set<Candidate> = [], result: [Candidate] = []
    var position = 0
    while position < bytes.count, result.count < Self.maximumCandidateCount {
      guard let start = Self.place(of: prefix, in: bytes, from: position) else { break }
      position = start + 1
      if start > 0, Self.isPartOfName(bytes[start - 1]) { continue }
      let run = bytes[(start + prefix.count)...].prefix(UpstreamVersion.maximumByteCount + suffix.utf8.count).prefix(
        while: Self.isPartOfName)
      guard let first = run.first, Self.isDigit(first), let (end, ending) = Self.end(of: run, endings) else { continue }
      let version = String(decoding: run[..<end], as: UTF8.self)
      let candidate = Candidate(
        version: separator == "." ? version : version.replacing(separator, with: "."),
        name: self.prefix + version + String(decoding: ending, as: UTF8.self))
      if seen.insert(candidate).inserted { result.append(candidate) }
    }
    return result
  }

  private static func isDigit(_ byte: UInt8) -> Bool { (0x30...0x39).contains(byte) }

  private static func isPartOfName(_ byte: UInt8) -> Bool {
    isDigit(byte) || (0x41...0x5a).contains(byte) || (0x61...0x7a).contains(byte) || ".+~_-".utf8.contains(byte)
  }

  private static func place(of prefix: [UInt8], in bytes: [UInt8], from position: Int) -> Int? {
    guard let first = prefix.first else { return bytes[position...].firstIndex(where: isDigit) }
    var rest = bytes[position...]
    while let start = rest.firstIndex(of: first) {
      if bytes[start...].starts(with: prefix) { return start }
      rest = rest[(start + 1)...]
    }
    return nil
  }

  /// Where the version ends in a run, and with which ending.
  private static func end(of run: ArraySlice<UInt8>, _ endings: [[UInt8]]) -> (Int, [UInt8])? {
    if endings == [[]] { return (run.endIndex, []) }
    for index in run.indices.dropFirst() {
      for ending in endings where run[index...].starts(with: ending) {
        let after = index + ending.count
        if after == run.endIndex || ".+~".utf8.contains(run[after]) {
          return (index, ending)
        }
      }
    }
    return nil
  }
}
