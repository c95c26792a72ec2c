// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore
import SystemPackage

/// What an action is to build, as a file of its input root: a ``BuildOrder`` that another machine can read.
///
/// Proto text:
///
///     definition: "hello"
///     architecture: "amd64"
///     input_digest: "sha256-9f2c…"
///     choice: { name: "bash" package: "bash-amd64-5.2.15-2" }
public struct ActionOrder: Sendable, Hashable {
  /// The definition's name; it is in `definitions/<name>`.
  public var definition: String
  /// What is built for.
  public var architecture: Architecture
  /// What the package's metadata get as their input digest: it covers files that the action does not need.
  public var inputDigest: String
  /// The packages that the definition's names stand for.
  public var choices: [String: PackageID]

  /// The name of the file in the input root.
  public static let fileName = "order.textproto"

  /// Makes an order.
  public init(definition: String, architecture: Architecture, inputDigest: String, choices: [String: PackageID]) {
    self.definition = definition
    self.architecture = architecture
    self.inputDigest = inputDigest
    self.choices = choices
  }

  /// The text, the same for the same order.
  public var text: String {
    let choices = choices.sorted { $0.key < $1.key }.map { name, package in
      "choice: { name: \(textLiteral(name)) package: \(textLiteral(package.description)) }\n"
    }
    return """
      definition: \(textLiteral(definition))
      architecture: \(textLiteral(architecture.rawValue))
      input_digest: \(textLiteral(inputDigest))

      """ + choices.joined()
  }

  /// Reads an order.
  ///
  /// - Throws: ``BuildError/invalidDefinition(_:line:column:reason:)``.
  public init(bytes: [UInt8], path: FilePath) throws(BuildError) {
    var fields = Fields()
    do throws(TextDefect) {
      var reader = DefinitionReader()
      try reader.read(try TextParser.parse(bytes), into: &fields, .order)
      guard !fields.definition.isEmpty else { throw TextDefect(offset: 0, reason: "an order names a definition") }
      guard !fields.inputDigest.isEmpty else { throw TextDefect(offset: 0, reason: "an order names the digest of its inputs") }
      guard let architecture = Architecture(rawValue: fields.architecture) else {
        throw TextDefect(offset: 0, reason: "an order names an architecture")
      }
      var choices: [String: PackageID] = [:]
      for choice in fields.choices {
        guard let package = try? PackageID(parsing: choice.package), choices.updateValue(package, forKey: choice.name) == nil else {
          throw TextDefect(offset: 0, reason: "the choice «\(choice.name.printable)» is none, or comes twice")
        }
      }
      self.init(
        definition: fields.definition, architecture: architecture, inputDigest: fields.inputDigest, choices: choices)
    } catch {
      let (line, column) = error.position(in: bytes)
      throw .invalidDefinition(path, line: line, column: column, reason: error.reason)
    }
  }

  fileprivate struct Fields {
    struct Choice {
      var name = ""
      var package = ""
    }
    var definition = ""
    var architecture = ""
    var inputDigest = ""
    var choices: [Choice] = []
  }
}

extension MessageSchema<ActionOrder.Fields> {
  fileprivate static var order: Self {
    .init(
      "an order",
      [
        "definition": .name(\.definition), "architecture": .text(\.architecture),
        "input_digest": .string(repeated: false) { value, text throws(InvalidText) in
          guard text.hasPrefix("sha256-"), text.utf8.count == 71, text.utf8.dropFirst(7).allSatisfy(isHexadecimalDigit) else {
            throw InvalidText(reason: "is not sha256- and 64 hexadecimal digits")
          }
          value.inputDigest = text
        },
        "choice": .items(\.choices, .init(), .init("choice", ["name": .text(\.name), "package": .text(\.package)])),
      ])
  }
}

extension MessageSchema<ActionOrder.Fields>.Action {
  /// A text that names an entry of a directory.
  fileprivate static func name(_ path: WritableKeyPath<ActionOrder.Fields, String>) -> Self {
    .string(repeated: false) { value, text throws(InvalidText) in
      guard (try? EntryName(text)) != nil else { throw InvalidText(reason: "is no name of a directory") }
      value[keyPath: path] = text
    }
  }
}
