// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import Glibc
import SystemPackage

extension FileDescriptor {
  func setOwner(user: UInt32, group: UInt32) throws(Errno) {
    guard fchown(rawValue, user, group) == 0 else { throw Errno(rawValue: errno) }
  }

  /// The low twelve bits of the mode.
  func setPermissions(_ permissions: UInt16) throws(Errno) {
    guard fchmod(rawValue, mode_t(permissions)) == 0 else { throw Errno(rawValue: errno) }
  }

  /// Seconds since 1970; the access time becomes the same.
  func setModificationTime(_ seconds: Int64) throws(Errno) {
    guard unsafe withTimes(seconds, { unsafe futimens(rawValue, $0) }) == 0 else { throw Errno(rawValue: errno) }
  }
}

extension DirectoryHandle {
  /// The mode of an entry that is no symbolic link: one is followed by this call only.
  func setPermissions(of name: EntryName, to permissions: UInt16) throws(StoreError) {
    guard try status(of: name)?.isSymbolicLink == false else {
      throw .system(operation: "chmod", path: path.appending(raw: name), .tooManySymbolicLinkLevels)
    }
    _ = try systemCall("chmod", path.appending(raw: name)) {
      unsafe withNullTerminated(name.bytes) { unsafe fchmodat(descriptor.rawValue, $0, mode_t(permissions), 0) }
    }
  }
}

/// Whether this process may give files away.
var isSuperuser: Bool { geteuid() == 0 }

/// Makes one directory, and returns when it is on the medium; one that is there is fine.
func makeDirectoryIfMissing(_ path: FilePath) throws(StoreError) {
  do {
    _ = try systemCall("mkdir", path) { unsafe path.withPlatformString { unsafe mkdir($0, 0o755) } }
    let parent = path.removingLastComponent()
    try DirectoryHandle(opening: parent.isEmpty ? "." : parent).synchronize()
  } catch .system(_, _, .fileExists) {}
}

extension FileDescriptor {
  /// Tries to take the `flock`; false when another open file has it.
  package func lockExclusively() throws(Errno) -> Bool {
    while flock(rawValue, LOCK_EX | LOCK_NB) != 0 {
      let failure = Errno(rawValue: errno)
      if failure == .wouldBlock { return false }
      if failure != .interrupted { throw failure }
    }
    return true
  }

  /// Gives the `flock` up, also for a child that has just been forked and holds a copy of the descriptor.
  package func unlock() { _ = flock(rawValue, LOCK_UN) }

  /// Makes the bytes all that the file holds.
  func replaceContents(with bytes: [UInt8]) throws {
    try resize(to: 0)
    try unsafe bytes.withUnsafeBytes { bytes in _ = unsafe try writeAll(toAbsoluteOffset: 0, bytes) }
  }
}

/// This process.
var processIdentifier: Int32 { getpid() }
