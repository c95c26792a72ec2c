// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import CSandbox
import Glibc
import SystemPackage

extension FilePath {
  /// The file's bytes, at most so many from its start.
  ///
  /// - Throws: ``BuildError/system(operation:path:_:)``.
  func contents(limit: Int) throws(BuildError) -> [UInt8] {
    do {
      let file = try FileDescriptor.open(self, .readOnly, options: .closeOnExec)
      return try file.closeAfter { try file.bytes(at: 0, atMost: limit) }
    } catch {
      throw .system(operation: "read", path: self, error as? Errno ?? .ioError)
    }
  }

  /// Writes a file anew.
  ///
  /// - Throws: ``BuildError/system(operation:path:_:)``.
  package func write(_ bytes: [UInt8], permissions: UInt16 = 0o644) throws(BuildError) {
    do {
      let file = try FileDescriptor.open(
        self, .writeOnly, options: [.create, .truncate, .closeOnExec],
        permissions: FilePermissions(rawValue: CModeT(permissions)))
      try file.closeAfter { _ = try file.writeAll(bytes) }
    } catch {
      throw .system(operation: "write", path: self, error as? Errno ?? .ioError)
    }
  }

  /// Gives the file a further name on the same file system.
  ///
  /// - Throws: ``BuildError/system(operation:path:_:)``.
  func makeHardLink(at path: FilePath) throws(BuildError) {
    let result = unsafe withPlatformString { old in unsafe path.withPlatformString { unsafe link(old, $0) } }
    guard result == 0 else { throw .system(operation: "link", path: path, Errno(rawValue: errno)) }
  }

  /// Makes the directory and those above it.
  ///
  /// - Throws: ``BuildError/system(operation:path:_:)``.
  func makeDirectories() throws(BuildError) {
    var current = FilePath(root: root)
    for component in components {
      current.append(component)
      let result = unsafe current.withPlatformString { unsafe mkdir($0, 0o755) }
      guard result == 0 || errno == EEXIST || (errno == EROFS && current.exists) else {
        throw .system(operation: "make directory", path: current, Errno(rawValue: errno))
      }
    }
  }

  /// Whether something is there; links are followed.
  var exists: Bool { unsafe withPlatformString { unsafe access($0, F_OK) } == 0 }

  /// Whether something is there that may be read; links are followed.
  var isReadable: Bool { unsafe withPlatformString { unsafe access($0, R_OK) } == 0 }

  /// Without symbolic links; the path itself where it cannot be followed.
  package func resolved() -> FilePath {
    unsafe withPlatformString { path in
      guard let found = unsafe realpath(path, nil) else { return self }
      defer { unsafe free(found) }
      return unsafe FilePath(platformString: found)
    }
  }

  /// Whether a directory is there; links are followed.
  var isDirectory: Bool {
    guard let directory = try? FileDescriptor.open(self, .readOnly, options: [.directory, .closeOnExec]) else { return false }
    try? directory.close()
    return true
  }

  /// Whether a directory is there, and no link to one.
  var isRealDirectory: Bool {
    let options: FileDescriptor.OpenOptions = [.directory, .noFollow, .closeOnExec]
    guard let directory = try? FileDescriptor.open(self, .readOnly, options: options) else { return false }
    try? directory.close()
    return true
  }

  /// Whether nothing is there, not even a link.
  var isAbsent: Bool {
    let result = unsafe withPlatformString { unsafe faccessat(AT_FDCWD, $0, F_OK, AT_SYMLINK_NOFOLLOW) }
    return result != 0 && errno == ENOENT
  }

  /// Moves what is here, over what is there.
  ///
  /// - Throws: ``BuildError/system(operation:path:_:)``.
  package func rename(to other: FilePath) throws(BuildError) {
    let result = unsafe withPlatformString { from in unsafe other.withPlatformString { unsafe Glibc.rename(from, $0) } }
    guard result == 0 else { throw .system(operation: "rename to \(other)", path: self, Errno(rawValue: errno)) }
  }

  /// Makes a symbolic link here.
  ///
  /// - Throws: ``BuildError/system(operation:path:_:)``.
  func makeLink(to target: String) throws(BuildError) {
    guard unsafe withPlatformString({ unsafe symlink(target, $0) }) == 0 else {
      throw .system(operation: "make link", path: self, Errno(rawValue: errno))
    }
  }

  /// Removes what is here and all below it, without following links; nothing there is fine.
  ///
  /// - Throws: ``BuildError/system(operation:path:_:)``.
  package func removeAll() throws(BuildError) {
    let error = unsafe withPlatformString { unsafe csandbox_remove_tree($0) }
    guard error == 0 else { throw .system(operation: "remove", path: self, Errno(rawValue: error)) }
  }

  /// Sets access and modification time, in seconds since 1970; a link is not followed.
  ///
  /// - Throws: ``BuildError/system(operation:path:_:)``.
  func setModificationTime(_ seconds: Int64) throws(BuildError) {
    let times = [timespec(tv_sec: Int(seconds), tv_nsec: 0), timespec(tv_sec: Int(seconds), tv_nsec: 0)]
    let result = unsafe withPlatformString { unsafe utimensat(AT_FDCWD, $0, times, AT_SYMLINK_NOFOLLOW) }
    guard result == 0 else { throw .system(operation: "set times of", path: self, Errno(rawValue: errno)) }
  }
}
