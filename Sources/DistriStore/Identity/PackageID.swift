// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

/// The full name of one version of one package: `<name>-<architecture>-<upstream>-<revision>`, for example `nano-amd64-7.2-3`.
///
/// The last architecture word separates the name from the version. `upstream` is text for people, never compared. The
/// revision alone says which of two versions is newer. A value of this type is always safe to use as a file name: printable
/// ASCII without `/`, not hidden, at most ``maximumByteCount`` bytes.
///
/// Format: FORMATS section 1, `docs/formats.md`.
public struct PackageID: Sendable, Hashable, CustomStringConvertible {
  /// The longest full name in bytes; leaves room for `.meta.textproto` and a digest prefix within the kernel's 255.
  public static let maximumByteCount = 200

  /// The package's name without architecture and version, such as `nano` or `glibc-i686-host`.
  public let name: String
  /// What the package runs on.
  public let architecture: Architecture
  /// Upstream's version, such as `7.2`: shown, never parsed, never compared. May contain `-`.
  public let upstream: String
  /// distri's own counter: starts at 1, only grows. 0 stands for a version without a revision.
  public let revision: UInt64

  /// Makes a full name of its parts.
  ///
  /// - Throws: ``StoreError/invalidName(_:_:)`` when the result would not be a full name that parses back to the same parts.
  public init(name: String, architecture: Architecture, upstream: String, revision: UInt64) throws(StoreError) {
    self.name = name
    self.architecture = architecture
    self.upstream = upstream
    self.revision = revision
    let text = description
    guard try PackageID(parsing: text) == self else { throw .invalidName(text, .notCanonical) }
  }

  /// Parses a full name.
  ///
  /// - Throws: ``StoreError/invalidName(_:_:)`` for anything else: a query without version, a path, a hostile name.
  public init(parsing text: some StringProtocol) throws(StoreError) {
    let query = try PackageQuery(parsing: text)
    guard let id = query.exact else { throw .invalidName(String(text), .noVersion) }
    self = id
  }

  /// For ``PackageQuery``, which has checked the parts.
  init(checkedName name: String, architecture: Architecture, version: Substring) {
    self.name = name
    self.architecture = architecture
    if let dash = version.lastIndex(of: "-"), dash != version.startIndex,
      let revision = Self.revision(version[version.index(after: dash)...])
    {
      self.upstream = String(version[..<dash])
      self.revision = revision
    } else {
      self.upstream = String(version)
      self.revision = 0
    }
  }

  /// A revision is a whole number above zero, written without sign or leading zeros, so that a name has one spelling.
  private static func revision(_ text: Substring) -> UInt64? {
    guard let first = text.utf8.first, first != UInt8(ascii: "0"), text.utf8.allSatisfy({ (48...57).contains($0) }) else {
      return nil
    }
    return UInt64(text)
  }

  /// `<upstream>-<revision>`, or the upstream version alone where there is no revision.
  public var version: String { revision == 0 ? upstream : "\(upstream)-\(revision)" }

  /// The full name.
  public var description: String { "\(name)-\(architecture)-\(version)" }

  /// The name of the image file.
  public var imageFileName: String { "\(self).squashfs" }

  /// The name of the metadata file.
  public var metadataFileName: String { "\(self).meta.textproto" }

  /// The name without version, `nano-amd64`: what all versions of a package share.
  public var unversioned: String { "\(name)-\(architecture)" }
}

extension PackageID: Comparable {
  /// Orders by name, then architecture, then revision as a number, then the upstream text to make the order total.
  public static func < (a: PackageID, b: PackageID) -> Bool {
    if a.name != b.name { return a.name.utf8.lexicographicallyPrecedes(b.name.utf8) }
    if a.architecture != b.architecture { return a.architecture.rawValue < b.architecture.rawValue }
    if a.revision != b.revision { return a.revision < b.revision }
    return a.upstream.utf8.lexicographicallyPrecedes(b.upstream.utf8)
  }
}

extension PackageID: Codable {
  /// Decodes the full name from a string.
  public init(from decoder: any Decoder) throws {
    try self.init(parsing: try decoder.singleValueContainer().decode(String.self))
  }

  /// Encodes the full name as a string.
  public func encode(to encoder: any Encoder) throws {
    var container = encoder.singleValueContainer()
    try container.encode(description)
  }
}

extension Sequence<PackageID> {
  /// The package with the highest revision; of equal ones the last in ``PackageID``'s order, so that the choice is stable.
  public func newest() -> PackageID? {
    self.max { a, b in a.revision == b.revision ? a < b : a.revision < b.revision }
  }
}
