// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore
import SystemPackage

/// Where the data of a file lies in an ext4 file system.
///
/// The data of large files does not go through debugfs, whose `write` takes twice the time of a copy: debugfs reserves the blocks (`fallocate`) and says which
/// they are (`dump_extents`), the kernel copies straight into them, and debugfs is told that they have been written, which is a bit of each extent.
struct Ext4Data: Equatable {
  /// Blocks that follow each other.
  struct Extent: Equatable {
    /// Their place in the file, in blocks.
    var logical: UInt64
    /// Their place in the file system, in blocks.
    var physical: UInt64
    var count: UInt64
  }

  /// In the order of the file.
  private(set) var extents: [Extent] = []
  /// Whether they are in the inode itself, and not in blocks of their own with a checksum.
  private var isInInode = true

  /// Of a smaller file, debugfs writes the data.
  static let smallestByteCount: UInt64 = 64 << 10

  /// Reads what `dump_extents` has said of several files, one after another:
  ///
  ///     Level Entries       Logical        Physical Length Flags
  ///      0/ 0   1/  2     0 - 24280   8487 -  32767  24281 Uninit
  ///
  /// depth and depth of the tree, number and count, first and last block in the file, first and last block in the file system.
  static func parse(_ listing: [UInt8]) -> [Ext4Data] {
    var files: [Ext4Data] = []
    for line in String(decoding: listing, as: UTF8.self).split(separator: "\n") where !line.hasPrefix("debugfs:") {
      if line.hasPrefix("Level ") {
        files.append(Ext4Data())
        continue
      }
      let words = line.split { !("0"..."9").contains($0) }
      let numbers = words.compactMap { UInt64($0) }
      guard !files.isEmpty, line.contains("/"), numbers.count >= 8, numbers.count == words.count else { continue }
      if numbers[1] > 0 { files[files.count - 1].isInInode = false }
      guard numbers[0] == numbers[1], numbers[4] <= numbers[5] else { continue }
      files[files.count - 1].extents.append(
        Extent(logical: numbers[4], physical: numbers[6], count: numbers[5] - numbers[4] + 1))
    }
    return files
  }

  /// Whether the inode itself lists the extents.
  var fitsInode: Bool { isInInode && extents.count <= 4 }

  /// Whether the extents are the first blocks of a file, without a gap.
  func covers(blocks: UInt64) -> Bool {
    var next: UInt64 = 0
    for extent in extents {
      guard extent.logical == next else { return false }
      next += extent.count
    }
    return next == blocks
  }

  /// The words of the inode's block map that say that the extents have been written: a header of three words, then three an extent, the second of which is the
  /// length in its low half, larger than 32768 for what has not been written, and the upper part of the physical block in the other (Documentation of Linux, «ext4 Data Structures
  /// and Algorithms», extent tree).
  var writtenWords: [(place: String, value: UInt64)] {
    // debugfs calls the last three after what they were in ext2.
    let places = ["4", "7", "10", "DIND"]
    return zip(places, extents).map { ($0, $1.count | ($1.physical >> 32) << 16) }
  }

  /// Copies a file of the host into the blocks.
  ///
  /// - Parameters:
  ///   - offset: of the file system in `disk`, in bytes.
  ///   - blockSize: in bytes.
  /// - Throws: ``MkimageError/unusableFile(_:reason:)`` for one that has become shorter; `Errno`.
  func copy(_ path: FilePath, byteCount: UInt64, to disk: FileDescriptor, offset: UInt64, blockSize: UInt64) throws {
    let input = try FileDescriptor.open(path, .readOnly, options: .closeOnExec)
    defer { try? input.close() }
    for extent in extents {
      let start = extent.logical * blockSize
      let count = min(extent.count * blockSize, byteCount - min(start, byteCount))
      let target = offset + extent.physical * blockSize
      guard try input.copy(at: start, to: disk, at: target, byteCount: count) == count else {
        throw MkimageError.unusableFile(path.string, reason: "it shrank while it was being copied")
      }
      // So that the end of it all does not wait for the disk alone.
      startWriteback(of: disk, at: target, byteCount: count)
    }
  }
}
