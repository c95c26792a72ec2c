// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore
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
  ///
  /// - Parameter value: of several fields of the name, the one with this text.
  public func error(at field: String, value: String? = nil, _ reason: String) -> BuildError {
    let named = tree.fields.filter { $0.name == field }
    let field = named.first { value.map { .string(Array($0.utf8)) } == $0.value } ?? named.first
    let offset = field?.offset ?? 0
    return Self.error(TextDefect(offset: offset, reason: reason), in: bytes, path: path)
  }

  /// The main package that the definition makes, which a store must not have.
  ///
  /// - Throws: ``error(at:value:_:)`` for one that it has: packages never change.
  package func freshPackage(in store: some PackageCatalog, for architecture: Architecture) async throws -> PackageID {
    let package = try packages(for: architecture)[0]
    guard try await !store.packages().contains(package) else {
      throw error(at: "version", "\(package) is in the store already and never changes; raise the revision to build it anew")
    }
    return package
  }

  /// Adds a patch behind those that are there. Every other byte stays.
  ///
  /// - Throws: as ``replace(_:with:)``.
  public mutating func addPatch(_ name: String) throws(BuildError) {
    let line = "cherry_pick: \(textLiteral(name))\n"
    var changed = bytes
    if let last = tree.fields.last(where: { $0.name == "cherry_pick" }) {
      // On the line after it, since what follows on its own line may be a comment.
      let end = changed[last.range.upperBound...].firstIndex(of: UInt8(ascii: "\n")).map { $0 + 1 } ?? changed.endIndex
      let isUnended = end == changed.endIndex && changed.last != UInt8(ascii: "\n")
      changed.insert(contentsOf: Array("\(isUnended ? "\n" : "")\(line)".utf8), at: end)
    } else {
      if let last = changed.last, last != UInt8(ascii: "\n") { changed.append(UInt8(ascii: "\n")) }
      changed += Array("\n\(line)".utf8)
    }
    self = try DefinitionFile(bytes: changed, path: path, name: definition.name)
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
    let (line, column) = defect.position(in: bytes)
    return .invalidDefinition(path, line: line, column: column, reason: defect.reason)
  }
}
