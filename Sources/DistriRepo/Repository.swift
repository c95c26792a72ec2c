// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore
import SystemPackage

/// One section of a repository as its index was when the value was made: static files over HTTP, or in a directory.
///
/// Signed metadata proves the index, and the index proves all packages by size and SHA-256.
///
/// Format: FORMATS section 5, `docs/formats.md`.
public struct Repository: PackageCatalog, PackageFetcher {
  /// What is accepted of a repository.
  public struct Options: Sendable {
    /// Whether packages are accepted whose index entry has no digest, as in repositories of the original distri. Nothing but
    /// TLS protects them.
    public var allowsUnverifiedPackages = false
    /// Whether an index is accepted that no signed metadata proves. Nothing but TLS protects it.
    public var allowsUnsignedIndex = false
    /// The largest image, in bytes, that is accepted without a digest.
    public var maximumUnverifiedImageByteCount: UInt64 = 64 << 30
    /// How long the index, or a package's metadata, may take.
    public var smallFileTimeLimit: Duration = .seconds(300)

    /// The defaults.
    public init() {}
  }

  /// The URL or path that the sections lie below, without a slash at the end.
  public let root: String
  /// Which section this is.
  public let section: LocalStore.Section
  /// The index, in ``PackageID``'s order.
  public let index: RepositoryIndex

  private let transport: any Transport
  private let options: Options
  private let positions: [PackageID: Int]

  /// The name of the index file.
  public static let indexFileName = "meta.binaryproto"

  /// Reads the section's index.
  ///
  /// - Parameters:
  ///   - root: an `http://`, `https://` or `file://` URL, or a path.
  ///   - trust: the repository's metadata as ``TUFClient/refresh()`` found it, by which the index is verified.
  /// - Throws: what the transport throws, above all ``RepositoryError/notFound(url:)``; ``RepositoryError/untrusted(file:_:)``;
  ///   ``RepositoryError/unsigned(repository:)`` without `trust`, unless the options allow that;
  ///   `StoreError.invalidMetadata` when the index does not parse or lists a package twice.
  public init(
    at root: String, section: LocalStore.Section = .packages, trust: TrustedRepository? = nil, transport: any Transport,
    options: Options = Options()
  ) async throws {
    guard trust != nil || options.allowsUnsignedIndex else { throw RepositoryError.unsigned(repository: root) }
    var root = root
    while root.utf8.count > 1, root.hasSuffix("/") { root.removeLast() }
    self.root = root
    self.section = section
    self.transport = transport
    self.options = options
    let url = Self.url(of: Self.indexFileName, in: section, below: root)
    let limit = UInt64(RepositoryIndex.maximumByteCount)
    let bytes: [UInt8]
    if var trust {
      let target = try await trust.target("\(section.rawValue)/\(Self.indexFileName)")
      bytes = try await trust.bytes(of: target, from: root, limit: limit)
    } else {
      bytes = try await transport.bytes(of: url, maximumByteCount: limit, timeLimit: options.smallFileTimeLimit)
    }
    index = try RepositoryIndex(serialized: bytes, subject: url.withoutCredentials)
    var positions: [PackageID: Int] = [:]
    for (position, package) in index.packages.enumerated() {
      guard positions.updateValue(position, forKey: package.id) == nil else {
        throw StoreError.invalidMetadata(of: url.withoutCredentials, line: nil, reason: "lists \(package.id) twice")
      }
    }
    self.positions = positions
  }

  /// All packages of the index.
  public func packages() -> [PackageID] { index.packages.map(\.id) }

  /// The package's entry in the index; nil when it is not there.
  public func entry(of package: PackageID) -> RepositoryIndex.Package? { positions[package].map { index.packages[$0] } }

  /// What the package says of itself, verified. Packages of sections without metadata say nothing.
  ///
  /// - Throws: `StoreError.notFound`, `StoreError.invalidMetadata`; ``RepositoryError/unverifiable(_:repository:)``,
  ///   ``RepositoryError/mismatch(subject:url:expected:got:)``; what the transport throws.
  public func metadata(of package: PackageID) async throws -> PackageMetadata {
    guard let entry = entry(of: package) else { throw StoreError.notFound(package.description) }
    guard let bytes = try await metadataBytes(of: entry) else { return PackageMetadata(version: package.version) }
    return try PackageMetadata(textproto: bytes, subject: url(of: package.metadataFileName).withoutCredentials)
  }

  /// Brings metadata and image, verified by size and SHA-256 while they come.
  ///
  /// - Throws: as ``metadata(of:)``; `StoreError.damagedImage` for what is no image; ``RepositoryError/system(operation:path:_:)``.
  public func fetch(_ package: PackageID, to files: StagedFiles) async throws {
    guard let entry = entry(of: package) else { throw StoreError.notFound(package.description) }
    guard entry.image != nil || options.allowsUnverifiedPackages else {
      throw RepositoryError.unverifiable(package, repository: root)
    }
    let metadata = try await metadataBytes(of: entry)
    let url = url(of: package.imageFileName)
    let limit = entry.image?.byteCount ?? options.maximumUnverifiedImageByteCount
    let got = try await transport.write(url, creating: files.image, maximumByteCount: limit)
    if let expected = entry.image, expected != got {
      throw RepositoryError.mismatch(subject: package.description, url: url, expected: expected, got: got)
    }
    _ = try PackageImage(path: files.image)
    guard let metadata else { return }
    _ = try PackageMetadata(textproto: metadata, subject: self.url(of: package.metadataFileName).withoutCredentials)
    try Files.create(files.metadata, holding: metadata)
  }

  private func metadataBytes(of entry: RepositoryIndex.Package) async throws -> [UInt8]? {
    let url = url(of: entry.id.metadataFileName)
    guard let expected = entry.metadata else {
      // Sections of sources and debug symbols have no metadata files, and a verified image says so by itself.
      if section != .packages && entry.image != nil { return nil }
      guard options.allowsUnverifiedPackages else { throw RepositoryError.unverifiable(entry.id, repository: root) }
      do {
        return try await smallFile(url, limit: UInt64(PackageMetadata.maximumByteCount))
      } catch RepositoryError.notFound where section != .packages {
        return nil
      }
    }
    let bytes = try await smallFile(url, limit: min(expected.byteCount, UInt64(PackageMetadata.maximumByteCount)))
    var digester = Digester()
    digester.update(bytes)
    let got = RepositoryIndex.FileDigest(byteCount: UInt64(bytes.count), sha256: digester.finish())
    guard got == expected else {
      throw RepositoryError.mismatch(subject: entry.id.description, url: url, expected: expected, got: got)
    }
    return bytes
  }

  private func smallFile(_ url: String, limit: UInt64) async throws -> [UInt8] {
    try await transport.bytes(of: url, maximumByteCount: limit, timeLimit: options.smallFileTimeLimit)
  }

  private func url(of file: String) -> String { Self.url(of: file, in: section, below: root) }

  /// File names of packages are printable ASCII, but `%`, `#` and `?` mean something in a URL, though nothing in a path.
  static func url(of file: String, in section: LocalStore.Section, below root: String) -> String {
    let isURL = root.isHTTP || root.hasScheme("file://")
    return "\(root)/\(section.rawValue)/\(isURL ? file.percentEncoded : file)"
  }
}

extension String {
  /// The text with all but letters, digits and `-._~+` escaped.
  var percentEncoded: String {
    var result = ""
    for byte in utf8 {
      switch byte {
      case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "0")...UInt8(ascii: "9"),
        UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "_"), UInt8(ascii: "~"), UInt8(ascii: "+"):
        result.unicodeScalars.append(Unicode.Scalar(byte))
      default:
        result += "%" + [byte].hexadecimal
      }
    }
    return result
  }
}
