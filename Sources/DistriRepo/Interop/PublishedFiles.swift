// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

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
      try from.copy(at: 0, to: to, at: 0, byteCount: .max)
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

  /// Makes `<pkg>-<arch>.meta.textproto` lead to the newest version's metadata: there, the original distri looks for it.
  static func linkNewest(of packages: [PackageID], in directory: FilePath) throws {
    for versions in Dictionary(grouping: packages, by: \.unversioned).values {
      guard let newest = versions.newest() else { continue }
      guard try status(of: directory.appending(newest.metadataFileName)) != nil else { continue }
      try replaceLink(at: directory.appending("\(newest.unversioned).meta.textproto"), by: newest.metadataFileName)
    }
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

  /// Replaces a file by what the body makes: whole at any time, and durable once ``synchronize(_:)`` was called for its directory.
  ///
  /// - Parameter make: creates the file; false to remove it, and what it would have replaced.
  static func replace(_ path: FilePath, makingWith make: (FilePath) throws -> Bool) throws -> Bool {
    let temporary = temporaryName(for: path)
    do {
      let isUseful = try make(temporary)
      guard isUseful else {
        try? remove(temporary)
        if try status(of: path) != nil { try remove(path) }
        return false
      }
      let file = try open(reading: temporary)
      defer { try? file.close() }
      guard fsync(file.rawValue) == 0 else {
        throw RepositoryError.system(operation: "fsync", path: temporary, Errno(rawValue: errno))
      }
      try rename(temporary, to: path)
      return true
    } catch {
      try? remove(temporary)
      throw error
    }
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

  /// Makes what a file holds durable.
  static func synchronizeContents(of path: FilePath) throws(RepositoryError) {
    do {
      let file = try FileDescriptor.open(path, .readOnly, options: [.closeOnExec, .noFollow, .nonBlocking])
      defer { try? file.close() }
      guard fsync(file.rawValue) == 0 else { throw Errno(rawValue: errno) }
    } catch {
      throw .system(operation: "fsync", path: path, error as? Errno ?? .ioError)
    }
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
  static func digest(of path: FilePath, onBytes: ([UInt8]) -> Void = { _ in }) throws -> RepositoryIndex.FileDigest {
    let file = try open(reading: path)
    defer { try? file.close() }
    return try prefix(of: file, path: path, onBytes: onBytes).digest
  }

  /// Hashes the first bytes of a file, all of them by default.
  static func prefix(
    of file: FileDescriptor, path: FilePath, byteCount: UInt64 = .max, onBytes: ([UInt8]) -> Void = { _ in }
  ) throws -> ReceivedPrefix {
    var result = ReceivedPrefix()
    var buffer: [UInt8] = []
    while result.byteCount < byteCount {
      try Task.checkCancellation()
      let wanted = Int(min(1 << 20, byteCount - result.byteCount))
      do { try buffer.refill(from: file, at: result.byteCount, upTo: wanted) } catch {
        throw RepositoryError.system(operation: "read", path: path, error)
      }
      if buffer.isEmpty { break }
      result.digester.update(buffer)
      onBytes(buffer)
      result.byteCount += UInt64(buffer.count)
    }
    return result
  }
}
