// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

/// A place in a metadata file: what is read from it is checked, and an error names file and place.
struct MetadataReader {
  let value: JSONValue
  let file: String
  let place: String

  func failure(_ reason: String) -> RepositoryError { .untrusted(file: file, .malformed(place: place, reason: reason)) }

  private func reader(of value: JSONValue, at name: String) -> MetadataReader {
    MetadataReader(value: value, file: file, place: "\(place).\(name)")
  }

  func object() throws(RepositoryError) -> JSONObject {
    guard case .object(let object) = value else { throw failure("not an object") }
    return object
  }

  func optional(_ name: String) throws(RepositoryError) -> MetadataReader? {
    try object()[name].map { reader(of: $0, at: name) }
  }

  func member(_ name: String) throws(RepositoryError) -> MetadataReader {
    guard let member = try optional(name) else { throw failure("«\(name)» is missing") }
    return member
  }

  func members() throws(RepositoryError) -> [(name: String, reader: MetadataReader)] {
    try object().members.map { ($0.name, reader(of: $0.value, at: $0.name)) }
  }

  func elements() throws(RepositoryError) -> [MetadataReader] {
    guard case .array(let values) = value else { throw failure("not a list") }
    return values.enumerated().map { reader(of: $1, at: String($0)) }
  }

  func string() throws(RepositoryError) -> String {
    guard case .string(let text) = value else { throw failure("not a text") }
    return text
  }

  func boolean() throws(RepositoryError) -> Bool {
    guard case .boolean(let value) = value else { throw failure("neither true nor false") }
    return value
  }

  func integer(atLeast minimum: Int64) throws(RepositoryError) -> Int64 {
    guard case .integer(let number) = value, number >= minimum else { throw failure("not a whole number of at least \(minimum)") }
    return number
  }

  /// `{"sha256": "…"}` and the like: hashes of kinds that are not known are passed over, but one must be known.
  func hashes() throws(RepositoryError) -> FileHashes {
    var hashes = FileHashes()
    for (name, reader) in try members() where name == "sha256" || name == "sha512" {
      let count = name == "sha256" ? 32 : 64
      guard let bytes = [UInt8](hexadecimal: try reader.string()), bytes.count == count else {
        throw reader.failure("not \(count) bytes in hexadecimal digits")
      }
      if name == "sha256" { hashes.sha256 = bytes } else { hashes.sha512 = bytes }
    }
    guard hashes.sha256 != nil || hashes.sha512 != nil else { throw failure("has neither SHA-256 nor SHA-512") }
    return hashes
  }
}

/// What a file must hash to. One of the two is there.
public struct FileHashes: Sendable, Hashable {
  /// 32 bytes.
  public var sha256: [UInt8]?
  /// 64 bytes.
  public var sha512: [UInt8]?

  /// What the name of the file starts with in a consistent snapshot.
  var prefix: String { (sha256 ?? sha512 ?? []).hexadecimal }

  var json: JSONValue {
    var object = JSONObject()
    object["sha256"] = sha256.map { .string($0.hexadecimal) }
    object["sha512"] = sha512.map { .string($0.hexadecimal) }
    return .object(object)
  }

  func match(_ bytes: [UInt8]) -> Bool {
    if let sha256 {
      var digester = Digester()
      digester.update(bytes)
      guard digester.finish() == sha256 else { return false }
    }
    return sha512.map { $0 == Digester.sha512(of: bytes) } ?? true
  }
}
