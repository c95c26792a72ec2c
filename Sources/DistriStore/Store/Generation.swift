// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

/// What a machine has selected of its store at one moment: a small file that never changes.
///
/// The view fills its exchange directories from the packages of the current generation; going back is to make another one current.
///
/// Format: `docs/formats.md`, «Generations».
public struct Generation: Sendable, Hashable {
  /// Counts up, and is never given twice.
  public var number: UInt64
  /// The generation that it was made of; nil for the first.
  public var parent: UInt64?
  /// When, in seconds since 1970.
  public var time: Int64
  /// What made it, for people: one line without control characters.
  public var command: String
  /// What it names.
  public var selection: Selection

  /// Makes a generation.
  public init(number: UInt64, parent: UInt64? = nil, time: Int64, command: String, selection: Selection) {
    self.number = number
    self.parent = parent
    self.time = time
    self.command = Self.cleaned(command)
    self.selection = selection
  }

  /// What was asked for, and what that became.
  public struct Selection: Sendable, Hashable {
    /// What was asked for by name.
    public var wants: [PackageQuery] = []
    /// Package sets that are followed.
    public var sets: [PackageSet] = []
    /// Versions that updates leave alone, and that the collector keeps.
    public var pins: [PackageID] = []
    /// All packages: those asked for, and their closures. In ``PackageID``'s order.
    public var packages: [PackageID] = []

    /// Makes a selection of nothing.
    public init() {}
  }

  /// A package set, as it was when it was read last.
  public struct PackageSet: Sendable, Hashable {
    /// The name: a word as package names are.
    public var name: String
    /// What it asks for.
    public var members: [PackageQuery]

    /// Makes a set.
    public init(name: String, members: [PackageQuery]) {
      self.name = name
      self.members = members
    }
  }

  /// The largest file that is read, in bytes: about 300,000 packages.
  public static let maximumByteCount = 16 << 20
  private static let maximumCommandLength = 400

  /// Without control characters, and not too long.
  private static func cleaned(_ text: String) -> String {
    var result = ""
    for scalar in text.unicodeScalars.prefix(maximumCommandLength) {
      result.unicodeScalars.append(isControl(scalar) ? " " : scalar)
    }
    return result
  }

  private static func isControl(_ scalar: Unicode.Scalar) -> Bool {
    scalar.value < 0x20 || (0x7f...0x9f).contains(scalar.value) || scalar.value == 0x2028 || scalar.value == 0x2029
  }
}

// MARK: - Text

extension Generation {
  private static let header = "distri-generation 1"

  /// The file's contents: the same generation gives the same bytes.
  public var text: String {
    var lines = [Self.header, "number \(number)"]
    if let parent { lines.append("parent \(parent)") }
    lines += ["time \(time)", "command \(command)"]
    lines += selection.wants.map(\.description).sortedBytewise.map { "want \($0)" }
    lines +=
      selection.sets.map { set in
        (["set", set.name] + set.members.map(\.description).sortedBytewise).joined(separator: " ")
      }.sortedBytewise
    lines += selection.pins.uniqueSorted.map { "pin \($0)" }
    lines += selection.packages.uniqueSorted.map { "package \($0)" }
    return lines.joined(separator: "\n") + "\nend\n"
  }

  /// Parses a file's contents. Whatever is accepted gives the same ``text`` again.
  ///
  /// A record that is not known is an error: who does not understand a generation must not decide what it needs.
  ///
  /// - Parameter subject: names the file in errors.
  /// - Throws: ``StoreError/invalidMetadata(of:line:reason:)``.
  public init(text bytes: [UInt8], subject: String) throws(StoreError) {
    func invalid(_ line: Int?, _ reason: String) -> StoreError { .invalidMetadata(of: subject, line: line, reason: reason) }
    guard bytes.count <= Self.maximumByteCount else { throw invalid(nil, "larger than \(Self.maximumByteCount) bytes") }
    guard let text = String(validating: bytes, as: UTF8.self) else { throw invalid(nil, "not UTF-8") }
    self.init(number: 0, time: 0, command: "", selection: Selection())
    var lineNumber = 0
    var isEnded = false
    for line in text.utf8.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false) {
      lineNumber += 1
      if isEnded {
        guard line.isEmpty else { throw invalid(lineNumber, "something follows the end") }
        continue
      }
      if lineNumber == 1 {
        guard String(line) == Self.header else {
          throw invalid(1, "does not begin with «\(Self.header)»; a newer distri may have written it")
        }
        continue
      }
      let words = (String(line) ?? "").split(separator: " ", maxSplits: 1, omittingEmptySubsequences: false)
      let (key, value) = (words.first ?? "", words.count > 1 ? String(words[1]) : "")
      do throws(StoreError) {
        if key == "end", words.count == 1 {
          isEnded = true
        } else if try !read(key, value) {
          throw invalid(nil, "no record «\(String(key).printable)» is known, or its value is none")
        }
      } catch {
        throw invalid(lineNumber, "\(Self.reason(error))")
      }
    }
    guard isEnded else { throw invalid(lineNumber, "it ends in the middle") }
    guard self.text == text else { throw invalid(nil, "is not written as distri writes it") }
  }

  private static func reason(_ error: StoreError) -> String {
    if case .invalidMetadata(_, _, let reason) = error { return reason }
    return error.description
  }

  /// Takes one record over; false for what is none.
  private mutating func read(_ key: Substring, _ value: String) throws(StoreError) -> Bool {
    switch key {
    case "number":
      guard let number = UInt64(value), number > 0 else { return false }
      self.number = number
    case "parent":
      guard let number = UInt64(value), number > 0 else { return false }
      parent = number
    case "time":
      guard let time = Int64(value) else { return false }
      self.time = time
    case "command": command = Self.cleaned(value)
    case "want": selection.wants.append(try PackageQuery(parsing: value))
    case "set":
      let words = value.split(separator: " ", omittingEmptySubsequences: false)
      guard let name = words.first else { return false }
      var members: [PackageQuery] = []
      for word in words.dropFirst() { members.append(try PackageQuery(parsing: word)) }
      selection.sets.append(PackageSet(name: try Self.setName(name), members: members))
    case "pin": selection.pins.append(try PackageID(parsing: value))
    case "package": selection.packages.append(try PackageID(parsing: value))
    default: return false
    }
    return true
  }

  /// The name of a set, which is that of a file: what can be a package's name can be it.
  ///
  /// - Throws: ``StoreError/invalidName(_:_:)``.
  public static func setName(_ text: some StringProtocol) throws(StoreError) -> String {
    guard text.utf8.count <= PackageID.maximumByteCount else { throw .invalidName(String(text), .tooLong) }
    _ = try PackageQuery(parsing: text)
    return String(text)
  }
}

extension [String] {
  /// Each once.
  fileprivate var sortedBytewise: [String] {
    var result: [String] = []
    for text in sorted(by: { $0.utf8.lexicographicallyPrecedes($1.utf8) }) where result.last != text { result.append(text) }
    return result
  }
}

extension [PackageID] {
  /// Each once.
  fileprivate var uniqueSorted: [PackageID] {
    var result: [PackageID] = []
    for package in sorted() where result.last != package { result.append(package) }
    return result
  }
}
