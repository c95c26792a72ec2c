// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import Synchronization

/// Decompressed blocks of all images, bounded in bytes.
///
/// Two generations: what is touched is in the young one; when that holds half of the limit, it becomes the old one and
/// the old one is dropped. Blocks that are stored uncompressed are never here, they are read from the mapping.
public final class BlockCache: Sendable {
  /// The one that images use unless told otherwise; 64 MiB.
  public static let shared = BlockCache(byteLimit: 64 << 20)

  struct Key: Hashable {
    let image: UInt64
    let address: UInt64
  }

  private struct Shard {
    var young: [Key: Bytes] = [:]
    var old: [Key: Bytes] = [:]
    var youngBytes = 0
  }

  private let shards: [Locked]
  private let shardLimit: Int

  private final class Locked: Sendable {
    let shard = Mutex(Shard())
  }

  /// Makes an empty cache that holds at most so many bytes of blocks.
  public init(byteLimit: Int) {
    shards = (0..<8).map { _ in Locked() }
    shardLimit = max(byteLimit, 0) / 8 / 2
  }

  private func locked(_ key: Key) -> Locked { shards[Int(truncatingIfNeeded: (key.address >> 13) ^ key.image) & 7] }

  func block(_ key: Key) -> Bytes? {
    locked(key).shard.withLock { shard in
      if let bytes = shard.young[key] { return bytes }
      guard let bytes = shard.old[key] else { return nil }
      insert(bytes, key, &shard)
      return bytes
    }
  }

  func add(_ bytes: Bytes, _ key: Key) {
    locked(key).shard.withLock { shard in insert(bytes, key, &shard) }
  }

  /// Drops the blocks of an image that nobody reads any more.
  func removeAll(of image: UInt64) {
    for locked in shards {
      locked.shard.withLock { shard in
        let gone = shard.young.filter { $0.key.image == image }
        for (key, bytes) in gone {
          shard.young[key] = nil
          shard.youngBytes -= bytes.count
        }
        shard.old = shard.old.filter { $0.key.image != image }
      }
    }
  }

  /// How many bytes the blocks take.
  package var byteCount: Int {
    shards.reduce(0) { sum, locked in
      sum
        + locked.shard.withLock { shard in shard.young.values.reduce(shard.old.values.reduce(0) { $0 + $1.count }) { $0 + $1.count }
        }
    }
  }

  private func insert(_ bytes: Bytes, _ key: Key, _ shard: inout Shard) {
    guard bytes.count <= shardLimit, shard.young[key] == nil else { return }
    if shard.youngBytes + bytes.count > shardLimit {
      shard.old = shard.young
      shard.young = [:]
      shard.youngBytes = 0
    }
    shard.young[key] = bytes
    shard.youngBytes += bytes.count
  }
}
