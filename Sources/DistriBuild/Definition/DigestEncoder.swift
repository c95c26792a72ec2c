// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import Crypto
import DistriStore
import SystemPackage

/// Feeds values to SHA-256 so that different values never give the same bytes: texts behind their length, lists behind their count.
/// Numbers are eight bytes, little-endian.
struct DigestEncoder {
  private var hash = SHA256()

  /// `sha256-` and the digits of what has been added.
  var text: String { "sha256-\(hexadecimal(hash.finalize()))" }

  mutating func add(number: UInt64) {
    hash.update(data: (0..<8).map { UInt8(truncatingIfNeeded: number >> (8 * UInt64($0))) })
  }

  mutating func add(bytes: [UInt8]) {
    add(number: UInt64(bytes.count))
    hash.update(data: bytes)
  }

  mutating func add(_ text: String) { add(bytes: Array(text.utf8)) }

  // MARK: Proto text

  /// A message without the order of its different fields: sorted by name, those of a name in the text's order. Flags that are false
  /// are as good as absent.
  mutating func add(_ message: TextMessage) {
    let fields = message.fields.filter { field in
      if case .scalar(let word) = field.value { DefinitionReader.flags[word] != false } else { true }
    }
    let order = fields.indices.sorted { (fields[$0].name, $0) < (fields[$1].name, $1) }
    add(number: UInt64(fields.count))
    for field in order.map({ fields[$0] }) {
      add(field.name)
      switch field.value {
      case .string(let bytes):
        add("string")
        add(bytes: bytes)
      case .scalar(let word):
        add("scalar")
        add(DefinitionReader.flags[word] == true ? "true" : word)
      case .message(let inner):
        // Definitions are parsed with a limit of their depth.
        add("message")
        add(inner)
      }
    }
  }

  // MARK: Files

  /// The bytes of a file behind their number.
  ///
  /// - Throws: ``BuildError/system(operation:path:_:)``.
  mutating func addContents(of path: FilePath) throws(BuildError) {
    let file: FileDescriptor
    do {
      file = try FileDescriptor.open(path, .readOnly, options: .closeOnExec)
    } catch {
      throw .system(operation: "open", path: path, error as? Errno ?? .ioError)
    }
    defer { try? file.close() }
    try addContents(of: file, path: path)
  }

  /// - Throws: ``BuildError/system(operation:path:_:)``; `EBUSY` when the file changes meanwhile.
  private mutating func addContents(of file: FileDescriptor, path: FilePath) throws(BuildError) {
    do {
      let byteCount = UInt64(try file.seek(offset: 0, from: .end))
      add(number: byteCount)
      var offset: UInt64 = 0
      while true {
        let bytes = try file.bytes(at: offset, atMost: 1 << 20)
        if bytes.isEmpty { break }
        hash.update(data: bytes)
        offset += UInt64(bytes.count)
      }
      guard offset == byteCount else { throw Errno.resourceBusy }
    } catch {
      throw .system(operation: "read", path: path, error as? Errno ?? .ioError)
    }
  }

  /// A directory and all below it: names, kinds, modes, targets of links, bytes; and the time of the newest file, which a build
  /// takes for the time of its source.
  ///
  /// - Parameter onlyExecutability: of a mode, whether the owner may execute the file: all that a version control system keeps.
  /// - Throws: ``BuildError/system(operation:path:_:)``, and what ``DirectoryTree`` throws.
  mutating func add(directory: FilePath, onlyExecutability: Bool) throws {
    var newest: Int64 = 0
    var tree = try DirectoryTree(path: directory)
    while let entry = try tree.next() {
      add(bytes: entry.path.bytes)
      switch entry.kind {
      case .directory: add("directory")
      case .regular:
        add("file")
        let mode = onlyExecutability ? entry.permissions & 0o100 : entry.permissions
        add(number: UInt64(mode))
        newest = max(newest, entry.modificationTime)
        let path = entry.path.components.reduce(directory) { $0.appending($1.description) }
        try addContents(of: try tree.contentsDescriptor(), path: path)
      case .symbolicLink(let target):
        add("link")
        add(bytes: target)
      case .hardLink(let first):
        add("hard link")
        add(bytes: first.bytes)
      case .characterDevice, .blockDevice, .fifo, .socket: add("special")
      }
    }
    add("end")
    add(number: onlyExecutability ? 0 : UInt64(bitPattern: newest))
  }
}
