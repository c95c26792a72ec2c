// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import CLinux
import DistriStore
import Glibc
import SystemPackage

/// System calls on paths that swift-system has not. Each throws ``RepositoryError/system(operation:path:_:)``.
package enum Files {
  /// Seconds and nanoseconds since 1970.
  package struct Time: Sendable, Hashable, Comparable {
    package var seconds: Int
    package var nanoseconds: Int

    package static func < (a: Time, b: Time) -> Bool { (a.seconds, a.nanoseconds) < (b.seconds, b.nanoseconds) }
  }

  /// What `lstat` says.
  package struct Status: Sendable {
    var device: UInt
    var inode: UInt
    package var byteCount: UInt64
    /// What the file takes on the medium, in bytes.
    var storedByteCount: UInt64
    /// How many names it has.
    var linkCount: UInt64
    package var modificationTime: Time
    package var isRegular: Bool

    fileprivate init(_ status: stat) {
      device = UInt(status.st_dev)
      inode = UInt(status.st_ino)
      byteCount = UInt64(clamping: status.st_size)
      storedByteCount = UInt64(clamping: status.st_blocks) * 512
      linkCount = UInt64(status.st_nlink)
      modificationTime = Time(seconds: status.st_mtim.tv_sec, nanoseconds: status.st_mtim.tv_nsec)
      isRegular = status.st_mode & S_IFMT == S_IFREG
    }

    func isSameFile(as other: Status) -> Bool { device == other.device && inode == other.inode }

    func isLikelyCopy(of other: Status) -> Bool {
      isRegular && byteCount == other.byteCount && modificationTime == other.modificationTime
    }
  }

  /// Nil when there is nothing.
  static func status(of path: FilePath) throws(RepositoryError) -> Status? {
    var status = stat()
    guard unsafe path.withPlatformString({ unsafe lstat($0, &status) }) == 0 else {
      guard errno != ENOENT else { return nil }
      throw .system(operation: "stat", path: path, Errno(rawValue: errno))
    }
    return Status(status)
  }

  /// What `fstat` says.
  package static func status(of file: FileDescriptor) throws(Errno) -> Status {
    var status = stat()
    guard unsafe fstat(file.rawValue, &status) == 0 else { throw Errno(rawValue: errno) }
    return Status(status)
  }

  /// The time of the system's clock.
  static var now: Time {
    var now = timespec()
    unsafe clock_gettime(CLOCK_REALTIME, &now)
    return Time(seconds: now.tv_sec, nanoseconds: now.tv_nsec)
  }

  /// Whether a directory is ours or root's, and nobody else can write to it.
  static func isOurs(_ directory: FilePath) throws(RepositoryError) -> Bool {
    var status = stat()
    guard unsafe directory.withPlatformString({ unsafe stat($0, &status) }) == 0 else {
      throw .system(operation: "stat", path: directory, Errno(rawValue: errno))
    }
    return status.st_mode & (S_IWGRP | S_IWOTH) == 0 && (status.st_uid == geteuid() || status.st_uid == 0)
  }

  /// Removes a file, and gives its room back at once, also if somebody has it open.
  static func empty(_ path: FilePath) {
    _ = unsafe path.withPlatformString { unsafe truncate($0, 0) }
    _ = unsafe path.withPlatformString { unsafe unlink($0) }
  }

  /// Notes that a file is used now.
  static func touch(_ file: FileDescriptor) { _ = futimens(file.rawValue, nil) }

  /// Whether there is a hole in a range of a file, or the file ends before: then nobody has written all of it.
  static func hasHole(_ file: FileDescriptor, in range: Range<UInt64>) -> Bool {
    // SEEK_HOLE is a GNU extension; where holes are not known, the end of the file is the first one.
    let hole = lseek(file.rawValue, off_t(clamping: range.lowerBound), 4)
    return hole < 0 || UInt64(hole) < range.upperBound
  }

  static func rename(_ from: FilePath, to path: FilePath) throws(RepositoryError) {
    try check("rename", path) {
      unsafe from.withPlatformString { from in unsafe path.withPlatformString { unsafe Glibc.rename(from, $0) } }
    }
  }

  static func remove(_ path: FilePath) throws(RepositoryError) {
    try check("remove", path) { unsafe path.withPlatformString { unsafe unlink($0) } }
  }

  static func open(reading path: FilePath) throws(RepositoryError) -> FileDescriptor {
    do { return try FileDescriptor.open(path, .readOnly, options: .closeOnExec) } catch {
      throw .system(operation: "open", path: path, error as? Errno ?? .ioError)
    }
  }

  /// Opens a file for reading and writing, which must not exist yet.
  static func open(creating path: FilePath) throws(RepositoryError) -> FileDescriptor {
    do {
      return try FileDescriptor.open(
        path, .readWrite, options: [.create, .exclusiveCreate, .closeOnExec, .noFollow],
        permissions: [.ownerReadWrite, .groupRead, .otherRead])
    } catch {
      throw .system(operation: "create", path: path, error as? Errno ?? .ioError)
    }
  }

  /// Creates a file, which must not exist.
  static func create(_ path: FilePath, holding bytes: [UInt8]) throws(RepositoryError) {
    let file = try open(creating: path)
    do { try file.closeAfter { _ = try file.writeAll(bytes) } } catch {
      throw .system(operation: "create", path: path, error as? Errno ?? .ioError)
    }
  }

  /// The whole content of a file.
  static func contents(of path: FilePath, limit: Int) throws(RepositoryError) -> [UInt8] {
    let bytes: [UInt8]
    do {
      let file = try FileDescriptor.open(path, .readOnly, options: [.closeOnExec, .init(rawValue: O_NONBLOCK)])
      bytes = try file.closeAfter { try [UInt8](contentsOf: file, upTo: limit) }
    } catch {
      throw .system(operation: "read", path: path, error as? Errno ?? .ioError)
    }
    guard bytes.count <= limit else { throw .tooLarge(url: path.string, limit: UInt64(limit)) }
    return bytes
  }

  /// The names in a directory, in no order, without `.` and `..`; none when it does not exist.
  static func names(in directory: FilePath) throws(RepositoryError) -> [FilePath.Component] {
    guard let stream = unsafe directory.withPlatformString({ unsafe opendir($0) }) else {
      guard errno != ENOENT else { return [] }
      throw .system(operation: "list", path: directory, Errno(rawValue: errno))
    }
    defer { unsafe closedir(stream) }
    var names: [FilePath.Component] = []
    errno = 0
    while let entry = unsafe readdir(stream) {
      let name = unsafe withUnsafeBytes(of: &entry.pointee.d_name) {
        unsafe String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
      }
      if name != ".", name != "..", let component = FilePath.Component(name) { names.append(component) }
      errno = 0
    }
    guard errno == 0 else { throw .system(operation: "list", path: directory, Errno(rawValue: errno)) }
    return names
  }

  private static func check(_ operation: String, _ path: FilePath, _ call: () -> Int32) throws(RepositoryError) {
    guard call() == 0 else { throw .system(operation: operation, path: path, Errno(rawValue: errno)) }
  }
}
