// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

/// A first definition of a package, before it is written.
public struct DefinitionDraft: Sendable, Hashable {
  /// The package's name.
  public var package: String
  /// Upstream's version.
  public var version: String
  var source: String
  var hash: String
  var license = ""
  var summary = ""
  var homepage = ""
  /// Where later versions are announced; empty where the source's address tells.
  var releasesURL = ""
  /// The name of the builder's field; nil where nothing is recognised.
  var builder: String?
  /// Fields of the builder.
  var options: [Field] = []
  var dependencies: [String] = []
  var runtimeDependencies: [String] = []
  /// Comments for whoever goes on.
  var notes: [String] = []
  /// Fields of another definition as they are written there, in place of builder and dependencies.
  var borrowed: String?

  /// A field with a text.
  struct Field: Sendable, Hashable {
    var name: String
    var value: String
  }

  init(package: String, version: String, source: String, hash: String) {
    (self.package, self.version, self.source, self.hash) = (package, version, source, hash)
  }

  /// The text of `build.textproto`.
  public func text(revision: UInt64) -> String {
    var lines = [Self.line("source", source), Self.line("hash", hash), Self.line("version", "\(version)-\(revision)"), ""]
    let described = [("license", license), ("summary", summary), ("homepage", homepage)].filter { !$0.1.isEmpty }
    if !described.isEmpty { lines += described.map { Self.line($0.0, $0.1) } + [""] }
    if !releasesURL.isEmpty { lines += ["pull: {", "  " + Self.line("releases_url", releasesURL), "}", ""] }
    if let borrowed { return (lines + [borrowed]).joined(separator: "\n") }
    if let builder {
      lines +=
        options.isEmpty
        ? ["\(builder): {}"] : ["\(builder): {"] + options.map { "  " + Self.line($0.name, $0.value) } + ["}"]
    } else {
      lines.append("# Nothing in the source tells how it is built: name a builder or give build_step entries.")
    }
    lines += ["", "# build dependencies:"] + dependencies.map { Self.line("dep", $0) }
    if !runtimeDependencies.isEmpty { lines += [""] + runtimeDependencies.map { Self.line("runtime_dep", $0) } }
    lines += notes.isEmpty ? [] : [""] + notes.map { "# \(Self.oneLine($0))" }
    return lines.joined(separator: "\n") + "\n"
  }

  private static func line(_ field: String, _ value: String) -> String { "\(field): \(textLiteral(value))" }

  /// Printable and short: metadata of archives may be anything.
  static func oneLine(_ text: String) -> String {
    let words = text.unicodeScalars.split { $0.properties.isWhitespace || $0.properties.generalCategory == .control }
    return String(words.map { $0.reduce(into: "") { $0.unicodeScalars.append($1) } }.joined(separator: " ").prefix(200))
  }
}

extension DefinitionFile {
  /// How the package is built and what it needs, as it is written here, with the comments on the lines of these fields.
  func howItIsBuilt() -> String {
    let fields: Set<String> = [
      "cbuilder", "perlbuilder", "pythonbuilder", "gomodbuilder", "cmakebuilder", "mesonbuilder", "gobuilder", "build_step", "dep",
      "runtime_dep", "writable_sourcedir", "in_tree_build", "ack_missing_dwarf",
    ]
    var result = "", last: String?
    for field in tree.fields where fields.contains(field.name) {
      if let last, last != field.name { result += "\n" }
      last = field.name
      let rest = bytes[field.range.upperBound...].prefix { $0 != UInt8(ascii: "\n") }
      let comment = rest.drop { $0 == UInt8(ascii: " ") || $0 == UInt8(ascii: "\t") }
      let isComment = comment.first == UInt8(ascii: "#")
      result += "\(field.name): \(String(decoding: bytes[field.range], as: UTF8.self))"
      result += (isComment ? "  " + String(decoding: comment, as: UTF8.self) : "") + "\n"
    }
    return result
  }
}
