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
    /// When the compressed file of an image is fetched instead of the image, if there is one.
    public enum Compression: String, Sendable, Hashable, CaseIterable {
      /// When the repository is not on this machine.
      case automatic = "auto"
      /// Always.
      case always
      /// Never.
      case never
    }

    /// When compressed images are fetched.
    public var compression = Compression.automatic
    /// Whether blocks of another version that the store has are used for a new one.
    public var reusesBlocks = true
    /// Called with bytes of images that need not be transferred, since they were there or came compressed.
    public var onReused: @Sendable (_ byteCount: UInt64) -> Void = { _ in }
    /// Called when a package was to come compressed, or by blocks, and that failed: then its image is fetched.
    public var onDetour: @Sendable (_ package: PackageID, _ error: any Error) -> Void = { _, _ in }
    /// How long the index, or a package's metadata, may take.
    public var smallFileTimeLimit: Duration = .seconds(300)

    /// The defaults.
    public init() {}
  }

  /// The URL or path that the sections lie below, without a slash at the end: the first of its mirrors.
  public var root: String { mirrors.root }
  /// Which section this is.
  public let section: LocalStore.Section
  /// The index, in ``PackageID``'s order.
  public let index: RepositoryIndex

  private let mirrors: MirrorSet
  private let transport: any Transport
  private let options: Options
  private let positions: [PackageID: Int]

  /// The name of the index file.
  public static let indexFileName = "meta.binaryproto"
  /// What the name of a compressed image ends with.
  public static let compressedSuffix = ".zst"

  /// Reads the index of a section of a repository that has no mirrors: an `http://`, `https://` or `file://` URL, or a path.
  ///
  /// - Throws: as ``init(at:section:trust:transport:options:)-(MirrorSet,_,_,_,_)``.
  public init(
    at root: String, section: LocalStore.Section = .packages, trust: TrustedRepository? = nil, transport: any Transport,
    options: Options = Options()
  ) async throws {
    try await self.init(at: MirrorSet(root), section: section, trust: trust, transport: transport, options: options)
  }

  /// Reads the section's index.
  ///
  /// - Parameters:
  ///   - mirrors: who is asked for each file, one after the other.
  ///   - trust: the repository's metadata as ``TUFClient/refresh()`` found it, by which the index is verified.
  /// - Throws: what the transport throws, above all ``RepositoryError/notFound(url:)``; ``RepositoryError/untrusted(file:_:)``;
  ///   ``RepositoryError/unsigned(repository:)`` without `trust`, unless the options allow that;
  ///   `StoreError.invalidMetadata` when the index does not parse or lists a package twice.
  public init(
    at mirrors: MirrorSet, section: LocalStore.Section = .packages, trust: TrustedRepository? = nil, transport: any Transport,
    options: Options = Options()
  ) async throws {
    self.mirrors = mirrors
    self.section = section
    self.transport = transport
    self.options = options
    let bytes = try await Self.indexBytes(at: mirrors, section: section, trust: trust, transport: transport, options: options)
    let url = Self.url(of: Self.indexFileName, in: section, below: mirrors.root)
    index = try RepositoryIndex(serialized: bytes, subject: url.withoutCredentials)
    var positions: [PackageID: Int] = [:]
    for (position, package) in index.packages.enumerated() {
      guard positions.updateValue(position, forKey: package.id) == nil else {
        throw StoreError.invalidMetadata(of: url.withoutCredentials, line: nil, reason: "lists \(package.id) twice")
      }
    }
    self.positions = positions
  }

  /// The section's index in its binary form, verified.
  ///
  /// - Throws: as ``init(at:section:trust:transport:options:)-(MirrorSet,_,_,_,_)``, but for what is wrong in it.
  package static func indexBytes(
    at mirrors: MirrorSet, section: LocalStore.Section, trust: TrustedRepository?, transport: any Transport, options: Options
  ) async throws -> [UInt8] {
    guard trust != nil || options.allowsUnsignedIndex else { throw RepositoryError.unsigned(repository: mirrors.root) }
    let limit = UInt64(RepositoryIndex.maximumByteCount)
    if var trust {
      let target = try await trust.target("\(section.rawValue)/\(indexFileName)")
      return try await mirrors.firstGood { [trust] in try await trust.bytes(of: target, from: $0, limit: limit) }
    }
    return try await mirrors.firstGood {
      try await transport.bytes(
        of: url(of: indexFileName, in: section, below: $0), maximumByteCount: limit, timeLimit: options.smallFileTimeLimit)
    }
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
    return try PackageMetadata(textproto: bytes, subject: url(of: package.metadataFileName)(root).withoutCredentials)
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
    if let expected = entry.image {
      let download = ImageDownload(
        transport: transport, mirrors: mirrors, entry: entry, image: expected, options: options, url: { url(of: $0) })
      try await download.run(to: files)
    } else {
      try await fetchUnverified(url(of: package.imageFileName), to: files.image)
    }
    _ = try PackageImage(path: files.image)
    guard let metadata else { return }
    _ = try PackageMetadata(textproto: metadata, subject: url(of: package.metadataFileName)(root).withoutCredentials)
    try Files.create(files.metadata, holding: metadata)
  }

  private func fetchUnverified(_ url: (String) -> String, to path: FilePath) async throws {
    try await mirrors.firstGood { root in
      do {
        _ = try await transport.write(url(root), creating: path, maximumByteCount: options.maximumUnverifiedImageByteCount)
      } catch {
        try? Files.remove(path)
        throw error
      }
    }
  }

  private func metadataBytes(of entry: RepositoryIndex.Package) async throws -> [UInt8]? {
    let url = url(of: entry.id.metadataFileName)
    guard let expected = entry.metadata else {
      // Sections of sources and debug symbols have no metadata files, and a verified image says so by itself.
      if section != .packages && entry.image != nil { return nil }
      guard options.allowsUnverifiedPackages else { throw RepositoryError.unverifiable(entry.id, repository: root) }
      do {
        return try await mirrors.firstGood {
          try await transport.bytes(
            of: url($0), maximumByteCount: UInt64(PackageMetadata.maximumByteCount), timeLimit: options.smallFileTimeLimit)
        }
      } catch RepositoryError.notFound where section != .packages {
        return nil
      }
    }
    return try await mirrors.firstGood { root in
      let bytes = try await transport.bytes(
        of: url(root), maximumByteCount: min(expected.byteCount, UInt64(PackageMetadata.maximumByteCount)),
        timeLimit: options.smallFileTimeLimit)
      try expected.check(bytes, subject: entry.id.description, url: url(root))
      return bytes
    }
  }

  /// Where a file of the section is at a mirror.
  private func url(of file: String) -> @Sendable (_ root: String) -> String {
    { [section] root in Self.url(of: file, in: section, below: root) }
  }

  /// File names of packages are printable ASCII, but `%`, `#` and `?` mean something in a URL, though nothing in a path.
  static func url(of file: String, in section: LocalStore.Section, below root: String) -> String {
    let isURL = root.isHTTP || root.hasScheme("file://")
    return "\(root)/\(section.rawValue)/\(isURL ? file.percentEncoded : file)"
  }
}

extension String {
  /// The address of this path below a URL or a directory.
  func urlPath(below base: String) -> String {
    guard base.isHTTP || base.hasScheme("file://") else { return "\(base)/\(self)" }
    return base + "/" + split(separator: "/").map { String($0).percentEncoded }.joined(separator: "/")
  }

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
