// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore

/// The first line of a script: `#!`, an interpreter, perhaps one argument.
struct Script: Sendable, Hashable {
  /// The interpreter's path as written.
  let interpreter: String
  /// What follows it, without spaces around; empty where nothing does.
  let argument: String
  /// How many bytes the line has, without its end.
  let byteCount: Int

  /// The kernel reads no more of a first line.
  static let maximumByteCount = 255

  /// Reads the first line of a regular file.
  ///
  /// - Returns: nil for what is no script.
  init?(of node: PackageTree.Node, in tree: PackageTree) throws(BuildError) {
    guard case .regular = node.entry.kind else { return nil }
    self.init(try tree.contents(of: node, limit: Self.maximumByteCount))
  }

  /// Parses the start of a file.
  init?(_ bytes: [UInt8]) {
    guard bytes.starts(with: Array("#!".utf8)) else { return nil }
    let line = bytes.prefix(Self.maximumByteCount).prefix { $0 != UInt8(ascii: "\n") && $0 != 0 }
    byteCount = line.count
    let blank = { (byte: UInt8) in byte == UInt8(ascii: " ") || byte == UInt8(ascii: "\t") || byte == UInt8(ascii: "\r") }
    let text = line.dropFirst(2).drop(while: blank)
    let path = text.prefix { !blank($0) }
    guard path.first == UInt8(ascii: "/") else { return nil }
    interpreter = String(decoding: path, as: UTF8.self)
    var rest = text.dropFirst(path.count).drop(while: blank)
    while let last = rest.last, blank(last) { rest.removeLast() }
    argument = String(decoding: rest, as: UTF8.self)
  }

  /// The program that `env` is to find, where that is all that `env` is asked for.
  var programForEnv: String? {
    guard interpreter.hasSuffix("/env"), !argument.isEmpty, !argument.hasPrefix("-"),
      !argument.contains(where: { $0 == " " || $0 == "=" })
    else { return nil }
    return argument
  }

  /// The last component of the interpreter's path, or what `env` is to find.
  var interpreterName: String {
    programForEnv ?? interpreter.split(separator: "/").last.map(String.init) ?? interpreter
  }
}
