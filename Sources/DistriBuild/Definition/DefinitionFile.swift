// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import SystemPackage

/// A `build.textproto` as it is written, comments and all.
///
/// ```swift
/// var file = try DefinitionFile(directory: "pkgs/nano")
/// try file.replace(.version, with: "7.2-3")   // changes the bytes of that value, no others
/// ```
public struct DefinitionFile: Sendable {
  /// Where it is, for errors.
  public let path: FilePath
  /// The file's bytes.
  public private(set) var bytes: [UInt8]
  /// What they mean.
  public private(set) var definition: Definition

  /// The text's structure.
  private(set) var tree: TextMessage

  /// The name of the file in a definition's directory.
  public static let fileName = "build.textproto"

  /// A field that can be replaced.
  public enum Field: String, Sendable, CaseIterable {
    /// The source's URL.
    case source
    /// The source's SHA-256.
    case hash
    /// Upstream version and revision.
    case version
  }

  /// Reads `build.textproto` of a definition's directory.
  ///
  /// - Throws: ``BuildError/system(operation:path:_:)``, and as ``init(bytes:path:name:)``.
  public init(directory: FilePath) throws(BuildError) {
    let path = directory.appending(Self.fileName)
    let name = directory.lastComponent?.string ?? ""
    try self.init(bytes: try path.contents(limit: TextParser.maximumByteCount + 1), path: path, name: name)
  }

  /// Parses a definition.
  ///
  /// - Throws: ``BuildError/invalidDefinition(_:line:column:reason:)``: the text is no proto text, has a field that `pb.Build` has
  ///   not, a field twice that may be there once, two builders, or a value of another kind.
  public init(bytes: [UInt8], path: FilePath, name: String) throws(BuildError) {
    self.path = path
    self.bytes = bytes
    do {
      tree = try TextParser.parse(bytes)
      var definition = Definition(name: name)
      var reader = DefinitionReader()
      try reader.read(tree, into: &definition, .build)
      try Self.checkBuilders(tree)
      self.definition = definition
    } catch {
      throw Self.error(error, in: bytes, path: path)
    }
  }

  /// Gives a field another value. Every other byte stays; a field that is not there yet gets a line at the end.
  ///
  /// - Throws: ``BuildError/invalidDefinition(_:line:column:reason:)`` when the value cannot be in a definition.
  public mutating func replace(_ field: Field, with value: String) throws(BuildError) {
    let literal = Array(textLiteral(value).utf8)
    var changed = bytes
    if let place = tree.fields.first(where: { $0.name == field.rawValue }) {
      changed.replaceSubrange(place.range, with: literal)
    } else {
      if let last = changed.last, last != UInt8(ascii: "\n") { changed.append(UInt8(ascii: "\n")) }
      changed += Array("\(field.rawValue): ".utf8) + literal + [UInt8(ascii: "\n")]
    }
    self = try DefinitionFile(bytes: changed, path: path, name: definition.name)
  }

  /// The error for a place of the definition: at its first field of that name, else at its start.
  public func error(at field: String, _ reason: String) -> BuildError {
    let offset = tree.fields.first { $0.name == field }?.offset ?? 0
    return Self.error(TextDefect(offset: offset, reason: reason), in: bytes, path: path)
  }

  private static let builders: Set<String> = [
    "cbuilder", "perlbuilder", "pythonbuilder", "gomodbuilder", "cmakebuilder", "mesonbuilder", "gobuilder",
  ]

  private static func checkBuilders(_ tree: TextMessage) throws(TextDefect) {
    let found = tree.fields.filter { builders.contains($0.name) }
    guard found.count > 1 else { return }
    throw TextDefect(offset: found[1].offset, reason: "a second builder beside \(found[0].name)")
  }

  private static func error(_ defect: TextDefect, in bytes: [UInt8], path: FilePath) -> BuildError {
    let before = bytes.prefix(defect.offset)
    let lineStart = (before.lastIndex(of: UInt8(ascii: "\n")) ?? -1) + 1
    return .invalidDefinition(
      path, line: before.count { $0 == UInt8(ascii: "\n") } + 1, column: before.count - lineStart + 1, reason: defect.reason)
  }
}
