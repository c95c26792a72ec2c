// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import CLinux
import Glibc
import SystemPackage

/// System calls around a mount.
enum SystemCalls {
  /// All bytes of a small file, such as one of `/proc`.
  static func contents(of path: FilePath) throws(Errno) -> [UInt8] {
    do {
      let file = try FileDescriptor.open(path, .readOnly, options: .closeOnExec)
      defer { try? file.close() }
      var bytes: [UInt8] = []
      var chunk = [UInt8](repeating: 0, count: 64 << 10)
      while true {
        let count = try unsafe chunk.withUnsafeMutableBytes { try unsafe file.read(into: $0) }
        if count == 0 { return bytes }
        bytes += chunk[..<count]
      }
    } catch {
      throw (error as? Errno) ?? .ioError
    }
  }

  /// Writes a line to an existing file, such as one of `/sys`.
  static func write(_ text: String, to path: FilePath) throws(Errno) {
    do {
      let file = try FileDescriptor.open(path, .writeOnly, options: .closeOnExec)
      try file.closeAfter { _ = try file.writeAll(text.utf8) }
    } catch {
      throw (error as? Errno) ?? .ioError
    }
  }

  /// Whether the path is a directory, links followed.
  static func isDirectory(_ path: FilePath) throws(Errno) -> Bool {
    var result = stat()
    let status = unsafe path.withPlatformString { unsafe stat($0, &result) }
    guard status == 0 else { throw Errno(rawValue: errno) }
    return result.st_mode & S_IFMT == S_IFDIR
  }

  /// The absolute path without links: what the mount table shows.
  static func canonical(_ path: FilePath) throws(Errno) -> FilePath {
    let resolved = unsafe path.withPlatformString { unsafe realpath($0, nil) }
    guard let resolved = unsafe resolved else { throw Errno(rawValue: errno) }
    defer { unsafe free(resolved) }
    return unsafe FilePath(platformString: resolved)
  }

  /// Seconds since 1970.
  static var now: Int64 { Int64(time(nil)) }

  /// Whether this process may mount by itself.
  static var isRoot: Bool { geteuid() == 0 }

  /// getxattr(2), links followed.
  static func extendedAttribute(_ name: String, of path: FilePath) throws(Errno) -> [UInt8] {
    var value = [UInt8](repeating: 0, count: 64 << 10)
    let count = unsafe value.withUnsafeMutableBytes { buffer in
      unsafe path.withPlatformString { unsafe getxattr($0, name, buffer.baseAddress, buffer.count) }
    }
    guard count >= 0 else { throw Errno(rawValue: errno) }
    return Array(value[..<count])
  }

  /// statvfs(3), for the question alone: the kernel never answers it from memory.
  static func askCapacity(of path: FilePath) throws(Errno) {
    var result = statvfs()
    guard unsafe path.withPlatformString({ unsafe statvfs($0, &result) }) == 0 else { throw Errno(rawValue: errno) }
  }

  /// Runs the body on a thread of its own, which may block for as long as it likes. False when the system has no more threads.
  @discardableResult
  static func detachThread(_ body: @escaping @Sendable () -> Void) -> Bool {
    final class Box: Sendable {
      let body: @Sendable () -> Void
      init(_ body: @escaping @Sendable () -> Void) { self.body = body }
    }
    var thread = pthread_t()
    let box = unsafe Unmanaged.passRetained(Box(body))
    let status = unsafe pthread_create(
      &thread, nil,
      { @Sendable argument in
        if let argument = unsafe argument { unsafe Unmanaged<Box>.fromOpaque(argument).takeRetainedValue().body() }
        return nil
      }, box.toOpaque())
    if status == 0 { pthread_detach(thread) } else { unsafe box.release() }
    return status == 0
  }

  /// umount2(2) for root, fusermount3 for others.
  static func unmount(_ path: FilePath, lazily: Bool) throws(Errno) {
    guard isRoot else { return try unmountByHelper(path, lazily: lazily) }
    let flags = Int32(UMOUNT_NOFOLLOW) | (lazily ? Int32(MNT_DETACH) : 0)
    guard unsafe path.withPlatformString({ unsafe umount2($0, flags) }) == 0 else { throw Errno(rawValue: errno) }
  }

  private static func unmountByHelper(_ path: FilePath, lazily: Bool) throws(Errno) {
    let words = ["fusermount3", "-u", "-q"] + (lazily ? ["-z"] : []) + ["--", path.string]
    let arguments = unsafe words.map { unsafe strdup($0) }
    defer { unsafe arguments.forEach { unsafe free($0) } }
    var child: pid_t = 0
    let status = unsafe posix_spawnp(&child, "fusermount3", nil, nil, arguments + [nil], environ)
    guard status == 0 else { throw Errno(rawValue: status) }
    var result: Int32 = 0
    while unsafe waitpid(child, &result, 0) < 0 && errno == EINTR {}
    guard result == 0 else { throw .resourceBusy }
  }
}
