// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import CLinux
import Glibc
import SystemPackage

/// An open directory. Names are resolved in it and nowhere else: no method follows a symbolic link.
final class DirectoryHandle: Sendable {
  /// For messages: where the directory was when it was opened.
  let path: FilePath
  private let owner: OwnedDescriptor

  var descriptor: FileDescriptor { owner.descriptor }

  private init(_ descriptor: FileDescriptor, path: FilePath) {
    self.path = path
    owner = OwnedDescriptor(descriptor)
  }

  /// Opens a directory that the caller trusts: links in the path are followed.
  convenience init(opening path: FilePath) throws(StoreError) {
    let file = try systemCall("open", path) {
      unsafe path.withPlatformString { unsafe Glibc.open($0, O_RDONLY | O_DIRECTORY | O_CLOEXEC) }
    }
    self.init(FileDescriptor(rawValue: file), path: path)
  }

  /// Opens a directory at any depth; a link or `..` on the way is an error.
  func openDirectory(beneath relative: TreePath) throws(StoreError) -> DirectoryHandle {
    let place = path.appending(raw: relative)
    let text = relative.isRoot ? [UInt8(ascii: ".")] : relative.bytes
    let file = try systemCall("open directory", place) {
      unsafe withNullTerminated(text) {
        unsafe clinux_openat_beneath(descriptor.rawValue, $0, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0, 0)
      }
    }
    return DirectoryHandle(FileDescriptor(rawValue: file), path: place)
  }

  /// Opens an entry; flags as for `open`, to which O_NOFOLLOW and O_CLOEXEC are added.
  func open(_ name: EntryName, _ flags: Int32, mode: mode_t = 0) throws(StoreError) -> OwnedDescriptor {
    let place = path.appending(raw: name)
    let file = try systemCall("open", place) {
      unsafe withNullTerminated(name.bytes) {
        unsafe clinux_openat_beneath(descriptor.rawValue, $0, flags | O_NOFOLLOW | O_CLOEXEC, UInt32(mode), 0)
      }
    }
    return OwnedDescriptor(FileDescriptor(rawValue: file))
  }

  /// All names but `.` and `..`, sorted bytewise.
  func names() throws(StoreError) -> [EntryName] {
    let copy = try systemCall("open directory", path) {
      unsafe openat(descriptor.rawValue, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    }
    guard let stream = unsafe fdopendir(copy) else {
      let failure = Errno(rawValue: errno)
      close(copy)
      throw .system(operation: "list", path: path, failure)
    }
    defer { unsafe closedir(stream) }
    var names: [EntryName] = []
    while true {
      errno = 0
      guard let entry = unsafe readdir(stream) else {
        guard errno == 0 else { throw .system(operation: "list", path: path, Errno(rawValue: errno)) }
        break
      }
      let bytes = unsafe withUnsafeBytes(of: &entry.pointee.d_name) { name in
        unsafe Array(name.prefix { $0 != 0 })
      }
      if bytes == [UInt8(ascii: ".")] || bytes == [UInt8(ascii: "."), UInt8(ascii: ".")] { continue }
      names.append(try EntryName(bytes))
    }
    return names.sorted()
  }

  /// What `lstat` says of an entry; nil when there is none.
  func status(of name: EntryName) throws(StoreError) -> FileStatus? {
    var status = Glibc.stat()
    let result = unsafe withNullTerminated(name.bytes) {
      unsafe Glibc.fstatat(descriptor.rawValue, $0, &status, AT_SYMLINK_NOFOLLOW)
    }
    if result == 0 { return FileStatus(status) }
    let failure = Errno(rawValue: errno)
    if failure == .noSuchFileOrDirectory { return nil }
    throw .system(operation: "stat", path: path.appending(raw: name), failure)
  }

  /// The raw target of a symbolic link.
  func symbolicLinkTarget(of name: EntryName) throws(StoreError) -> [UInt8] {
    var buffer = [UInt8](repeating: 0, count: 4096)
    let count = try systemCall("readlink", path.appending(raw: name)) {
      unsafe withNullTerminated(name.bytes) { name in
        unsafe buffer.withUnsafeMutableBytes { buffer in
          guard let start = buffer.baseAddress else { return 0 }
          return unsafe readlinkat(descriptor.rawValue, name, start.assumingMemoryBound(to: CChar.self), buffer.count)
        }
      }
    }
    return Array(buffer.prefix(count))
  }

  func makeDirectory(_ name: EntryName, permissions: mode_t) throws(StoreError) {
    try unsafe call("mkdir", name) { unsafe mkdirat($0, $1, permissions) }
  }

  func makeSymbolicLink(_ name: EntryName, target: [UInt8]) throws(StoreError) {
    try unsafe withNullTerminated(target) { target throws(StoreError) in
      try unsafe call("symlink", name) { unsafe symlinkat(target, $0, $1) }
    }
  }

  /// A further name for an entry of another directory.
  func makeHardLink(_ name: EntryName, to old: EntryName, in directory: DirectoryHandle) throws(StoreError) {
    try unsafe withNullTerminated(old.bytes) { old throws(StoreError) in
      try unsafe call("link", name) { unsafe linkat(directory.descriptor.rawValue, old, $0, $1, 0) }
    }
  }

  /// Makes a named pipe, socket or device; the mode includes the kind.
  func makeNode(_ name: EntryName, mode: mode_t, major: UInt32, minor: UInt32) throws(StoreError) {
    try unsafe call("mknod", name) { unsafe mknodat($0, $1, mode, dev_t(clinux_makedev(major, minor))) }
  }

  func remove(_ name: EntryName) throws(StoreError) {
    try unsafe call("unlink", name) { unsafe unlinkat($0, $1, 0) }
  }

  func removeDirectory(_ name: EntryName) throws(StoreError) {
    try unsafe call("rmdir", name) { unsafe unlinkat($0, $1, AT_REMOVEDIR) }
  }

  /// Moves an entry to another directory of the file system, replacing what has the name there.
  func rename(_ name: EntryName, to directory: DirectoryHandle, as new: EntryName) throws(StoreError) {
    try unsafe withNullTerminated(new.bytes) { new throws(StoreError) in
      try unsafe call("rename", name) { unsafe renameat($0, $1, directory.descriptor.rawValue, new) }
    }
  }

  /// Removes an entry and all below it.
  func removeTree(_ name: EntryName, depth: Int = 0) throws(StoreError) {
    guard let status = try status(of: name) else { return }
    guard status.isDirectory else { return try remove(name) }
    guard depth < 64 else {
      throw .invalidArchive(path.appending(raw: name), entry: nil, reason: "nested deeper than 64 directories; remove it by hand")
    }
    let directory = try openDirectory(beneath: TreePath(components: [name]))
    for entry in try directory.names() { try directory.removeTree(entry, depth: depth + 1) }
    try removeDirectory(name)
  }

  func setOwner(of name: EntryName, user: UInt32, group: UInt32) throws(StoreError) {
    try unsafe call("chown", name) { unsafe fchownat($0, $1, user, group, AT_SYMLINK_NOFOLLOW) }
  }

  /// Seconds since 1970.
  func setModificationTime(of name: EntryName, to seconds: Int64) throws(StoreError) {
    try unsafe call("utimens", name) { directory, name in
      unsafe withTimes(seconds) { unsafe utimensat(directory, name, $0, AT_SYMLINK_NOFOLLOW) }
    }
  }

  /// Returns when the directory's entries are on the medium.
  func synchronize() throws(StoreError) {
    do { try descriptor.synchronize() } catch { throw .system(operation: "fsync", path: path, error) }
  }

  private func call(
    _ operation: String, _ name: EntryName, _ body: (Int32, UnsafePointer<CChar>) -> Int32
  ) throws(StoreError) {
    _ = try systemCall(operation, path.appending(raw: name)) {
      unsafe withNullTerminated(name.bytes) { unsafe body(descriptor.rawValue, $0) }
    }
  }
}

/// Repeats a call while signals interrupt it; -1 becomes an error with the operation's name.
func systemCall<R: SignedInteger>(
  _ operation: String, _ path: @autoclosure () -> FilePath, _ body: () -> R
) throws(StoreError) -> R {
  while true {
    let result = body()
    if result >= 0 { return result }
    let failure = Errno(rawValue: errno)
    if failure != .interrupted { throw .system(operation: operation, path: path(), failure) }
  }
}

/// Lends raw bytes, which must not hold a NUL, as a C string.
func withNullTerminated<R, E: Error>(_ bytes: [UInt8], _ body: (UnsafePointer<CChar>) throws(E) -> R) throws(E) -> R {
  let text = bytes.map { CChar(bitPattern: $0) } + [0]
  return try unsafe body(text)
}

/// Lends the pair of times that `utimensat` wants: access and modification.
func withTimes<R>(_ seconds: Int64, _ body: (UnsafePointer<timespec>) -> R) -> R {
  let time = timespec(tv_sec: time_t(seconds), tv_nsec: 0)
  let pair = (time, time)
  return unsafe withUnsafePointer(to: pair) { pair in
    unsafe pair.withMemoryRebound(to: timespec.self, capacity: 2) { unsafe body($0) }
  }
}

extension FilePath {
  /// The path of an entry whose name need not be UTF-8.
  func appending(raw name: EntryName) -> FilePath { appending(raw: TreePath(components: [name])) }

  /// The path of something below this directory; names need not be UTF-8.
  func appending(raw relative: TreePath) -> FilePath {
    if relative.isRoot { return self }
    let own = unsafe withPlatformString { text in unsafe Array(UnsafeRawBufferPointer(start: text, count: strlen(text))) }
    let bytes = own + [UInt8(ascii: "/")] + relative.bytes
    return unsafe withNullTerminated(bytes) { unsafe FilePath(platformString: $0) }
  }
}

extension DirectoryHandle {
  /// A new file that has no name yet, for reading and writing: it vanishes with its descriptor unless ``give(_:_:)`` names it.
  func createUnnamed(permissions: mode_t) throws(StoreError) -> OwnedDescriptor {
    let file = try systemCall("create a file in", path) {
      unsafe openat(descriptor.rawValue, ".", O_RDWR | clinux_o_tmpfile() | O_CLOEXEC, permissions)
    }
    return OwnedDescriptor(FileDescriptor(rawValue: file))
  }

  /// Gives a file without name one.
  func give(_ file: OwnedDescriptor, _ name: EntryName) throws(StoreError) {
    let source = Array("/proc/self/fd/\(file.descriptor.rawValue)".utf8)
    _ = try systemCall("link", path.appending(raw: name)) {
      unsafe withNullTerminated(source) { source in
        unsafe withNullTerminated(name.bytes) { name in
          unsafe linkat(AT_FDCWD, source, descriptor.rawValue, name, AT_SYMLINK_FOLLOW)
        }
      }
    }
  }
}
