// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import SystemPackage

/// What exists: the packages of a store, a repository, or several of them in layers.
public protocol PackageCatalog: Sendable {
  /// All packages, in ``PackageID``'s order.
  func packages() async throws -> [PackageID]
  /// What the package says of itself.
  ///
  /// - Throws: ``StoreError/notFound(_:)``; ``StoreError/invalidMetadata(of:line:reason:)``.
  func metadata(of package: PackageID) async throws -> PackageMetadata
}

/// Opened images. The first touch may wait, later ones do not.
public protocol ImageSource: Sendable {
  /// The package's image, opened and checked so far that its root can be listed.
  ///
  /// - Throws: ``StoreError/notFound(_:)``; ``StoreError/damagedImage(_:place:reason:)``.
  func image(of package: PackageID) async throws -> PackageImage
}

/// Brings the files of one package into a staging area; knows nothing of commit.
public protocol PackageFetcher: Sendable {
  /// Creates the package's image and, where there is some, its metadata, whole and verified, or throws.
  func fetch(_ package: PackageID, to files: StagedFiles) async throws
}

/// Where the files of one package go while they are staged.
///
/// A ``StagingArea`` is only borrowed and cannot enter the tasks that fetch in parallel; this can.
public struct StagedFiles: Sendable, Hashable {
  /// The image, to be created.
  public let image: FilePath
  /// The metadata, to be created.
  public let metadata: FilePath

  /// Where what breaks off is kept for the next attempt; nil for nowhere.
  public var partials: PartialFiles?
  /// An image of another version of the package, of which blocks may be taken; nil for none.
  public var base: FilePath?

  /// Names the two files.
  public init(image: FilePath, metadata: FilePath, partials: PartialFiles? = nil, base: FilePath? = nil) {
    self.image = image
    self.metadata = metadata
    self.partials = partials
    self.base = base
  }
}

/// Where packages are put.
public protocol PackageSink: Sendable {
  /// The body throws: nothing happened. It returns: all that it staged appears, durable, each package whole.
  func transaction(_ body: (borrowing StagingArea) async throws -> Void) async throws
}

/// Immutable local bytes at offsets: a mapped file, a buffer.
public protocol ByteSource: Sendable {
  /// How many bytes there are.
  var byteCount: UInt64 { get }
  /// Fills all of the output's free capacity from the offset on, in bytes.
  ///
  /// - Throws: `EIO` when the range reaches past the end or the medium fails.
  func read(into output: inout OutputRawSpan, at offset: UInt64) throws(Errno)
}

/// Bytes that lie elsewhere, and are fetched into a local, verified cache in parts.
///
/// ``ByteSource/read(into:at:)`` asks nothing of the network: it throws `EAGAIN` for what is not here, and whoever wants that calls
/// ``fetch(_:)`` and reads again. What was here a moment ago may have had to make room.
public protocol RemoteByteSource: ByteSource {
  /// Returns when all of the ranges, in bytes, can be read.
  ///
  /// - Throws: why something cannot be brought here, or is not what it should be.
  func fetch(_ ranges: [Range<UInt64>]) async throws
  /// Says that a range, in bytes, is likely to be read soon, and returns at once.
  func expect(_ range: Range<UInt64>)
}

/// Packages that lie elsewhere, and whose images are read in parts.
public protocol RemotePackageSource: Sendable {
  /// All packages, in ``PackageID``'s order. The same as long as the value lives.
  var packages: [RemotePackage] { get }
  /// A local directory, in which may also be kept what is derived of images, in files that begin with the image's ``RemotePackage/name``.
  var cacheDirectory: FilePath { get }
  /// The files of the package's exchange directories, such as `bin/nano`.
  func wellKnownPaths(of package: RemotePackage) -> [String]
  /// The bytes of a package's image: of the same package the same object, as long as somebody uses it. Asks nothing of the network.
  func image(of package: RemotePackage) -> any RemoteByteSource
}

/// What is known of a package before anything of its image is here.
public struct RemotePackage: Sendable, Hashable {
  /// Its full name.
  public var id: PackageID
  /// Of the image.
  public var byteCount: UInt64
  /// 32 bytes that no other image has.
  public var digest: [UInt8]
  /// When the image was made, in seconds since 1970.
  public var modificationTime: Int64

  /// Describes a package.
  public init(id: PackageID, byteCount: UInt64, digest: [UInt8], modificationTime: Int64) {
    self.id = id
    self.byteCount = byteCount
    self.digest = digest
    self.modificationTime = modificationTime
  }

  /// The ``digest`` in hexadecimal digits: the name of the image in a cache, whatever repositories call it.
  public var name: String { digest.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined() }
}

/// Entries to pack: a directory, a tar, another image. A stream: hard links come after what they link to.
///
/// Directories come before their entries, but for archives that leave them out or name them later: whoever takes the entries makes
/// missing ones, with mode 0755.
public protocol FileTree {
  /// The next entry; nil at the end.
  mutating func next() throws -> TreeEntry?
  /// Appends bytes of the regular file that ``next()`` gave last, at least one unless its end was reached or the output is full.
  mutating func readContents(into output: inout OutputRawSpan) throws
}

extension FileTree {
  /// The rest of the regular file that ``next()`` gave last, at most `limit` bytes of it. Memory follows what is really there, not
  /// what a header announces.
  public mutating func readContents(limit: Int) throws -> [UInt8] {
    var result: [UInt8] = []
    while result.count < limit {
      let piece = try [UInt8](capacity: min(limit - result.count, 256 << 10)) { output in try readContents(into: &output) }
      if piece.isEmpty { break }
      result += piece
    }
    return result
  }
}

/// A tree whose file contents lie in files: the kernel can copy them, without a detour through this process.
public protocol DescriptorBackedTree: FileTree {
  /// The regular file that ``FileTree/next()`` gave last, positioned anywhere; valid until the next call of `next()`.
  mutating func contentsDescriptor() throws -> FileDescriptor
}
