// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import Glibc
import SystemPackage

/// Files that are on their way into a store: what a kill or a power cut breaks off goes on here.
///
/// `<store>/.staging/partial` has a file each, under the SHA-256 that it is going to have. Whoever fills one holds its lock, a `flock`, which the
/// kernel gives up with the process. Nothing proves what lies there: whoever goes on hashes it anew. A file that is whole may have a second name,
/// in a staging area or in the store, and is only read from then on.
///
/// Every transaction removes what nobody has touched for ``maximumAge``, and the oldest ones while there is more than ``maximumByteCount``; the
/// collector removes all that nobody is filling.
public struct PartialFiles: Sendable, Hashable {
  /// Seconds after which a file that nobody fills is removed.
  public static let maximumAge: Int64 = 7 * 86_400
  /// What may lie there altogether, in bytes.
  public static let maximumByteCount: UInt64 = 16 << 30

  static let directoryName = "partial"

  private let directory: FilePath

  /// - Parameter staging: the store's `.staging`.
  init(staging: FilePath) { directory = staging.appending(Self.directoryName) }

  /// Opens the file that is going to have this digest, or makes it, and locks it.
  ///
  /// One that is longer than it will be, or that is shorter and has a second name, cannot be gone on with, and begins anew.
  ///
  /// - Returns: nil when another task or process fills it.
  /// - Throws: ``StoreError/system(operation:path:_:)``.
  public func open(_ sha256: [UInt8], byteCount: UInt64) throws(StoreError) -> PartialFile? {
    try makeDirectoryIfMissing(directory)
    let directory = try DirectoryHandle(opening: directory)
    let name = try EntryName(sha256.hexadecimal)
    // Again when somebody removes the file between opening and locking it.
    for _ in 0..<8 {
      let file = try directory.open(name, openLockFile, mode: 0o644)
      guard try lock(file) else { return nil }
      guard let status = try isNamed(file, name, in: directory) else { continue }
      if status.byteCount > byteCount || (status.byteCount < byteCount && status.linkCount > 1) {
        try directory.remove(name)
        continue
      }
      return PartialFile(file: file, directory: directory, name: name, byteCount: status.byteCount)
    }
    return nil
  }

  /// How much of a file is there, in bytes; 0 for nothing.
  public func byteCount(of sha256: [UInt8]) -> UInt64 {
    guard let directory = try? DirectoryHandle(opening: directory), let name = try? EntryName(sha256.hexadecimal) else { return 0 }
    return (try? directory.status(of: name))?.byteCount ?? 0
  }

  /// Removes a file, unless somebody fills it.
  public func remove(_ sha256: [UInt8]) {
    guard let directory = try? DirectoryHandle(opening: directory), let name = try? EntryName(sha256.hexadecimal) else { return }
    try? remove(name, in: directory)
  }

  /// Removes what is too old, then the oldest while there is too much; of that only what nobody fills.
  ///
  /// - Parameters:
  ///   - now: seconds since 1970.
  ///   - limit: bytes.
  func prune(now: Int64 = Int64(time(nil)), limit: UInt64 = maximumByteCount) throws(StoreError) {
    guard let directory = try existing() else { return }
    var files: [(name: EntryName, status: FileStatus)] = []
    for name in try directory.names() {
      if let status = try directory.status(of: name) { files.append((name, status)) }
    }
    var total = files.reduce(0) { $0 &+ $1.status.byteCount }
    for (name, status) in files.sorted(by: { $0.status.modificationTime < $1.status.modificationTime }) {
      guard total > limit || status.modificationTime < now - Self.maximumAge else { continue }
      try remove(name, in: directory)
      total -= min(total, status.byteCount)
    }
  }

  /// Removes all that nobody fills.
  func removeAll() throws(StoreError) {
    guard let directory = try existing() else { return }
    for name in try directory.names() { try remove(name, in: directory) }
  }

  private func existing() throws(StoreError) -> DirectoryHandle? {
    do { return try DirectoryHandle(opening: directory) } catch .system(_, _, .noSuchFileOrDirectory) { return nil }
  }

  private func remove(_ name: EntryName, in directory: DirectoryHandle) throws(StoreError) {
    do throws(StoreError) {
      guard try directory.status(of: name)?.isRegular == true else { return try directory.removeTree(name) }
      let file = try directory.open(name, O_RDWR)
      guard try lock(file), try isNamed(file, name, in: directory) != nil else { return }
      try directory.remove(name)
    } catch {
      if case .system(_, _, .noSuchFileOrDirectory) = error { return }
      throw error
    }
  }

  private func lock(_ file: OwnedDescriptor) throws(StoreError) -> Bool {
    do { return try file.descriptor.lockExclusively() } catch { throw .system(operation: "lock", path: directory, error) }
  }

  /// The file's status if it still has its name: whoever removed it had it locked before us.
  private func isNamed(
    _ file: OwnedDescriptor, _ name: EntryName, in directory: DirectoryHandle
  ) throws(StoreError) -> FileStatus? {
    let own: FileStatus
    do { own = try file.descriptor.status() } catch { throw .system(operation: "stat", path: self.directory, error) }
    return try directory.status(of: name)?.identity == own.identity ? own : nil
  }
}

/// A file of ``PartialFiles``, locked for as long as there is a reference to it.
public final class PartialFile: Sendable {
  /// Where it lies.
  public var path: FilePath { directory.path.appending(raw: name) }
  /// For reading and writing; valid as long as the object is.
  public var descriptor: FileDescriptor { file.descriptor }
  /// What was there when it was opened, in bytes.
  public let byteCount: UInt64

  private let file: OwnedDescriptor
  private let directory: DirectoryHandle
  private let name: EntryName

  fileprivate init(file: OwnedDescriptor, directory: DirectoryHandle, name: EntryName, byteCount: UInt64) {
    self.file = file
    self.directory = directory
    self.name = name
    self.byteCount = byteCount
  }

  /// Gives the file, which is whole now, a second name, which must not exist; where file systems know none, the only one.
  ///
  /// - Throws: ``StoreError/system(operation:path:_:)``.
  public func give(_ path: FilePath) throws(StoreError) {
    let own = self.path
    do throws(StoreError) {
      _ = try systemCall("link", path) {
        unsafe own.withPlatformString { own in unsafe path.withPlatformString { unsafe Glibc.link(own, $0) } }
      }
    } catch {
      guard case .system(_, _, let errno) = error, [.notPermitted, .notSupported, .tooManyLinks].contains(errno) else {
        throw error
      }
      _ = try systemCall("rename", path) {
        unsafe own.withPlatformString { own in unsafe path.withPlatformString { unsafe Glibc.rename(own, $0) } }
      }
    }
  }

  /// Removes its name: what is in it is of no use.
  ///
  /// - Throws: ``StoreError/system(operation:path:_:)``.
  public func discard() throws(StoreError) { try directory.remove(name) }
}
