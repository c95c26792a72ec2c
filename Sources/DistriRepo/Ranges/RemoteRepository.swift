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
  ///   - transport: what brings parts; it says how long a server may take.
  public convenience init(
    at mirrors: MirrorSet, section: LocalStore.Section = .packages, index: RepositoryIndex, cache: RangeCache,
    transport: any Transport
  ) {
    self.init(section, index, cache, RangeLink(mirrors, transport), Images())
  }

  /// The same repository with a newer index, which must have been verified.
  public func updated(to index: RepositoryIndex) -> RemoteRepository {
    RemoteRepository(section, index, cache, link, images)
  }

  private init(
    _ section: LocalStore.Section, _ index: RepositoryIndex, _ cache: RangeCache, _ link: RangeLink,
    _ images: Images
  ) {
    self.section = section
    self.cache = cache
    self.link = link
    self.images = images
    packages = index.packages.compactMap { entry in
      guard let image = entry.image, let digest = entry.treeRoot, image.byteCount <= Self.maximumImageByteCount else { return nil }
      return RemotePackage(
        id: entry.id, wellKnownPaths: entry.wellKnownPaths, byteCount: image.byteCount, digest: digest,
        modificationTime: Int64(entry.imageTime ?? 0))
    }
    let proven = Set(packages.map(\.id))
    unprovenPackages = index.packages.map(\.id).filter { !proven.contains($0) }
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
