// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore
import Synchronization
import SystemPackage

/// The packages of a repository's index, to be read in parts through a cache.
///
/// What proves them is in the index: the roots of the images' trees. Packages that have none are left out.
public final class RemoteRepository: RemotePackageSource {
  /// Those that can be read.
  public let packages: [RemotePackage]
  /// Packages of which nothing proves a part, since they were published without trees.
  public let unprovenPackages: [PackageID]
  /// Where derived files may be kept: the cache.
  public var cacheDirectory: FilePath { cache.path }

  private let section: LocalStore.Section
  /// For errors.
  private let subject: String
  private let index: IndexBytes
  /// Where packages lie in the index.
  private let entries: [PackageID: Range<Int>]
  private let cache: RangeCache
  private let link: RangeLink
  private let images: Images

  /// The images that somebody uses, by their trees' roots.
  private final class Images: Sendable {
    struct Use {
      weak var source: RangeSource?
    }

    let inUse = Mutex<[[UInt8]: Use]>([:])
  }

  /// Of the image of a package, in bytes: its tree is held in memory, 32 bytes for each 64 KiB.
  private static let maximumImageByteCount: UInt64 = 64 << 30

  /// Reads the packages of an index, which must have been verified.
  ///
  /// - Parameters:
  ///   - mirrors: who is asked for each part, one after the other; also when one gives a wrong one.
  ///   - index: its binary form. Only what is asked for again and again is kept in another one.
  ///   - transport: what brings parts; it says how long a server may take.
  /// - Throws: `StoreError.invalidMetadata` when the index does not parse or lists a package twice; `Errno` without memory.
  public convenience init(
    at mirrors: MirrorSet, section: LocalStore.Section = .packages, index: [UInt8], cache: RangeCache, transport: any Transport
  ) throws {
    try self.init(section, index, cache, RangeLink(mirrors, transport), Images())
  }

  /// The same repository with a newer index, which must have been verified.
  ///
  /// - Throws: as ``init(at:section:index:cache:transport:)``.
  public func updated(to index: [UInt8]) throws -> RemoteRepository {
    try RemoteRepository(section, index, cache, link, images)
  }

  private init(
    _ section: LocalStore.Section, _ index: [UInt8], _ cache: RangeCache, _ link: RangeLink, _ images: Images
  ) throws {
    self.section = section
    self.cache = cache
    self.link = link
    self.images = images
    subject = Repository.url(of: Repository.indexFileName, in: section, below: link.mirrors.root).withoutCredentials
    self.index = try MappedFile(copying: index).indexBytes
    var (packages, unproven, entries): ([RemotePackage], [PackageID], [PackageID: Range<Int>]) = ([], [], [:])
    for range in try RepositoryIndex.entryRanges(in: self.index, subject: subject) {
      guard let entry = try Self.entry(range, of: self.index, subject) else { continue }
      guard entries.updateValue(range, forKey: entry.id) == nil else {
        throw StoreError.invalidMetadata(of: subject, line: nil, reason: "lists \(entry.id) twice")
      }
      guard let image = entry.image, let digest = entry.treeRoot, image.byteCount <= Self.maximumImageByteCount else {
        unproven.append(entry.id)
        continue
      }
      packages.append(
        RemotePackage(id: entry.id, byteCount: image.byteCount, digest: digest, modificationTime: Int64(entry.imageTime ?? 0)))
    }
    self.packages = packages.sorted { $0.id < $1.id }
    unprovenPackages = unproven.sorted()
    self.entries = entries
  }

  private static func entry(
    _ range: Range<Int>, of index: IndexBytes, _ subject: String
  ) throws(StoreError) -> RepositoryIndex.Package? {
    try RepositoryIndex(serialized: index.array(range.lowerBound, range.count), subject: subject).packages.first
  }

  /// The files of the package's exchange directories.
  public func wellKnownPaths(of package: RemotePackage) -> [String] {
    guard let range = entries[package.id], let entry = try? Self.entry(range, of: index, subject) else { return [] }
    return entry.wellKnownPaths
  }

  /// The bytes of a package's image.
  public func image(of package: RemotePackage) -> any RemoteByteSource {
    images.inUse.withLock { inUse in
      if let source = inUse[package.digest]?.source { return source }
      let file = package.id.imageFileName
      let source = RangeSource(byteCount: package.byteCount, root: package.digest, cache: cache, link: link) { [section] root in
        Repository.url(of: file, in: section, below: root)
      }
      inUse[package.digest] = Images.Use(source: source)
      return source
    }
  }
}
