// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import Synchronization
import SystemPackage

/// A directory that holds parts of images, bounded in bytes, for any number of processes at the same time.
///
/// Files are called by the roots of images' trees. Nothing says which blocks of an image are there: whoever reads one proves it by its hash. So
/// it does not matter when a writer is killed, what a power cut or a failing disk leaves, and who makes room at what moment: what is not
/// right is fetched again. Room is made by emptying the images that were not used for longest.
///
/// Layout: section 10, `docs/formats.md`.
public final class RangeCache: Sendable {
  /// Where it is.
  public let path: FilePath
  /// What all files may take together, in bytes.
  public let byteLimit: UInt64

  private let usage = Mutex(Usage())

  private struct Usage {
    /// Of all files, when the directory was looked at last, and what was written by us since.
    var byteCount: UInt64?
    var writtenByteCount: UInt64 = 0
  }

  /// The smallest limit that is taken, in bytes: what is being read at the same time must have room.
  public static let minimumByteLimit: UInt64 = 16 << 20
  private static let indexSuffix = ".index"
  /// Of temporary files that nobody has touched for so many seconds, the writer is dead.
  private static let leftoverAge = 3600

  /// Makes the directory, unless it is there. A limit below ``minimumByteLimit`` counts as that.
  ///
  /// - Throws: ``RepositoryError/system(operation:path:_:)``, with `EPERM` where others could write to it.
  public init(path: FilePath, byteLimit: UInt64) throws(RepositoryError) {
    self.path = path
    self.byteLimit = max(byteLimit, Self.minimumByteLimit)
    for directory in [images, indexes] { try Files.makeDirectories(directory) }
    for directory in [path, images, indexes] where try !Files.isOurs(directory) {
      // What is derived of images is not proven again when it is read.
      throw .system(operation: "keep parts of packages where others can write", path: directory, .notPermitted)
    }
  }

  private var images: FilePath { path.appending("images") }
  private var indexes: FilePath { path.appending(".index") }

  /// Where the parts of an image lie.
  func file(of name: String) -> FilePath { images.appending(name) }

  /// Where the tree of an image lies.
  func treeFile(of name: String) -> FilePath { images.appending(name + BlockTree.fileSuffix) }

  /// Is called before so many bytes are written: makes room where there is none.
  ///
  /// - Throws: ``RepositoryError/system(operation:path:_:)``.
  func makeRoom(for count: UInt64) throws(RepositoryError) {
    // What others write is noticed each time that we have written a part of the limit.
    let isToLook = usage.withLock { usage in
      usage.writtenByteCount += count
      guard let known = usage.byteCount else { return true }
      return usage.writtenByteCount > byteLimit / 32 || known + usage.writtenByteCount > byteLimit
    }
    // A bit more than is needed, so that not every write has to do this.
    if isToLook { try trim(leaving: count) { $0 + count > byteLimit ? byteLimit / 10 * 9 - min(count, byteLimit / 2) : $0 } }
  }

  /// Is called when the disk is full, by whoever: gives half of what there is back.
  ///
  /// - Throws: ``RepositoryError/system(operation:path:_:)``.
  func giveWay() throws(RepositoryError) { try trim(leaving: 0) { $0 / 2 } }

  /// Empties images until what is left takes no more than the goal, which is made of what all take.
  private func trim(leaving room: UInt64, to goal: (UInt64) -> UInt64) throws(RepositoryError) {
    let items = try items()
    var total = items.values.reduce(0) { $0 + $1.byteCount }
    let goal = goal(total)
    if total > goal {
      for (name, item) in items.sorted(by: { $0.value.lastUse < $1.value.lastUse }) where total > goal {
        for file in [file(of: name), treeFile(of: name)] { Files.empty(file) }
        // This one is mapped by who uses it.
        try? Files.remove(indexes.appending(name + Self.indexSuffix))
        total -= item.byteCount
      }
    }
    usage.withLock { usage in
      usage.byteCount = total
      usage.writtenByteCount = room
    }
  }

  private struct Item {
    var byteCount: UInt64 = 0
    var lastUse = Files.Time(seconds: 0, nanoseconds: 0)
  }

  /// What there is, by image.
  private func items() throws(RepositoryError) -> [String: Item] {
    var items: [String: Item] = [:]
    let now = Files.now
    for directory in [images, indexes] {
      for component in try Files.names(in: directory) {
        let file = directory.appending(component)
        guard let status = try Files.status(of: file), status.isRegular else { continue }
        if component.string.hasPrefix(".") {
          if now.seconds - status.modificationTime.seconds > Self.leftoverAge { try? Files.remove(file) }
          continue
        }
        var name = component.string
        for suffix in [BlockTree.fileSuffix, Self.indexSuffix] where name.hasSuffix(suffix) { name.removeLast(suffix.utf8.count) }
        items[name, default: Item()].byteCount += status.storedByteCount
        // The parts say when the image was used; when its tree or index was made says nothing.
        if name == component.string || items[name]?.lastUse.seconds == 0 { items[name]?.lastUse = status.modificationTime }
      }
    }
    return items
  }
}
