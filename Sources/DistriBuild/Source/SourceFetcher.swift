// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import Crypto
import SystemPackage

/// Brings the archive of a source. What it brings is checked by the caller.
public protocol SourceFetcher: Sendable {
  /// Makes a file of the source's bytes at a path where nothing is.
  ///
  /// - Throws: ``BuildError/source(_:reason:)``, or what the transport throws.
  func fetch(_ source: SourceReference, to path: FilePath) async throws
}

/// A source as a definition names it.
public struct SourceReference: Sendable, Hashable {
  /// `https://…` or another scheme.
  public var url: String
  /// SHA-256 in lower-case hexadecimal digits; empty while it is not known.
  public var hash: String

  /// Makes a reference.
  public init(url: String, hash: String = "") {
    self.url = url
    self.hash = hash.lowercased()
  }

  /// The last component of the path, without query and fragment; nil for a URL without one.
  public var fileName: String? {
    let path = url.prefix { $0 != "?" && $0 != "#" }
    guard let name = path.split(separator: "/").last.map(String.init), name != ".", name != "..",
      FilePath(name).components.count == 1
    else { return nil }
    return name
  }

  /// The part before `://`; nil for a plain path.
  public var scheme: String? {
    url.firstRange(of: "://").map { url[..<$0.lowerBound].lowercased() }
  }
}

/// SHA-256 of files.
public enum Checksum {
  /// In lower-case hexadecimal digits.
  ///
  /// - Throws: ``BuildError/system(operation:path:_:)``.
  public static func sha256(of path: FilePath) throws(BuildError) -> String {
    do {
      let file = try FileDescriptor.open(path, .readOnly, options: .closeOnExec)
      return try file.closeAfter {
        var hash = SHA256()
        var offset: UInt64 = 0
        while true {
          let bytes = try file.bytes(at: offset, atMost: 1 << 20)
          if bytes.isEmpty { break }
          hash.update(data: bytes)
          offset += UInt64(bytes.count)
        }
        return hexadecimal(hash.finalize())
      }
    } catch {
      throw .system(operation: "read", path: path, error as? Errno ?? .ioError)
    }
  }

  /// Checks a source's file.
  ///
  /// - Throws: ``BuildError/source(_:reason:)`` with both sums when they differ; ``BuildError/system(operation:path:_:)``.
  public static func verify(_ path: FilePath, is source: SourceReference) throws(BuildError) {
    try verify(try sha256(of: path), is: source)
  }

  /// Checks a source's SHA-256, in lower-case hexadecimal digits.
  ///
  /// - Throws: ``BuildError/source(_:reason:)`` with both sums when they differ.
  static func verify(_ found: String, is source: SourceReference) throws(BuildError) {
    guard found == source.hash else {
      let wanted = source.hash.isEmpty ? "the definition has no hash" : "the definition says \(source.hash.printable)"
      throw .source(source.url, reason: "its SHA-256 is \(found), but \(wanted)")
    }
  }
}
