// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import SwiftProtobuf

/// The index of one section of a repository: the content of its `meta.binaryproto`.
///
/// Format: proto2 binary, message `pb.MirrorMeta`, FORMATS section 5, `docs/formats.md`. Fields from 1000 on are extensions.
public struct RepositoryIndex: Sendable, Hashable {
  /// In ``PackageID``'s order.
  public var packages: [Package]

  /// One package of a section.
  public struct Package: Sendable, Hashable {
    /// Its full name.
    public var id: PackageID
    /// The files of its exchange directories, such as `bin/nano` or `out/lib/libz.so.1`.
    public var wellKnownPaths: [String]
    /// Its image (extension); nil in repositories of the original.
    public var image: FileDigest?
    /// Its metadata file (extension); nil in repositories of the original and in sections without metadata.
    public var metadata: FileDigest?
    /// `<image>.zst`, the image compressed with zstd (extension); nil where there is none.
    public var compressed: FileDigest?
    /// `<image>.blocks`, by which a client finds what of the image it has (extension); nil where there is none.
    public var blocks: FileDigest?
    /// The root of the Merkle tree over the image's blocks (extension), 32 bytes: by it, parts of the image can be verified. Nil where the
    /// repository has no trees.
    public var treeRoot: [UInt8]?
    /// When the image was made, as it says itself (extension), in seconds since 1970.
    public var imageTime: UInt32?
    /// `<image>.tree`, which has the tree (extension); nil where there is none.
    public var tree: FileDigest?
    /// What the package is, in a few words (extension); empty where nothing is said.
    public var summary = ""

    /// Makes an entry.
    public init(
      id: PackageID, wellKnownPaths: [String] = [], image: FileDigest? = nil, metadata: FileDigest? = nil,
      compressed: FileDigest? = nil, blocks: FileDigest? = nil, treeRoot: [UInt8]? = nil, imageTime: UInt32? = nil
    ) {
      self.id = id
      self.wellKnownPaths = wellKnownPaths
      self.image = image
      self.metadata = metadata
      self.compressed = compressed
      self.blocks = blocks
      self.treeRoot = treeRoot
      self.imageTime = imageTime
    }
  }

  /// What a file must be.
  public struct FileDigest: Sendable, Hashable {
    /// Bytes.
    public var byteCount: UInt64
    /// 32 bytes.
    public var sha256: [UInt8]

    /// Makes a digest.
    public init(byteCount: UInt64, sha256: [UInt8]) {
      self.byteCount = byteCount
      self.sha256 = sha256
    }
  }

  /// Makes an index, in ``PackageID``'s order.
  public init(packages: [Package]) { self.packages = packages.sorted { $0.id < $1.id } }

  /// The largest index that is read, in bytes.
  public static let maximumByteCount = 256 << 20

  /// Parses the binary form.
  ///
  /// - Throws: ``StoreError/invalidMetadata(of:line:reason:)`` when it is none, is too large, or names what cannot be a package.
  public init(serialized bytes: [UInt8], subject: String) throws(StoreError) {
    guard bytes.count <= Self.maximumByteCount else {
      throw .invalidMetadata(of: subject, line: nil, reason: "larger than \(Self.maximumByteCount) bytes")
    }
    do {
      let message = try Pb_MirrorMeta(serializedBytes: bytes)
      self.init(packages: try message.package.map { package in try Package(package, subject: subject) })
    } catch let error as StoreError {
      throw .invalidMetadata(of: subject, line: nil, reason: "\(error)")
    } catch {
      throw .invalidMetadata(of: subject, line: nil, reason: "not a repository index (\(error))")
    }
  }

  /// The binary form, the same bytes for the same value.
  ///
  /// - Throws: ``StoreError/invalidMetadata(of:line:reason:)`` when it would be larger than a protocol buffer may be.
  public func serialized() throws(StoreError) -> [UInt8] {
    let message = Pb_MirrorMeta.with { $0.package = packages.map(\.message) }
    do {
      return try message.serializedBytes()
    } catch {
      throw .invalidMetadata(of: "repository index", line: nil, reason: "\(error)")
    }
  }
}

extension RepositoryIndex {
  /// Where each package lies in the binary form: each such part is the binary form of an index of one package, so that nobody needs to have
  /// all of a large index in memory.
  ///
  /// - Throws: ``StoreError/invalidMetadata(of:line:reason:)`` when it ends in the middle of something.
  package static func entryRanges(in bytes: IndexBytes, subject: String) throws(StoreError) -> [Range<Int>] {
    var ranges: [Range<Int>] = []
    var offset = 0
    func number() throws(StoreError) -> UInt64 {
      var value: UInt64 = 0
      for (position, byte) in bytes.array(offset, 10).enumerated() {
        value |= UInt64(byte & 0x7f) << UInt64(7 * position)
        guard byte & 0x80 != 0 else {
          offset += position + 1
          return value
        }
      }
      throw .invalidMetadata(of: subject, line: nil, reason: "not a repository index: no number at byte \(offset)")
    }
    while offset < bytes.count {
      let start = offset
      let key = try number()
      // How a field is written: a number, eight bytes, so many bytes, four bytes.
      switch key & 7 {
      case 0: _ = try number()
      case 1: offset += 8
      case 2:
        let count = try number()
        offset += Int(min(count, UInt64(bytes.count)))
      case 5: offset += 4
      default: throw .invalidMetadata(of: subject, line: nil, reason: "not a repository index: unknown field at byte \(start)")
      }
      guard offset <= bytes.count else {
        throw .invalidMetadata(of: subject, line: nil, reason: "ends within the field at byte \(start)")
      }
      if key == 1 << 3 | 2 { ranges.append(start..<offset) }
    }
    return ranges
  }
}

extension RepositoryIndex.Package {
  fileprivate init(_ message: Pb_MirrorMeta.Package, subject: String) throws(StoreError) {
    typealias FileDigest = RepositoryIndex.FileDigest
    self.init(id: try PackageID(parsing: message.name), wellKnownPaths: message.wellKnownPath)
    if message.hasImage { image = try FileDigest(message.image, subject: subject) }
    if message.hasMetadata { metadata = try FileDigest(message.metadata, subject: subject) }
    if message.hasCompressed { compressed = try FileDigest(message.compressed, subject: subject) }
    if message.hasBlocks { blocks = try FileDigest(message.blocks, subject: subject) }
    if message.hasTreeRoot { treeRoot = try FileDigest.hash(Array(message.treeRoot), subject: subject) }
    if message.hasImageTime { imageTime = message.imageTime }
    if message.hasTree { tree = try FileDigest(message.tree, subject: subject) }
    summary = message.summary
  }

  fileprivate var message: Pb_MirrorMeta.Package {
    .with {
      $0.name = id.description
      $0.wellKnownPath = wellKnownPaths.sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) }
      if let image { $0.image = image.message }
      if let metadata { $0.metadata = metadata.message }
      if let compressed { $0.compressed = compressed.message }
      if let blocks { $0.blocks = blocks.message }
      if let treeRoot { $0.treeRoot = .init(treeRoot) }
      if let imageTime { $0.imageTime = imageTime }
      if let tree { $0.tree = tree.message }
      if !summary.isEmpty { $0.summary = summary }
    }
  }
}

extension RepositoryIndex.FileDigest {
  fileprivate init(_ message: Pb_MirrorMeta.File, subject: String) throws(StoreError) {
    self.init(byteCount: message.size, sha256: try Self.hash(Array(message.sha256), subject: subject))
  }

  fileprivate static func hash(_ bytes: [UInt8], subject: String) throws(StoreError) -> [UInt8] {
    guard bytes.count == 32 else {
      throw .invalidMetadata(of: subject, line: nil, reason: "a SHA-256 has \(bytes.count) bytes instead of 32")
    }
    return bytes
  }

  fileprivate var message: Pb_MirrorMeta.File {
    .with {
      $0.size = byteCount
      $0.sha256 = .init(sha256)
    }
  }
}
