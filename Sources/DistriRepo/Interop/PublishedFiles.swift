// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import CLinux
import DistriStore
import Glibc
import SystemPackage

/// What a publisher does with files. New ones are made under a temporary name beside their place and renamed.
extension Files {
  /// Starts a temporary name. No package is called so: names start with no dot.
  private static let temporaryPrefix = ".publishing-"

  private static func temporaryName(for path: FilePath) -> FilePath {
    path.removingLastComponent().appending(temporaryPrefix + (path.lastComponent?.string ?? ""))
  }

  /// Makes a directory and those above it.
  package static func makeDirectories(_ path: FilePath) throws(RepositoryError) {
    if unsafe path.withPlatformString({ unsafe mkdir($0, 0o755) }) == 0 || errno == EEXIST { return }
    guard errno == ENOENT, !path.removingLastComponent().isEmpty else {
      throw .system(operation: "make directory", path: path, Errno(rawValue: errno))
    }
    try makeDirectories(path.removingLastComponent())
    guard unsafe path.withPlatformString({ unsafe mkdir($0, 0o755) }) == 0 || errno == EEXIST else {
      throw .system(operation: "make directory", path: path, Errno(rawValue: errno))
    }
  }

  /// Excludes other publishers from the directory until the descriptor is closed.
  static func lock(_ directory: FilePath) throws -> FileDescriptor {
    let file = try open(directory)
    guard flock(file.rawValue, LOCK_EX | LOCK_NB) == 0 else {
      let error = Errno(rawValue: errno)
      try? file.close()
      if error == .wouldBlock { throw StoreError.locked(directory, holder: nil) }
      throw RepositoryError.system(operation: "lock", path: directory, error)
    }
    return file
  }

  /// Removes what a killed publisher left. Only under ``lock(_:)``.
  static func removeLeftovers(in directory: FilePath) throws(RepositoryError) {
    for name in try names(in: directory) where name.string.hasPrefix(temporaryPrefix) {
      try remove(directory.appending(name))
    }
  }

  /// Puts a file at a second place: by a hard link, or by a copy, which shares blocks where the file system can.
  static func linkOrCopy(_ source: FilePath, to path: FilePath, modified: Time) throws(RepositoryError) {
    let temporary = temporaryName(for: path)
    let linked = unsafe source.withPlatformString { source in
      unsafe temporary.withPlatformString { unsafe link(source, $0) }
    }
    if linked != 0 {
      let error = Errno(rawValue: errno)
      guard [.improperLink, .notPermitted, .tooManyLinks, .notSupported].contains(error) else {
        throw .system(operation: "link", path: temporary, error)
      }
      try copy(source, to: temporary, modified: modified)
    }
    try rename(temporary, to: path)
  }

  private static func copy(_ source: FilePath, to path: FilePath, modified: Time) throws(RepositoryError) {
    do {
      let from = try FileDescriptor.open(source, .readOnly, options: [.closeOnExec, .noFollow])
      defer { try? from.close() }
      let to = try FileDescriptor.open(
        path, .writeOnly, options: [.create, .exclusiveCreate, .closeOnExec, .noFollow],
        permissions: [.ownerReadWrite, .groupRead, .otherRead])
      defer { try? to.close() }
      try copyContents(of: from, to: to)
      var times = (timespec(), timespec())
      times.0.tv_sec = modified.seconds
      times.0.tv_nsec = modified.nanoseconds
      times.1 = times.0
      let result = unsafe withUnsafePointer(to: &times) {
        unsafe $0.withMemoryRebound(to: timespec.self, capacity: 2) { unsafe futimens(to.rawValue, $0) }
      }
      guard result == 0, fsync(to.rawValue) == 0 else { throw Errno(rawValue: errno) }
    } catch {
      throw .system(operation: "copy to", path: path, error as? Errno ?? .ioError)
    }
  }

  private static func copyContents(of source: FileDescriptor, to target: FileDescriptor) throws {
    var offset: UInt64 = 0
    var isByKernel = true
    var buffer: [UInt8] = []
    while true {
      if isByKernel {
        let place = Int64(clamping: offset)
        let count = clinux_copy_file_range(source.rawValue, place, target.rawValue, place, 64 << 20)
        if count > 0 { offset += UInt64(count) }
        if count == 0 && offset > 0 { return }
        // Not between these file systems; nothing at all where the source reports no size.
        if count <= 0 { isByKernel = false }
      } else {
        try buffer.refill(from: source, at: offset, upTo: 1 << 20)
        if buffer.isEmpty { return }
        try target.writeAll(toAbsoluteOffset: Int64(clamping: offset), buffer)
        offset += UInt64(buffer.count)
      }
    }
  }

  /// Makes the path a symbolic link, in place of what is there, unless it already leads there.
  static func replaceLink(at path: FilePath, by target: String) throws(RepositoryError) {
    var current = [UInt8](repeating: 0, count: 4096)
    let count = unsafe current.withUnsafeMutableBytes { buffer in
      unsafe path.withPlatformString { name in
        unsafe buffer.withMemoryRebound(to: CChar.self) { unsafe $0.baseAddress.map { unsafe readlink(name, $0, 4096) } ?? -1 }
      }
    }
    guard count < 0 || !current.prefix(count).elementsEqual(target.utf8) else { return }
    let temporary = temporaryName(for: path)
    guard unsafe target.withCString({ target in unsafe temporary.withPlatformString { unsafe symlink(target, $0) } }) == 0 else {
      throw .system(operation: "link", path: temporary, Errno(rawValue: errno))
    }
    try rename(temporary, to: path)
  }

  /// Replaces a file by another content, durable when this returns; what was replaced before it in its directory is durable first.
  static func replace(_ path: FilePath, by bytes: [UInt8]) throws(RepositoryError) {
    let temporary = try create(for: path, holding: bytes)
    // Before the index says that they are there: the names of the files.
    try synchronize(path.removingLastComponent())
    try rename(temporary, to: path)
    try synchronize(path.removingLastComponent())
  }

  /// Replaces a file by another content that can be made anew: whole at any time, but after a power cut perhaps not what it was.
  static func replaceCarelessly(_ path: FilePath, by bytes: [UInt8]) throws(RepositoryError) {
    try rename(try create(for: path, holding: bytes, isDurable: false), to: path)
  }

  /// Replaces a file by another content: whole at any time, and durable once ``synchronize(_:)`` was called for its directory.
  static func replaceLazily(_ path: FilePath, by bytes: [UInt8]) throws(RepositoryError) {
    try rename(try create(for: path, holding: bytes), to: path)
  }

  /// Makes a file under a temporary name.
  private static func create(
    for path: FilePath, holding bytes: [UInt8], isDurable: Bool = true
  ) throws(RepositoryError) -> FilePath {
    let temporary = temporaryName(for: path)
    do {
      let file = try FileDescriptor.open(
        temporary, .writeOnly, options: [.create, .truncate, .closeOnExec, .noFollow],
        permissions: [.ownerReadWrite, .groupRead, .otherRead])
      defer { try? file.close() }
      try file.writeAll(bytes)
      guard !isDurable || fsync(file.rawValue) == 0 else { throw Errno(rawValue: errno) }
    } catch {
      throw .system(operation: "write", path: temporary, error as? Errno ?? .ioError)
    }
    return temporary
  }

  /// Makes the names in a directory durable.
  static func synchronize(_ directory: FilePath) throws(RepositoryError) {
    let file = try open(directory)
    defer { try? file.close() }
    guard fsync(file.rawValue) == 0 else { throw .system(operation: "fsync", path: directory, Errno(rawValue: errno)) }
  }

  private static func open(_ directory: FilePath) throws(RepositoryError) -> FileDescriptor {
    do {
      return try FileDescriptor.open(directory, .readOnly, options: [.closeOnExec, .directory])
    } catch {
      throw .system(operation: "open", path: directory, error as? Errno ?? .ioError)
    }
  }

  /// Size and SHA-256 of a file.
  ///
  /// - Parameter onBytes: takes the file's bytes as they are read, in order.
  static func digest(
    of path: FilePath, onBytes: ([UInt8]) -> Void = { _ in }
  ) throws -> RepositoryIndex.FileDigest {
    var digester = Digester()
    var offset: UInt64 = 0
    var buffer: [UInt8] = []
    do {
      let file = try FileDescriptor.open(path, .readOnly, options: [.closeOnExec])
      defer { try? file.close() }
      while true {
        try Task.checkCancellation()
        try buffer.refill(from: file, at: offset, upTo: 1 << 20)
        if buffer.isEmpty { break }
        digester.update(buffer)
        onBytes(buffer)
        offset += UInt64(buffer.count)
      }
    } catch let errno as Errno {
      throw RepositoryError.system(operation: "read", path: path, errno)
    }
    return RepositoryIndex.FileDigest(byteCount: offset, sha256: digester.finish())
  }
}
