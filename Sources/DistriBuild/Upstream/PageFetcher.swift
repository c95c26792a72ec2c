// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriArchive
import DistriStore
import SystemPackage

/// Brings what tells about upstream's releases: pages, listings, indexes. A tool gives it the transport of its choice, which follows redirects
/// within HTTP only.
public protocol PageFetcher: Sendable {
  /// Brings the whole page into memory.
  ///
  /// - Throws: what the transport throws; for a page that is larger, before that many bytes are kept.
  func page(_ url: String, maximumByteCount: Int) async throws -> FetchedPage
}

/// A page, and where it came from.
public struct FetchedPage: Sendable, Hashable {
  /// Where it came from in the end, after redirects.
  public var url: String
  /// As they came.
  public var bytes: [UInt8]

  /// Makes a page.
  public init(url: String, bytes: [UInt8]) {
    self.url = url
    self.bytes = bytes
  }
}

/// What indexes and pages may measure, in bytes.
enum UpstreamLimits {
  /// A page of releases, a listing, the versions of a module.
  static let page = 16 << 20
  /// A list of all packages of an archive, as it comes.
  static let index = 64 << 20
  /// The same once it is decompressed.
  static let decompressedIndex = 256 << 20
  /// A file of metadata in a source archive.
  static let metadata = 4 << 20
}

extension PageFetcher {
  func page(_ url: String) async throws -> FetchedPage { try await page(url, maximumByteCount: UpstreamLimits.page) }

  /// The text of a large index, which may be compressed.
  func index(_ url: String) async throws -> [UInt8] {
    let page = try await page(url, maximumByteCount: UpstreamLimits.index)
    return try await onThread {
      try CompressedBytes.contents(
        of: page.bytes, limit: UpstreamLimits.decompressedIndex, subject: FilePath(url.withoutCredentials))
    }
  }
}

extension String {
  /// A URL as it may be shown and written down: without name and password.
  var withoutCredentials: String { WebAddress(self)?.withoutCredentials.description ?? self }
}
