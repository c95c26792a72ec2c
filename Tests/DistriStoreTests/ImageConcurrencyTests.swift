// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore
import SystemPackage
import TestSupport
import Testing

@Suite struct ImageConcurrencyTests {
  /// The cache holds a fraction of the image, so that blocks come and go under all readers.
  @Test(arguments: [1 << 20, 0]) func `many threads read one compressed image`(cacheSize: Int) async throws {
    let folder = try TemporaryDirectory()
    let path = folder.path.appending("image.squashfs")
    try await run("mksquashfs", [try EdgeTree.shared().string, path.string, "-comp", "zstd", "-no-progress", "-quiet"])
    let reference = try snapshot(of: try PackageImage(path: path))
    let file = try FileDescriptor.open(path, .readOnly)
    let image = try file.closeAfter {
      try PackageImage(descriptor: file, path: path, cache: BlockCache(byteLimit: cacheSize))
    }
    try await withThrowingTaskGroup(of: [String].self) { group in
      for _ in 0..<4 { group.addTask { differences(reference, try snapshot(of: image)) } }
      for try await found in group { #expect(found == []) }
    }
  }

  @Test func `the blocks of an image go with the image, and those of others stay`() async throws {
    let folder = try TemporaryDirectory()
    let path = folder.path.appending("image.squashfs")
    try await run("mksquashfs", [try EdgeTree.shared().string, path.string, "-comp", "zstd", "-no-progress", "-quiet"])
    let file = try FileDescriptor.open(path, .readOnly)
    defer { try? file.close() }
    let cache = BlockCache(byteLimit: 64 << 20)
    let first = try PackageImage(descriptor: file, path: path, cache: cache)
    _ = try first.entries(of: first.root)
    let alone = cache.byteCount
    #expect(alone > 0)
    do {
      let second = try PackageImage(descriptor: file, path: path, cache: cache)
      _ = try second.entries(of: second.root)
      #expect(cache.byteCount == 2 * alone)
    }
    #expect(cache.byteCount == alone)
    withExtendedLifetime(first) {}
  }
}
