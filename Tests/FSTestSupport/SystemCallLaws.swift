// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import CLinux
import CTestCalls
import DistriFS
import Foundation
import Glibc
import SystemPackage

/// The laws that a read-only tree keeps through system calls: ``Conformance`` seen from the other side of the kernel.
///
/// Tests check the kernel's own squashfs by the same laws: what that does not keep is no law.
package struct SystemCallLaws {
  /// A sentence for each broken law.
  package private(set) var violations: [String] = []
  /// How many files were looked at.
  package private(set) var fileCount = 0

  private let root: String
  /// How a name of 256 bytes is refused: of squashfs, the kernel says that it is absent.
  let tooLong: Int32

  /// Checks everything below a mount point. Needs root.
  package init(at root: String, tooLong: Int32 = ENAMETOOLONG) throws {
    self.root = root
    self.tooLong = tooLong
    try checkTree(root, parent: nil)
  }

  mutating func expect(_ isKept: Bool, _ path: String, _ sentence: @autoclosure () -> String) {
    if !isKept, violations.count < 50 { violations.append(".\(path.dropFirst(root.count)): \(sentence())") }
  }

  /// That a call fails so, or in the other way where which is noticed first is the file system's choice.
  mutating func expect(_ wanted: Int32, or other: Int32? = nil, _ path: String, _ call: String, _ body: () -> Int) {
    errno = 0
    let result = body()
    let found = result < 0 ? errno : 0
    expect(found == wanted || found == other, path, "\(call) gives \(Errno(rawValue: found)) instead of \(Errno(rawValue: wanted))")
  }

  private mutating func checkTree(_ path: String, parent: stat?) throws {
    fileCount += 1
    let status = try Self.status(of: path)
    checkAttributes(path, status)
    checkChanges(path, status)
    checkExtendedAttributes(path)
    switch status.st_mode & S_IFMT {
    case S_IFDIR:
      let entries = try checkListing(path, status, parent: parent)
      for entry in entries where entry.name != "." && entry.name != ".." {
        try checkTree("\(path)/\(entry.name)", parent: status)
      }
    case S_IFREG: try checkFile(path, status)
    case S_IFLNK: checkLink(path, status)
    default: checkNoDirectory(path)
    }
  }

  // MARK: - Attributes

  private static func status(of path: String) throws -> stat {
    var status = stat()
    guard lstat(path, &status) == 0 else { throw TreeRecord.Failure(path: path, errno: errno) }
    return status
  }

  private mutating func checkAttributes(_ path: String, _ status: stat) {
    var fields = [UInt64](repeating: 0, count: 11)
    expect(ctest_statx(path, &fields) == 0, path, "statx fails")
    let known: [UInt64] = [
      UInt64(status.st_mode), UInt64(status.st_uid), UInt64(status.st_gid), UInt64(status.st_nlink),
      UInt64(bitPattern: Int64(status.st_size)), UInt64(bitPattern: Int64(status.st_mtim.tv_sec)), UInt64(status.st_ino),
    ]
    expect(Array(fields.prefix(7)) == known, path, "stat and statx differ: \(known) and \(fields)")
    expect(fields[7] << 8 | fields[8] == UInt64(status.st_rdev), path, "stat and statx differ about the device")
    let handle = ctest_open_path(path)
    expect(handle >= 0, path, "it cannot be opened with O_PATH")
    if handle >= 0 {
      var other = stat()
      expect(fstat(handle, &other) == 0 && Self.isSame(other, status), path, "stat and fstat differ")
      close(handle)
    }
    expect(status.st_nlink > 0, path, "it has no name")
    expect(status.st_ino > 0, path, "its inode number is 0")
  }

  static func isSame(_ a: stat, _ b: stat) -> Bool {
    a.st_mode == b.st_mode && a.st_uid == b.st_uid && a.st_gid == b.st_gid && a.st_nlink == b.st_nlink && a.st_size == b.st_size
      && a.st_ino == b.st_ino && a.st_rdev == b.st_rdev && a.st_mtim.tv_sec == b.st_mtim.tv_sec
      && a.st_ctim.tv_sec == b.st_ctim.tv_sec && a.st_blocks == b.st_blocks && a.st_dev == b.st_dev
  }

  /// Nothing changes it, and the errors say why.
  private mutating func checkChanges(_ path: String, _ status: stat) {
    let kind = status.st_mode & S_IFMT
    if kind != S_IFLNK {
      expect(EROFS, path, "chmod") { Int(chmod(path, 0o600)) }
      expect(EROFS, path, "setxattr") { Int(lsetxattr(path, "user.new", "x", 1, 0)) }
      expect(EROFS, path, "removexattr") { Int(lremovexattr(path, "user.new")) }
    }
    expect(EROFS, path, "lchown") { Int(lchown(path, 1, 1)) }
    expect(EROFS, path, "utimensat") { Int(utimensat(AT_FDCWD, path, nil, AT_SYMLINK_NOFOLLOW)) }
    // Nobody moves or removes where something is mounted.
    if path != root { expect(EROFS, path, "rename") { Int(rename(path, path + "-new")) } }
    if kind == S_IFDIR {
      expect(EROFS, path, "symlink") { Int(symlink("x", path + "/new")) }
      expect(EROFS, path, "mkdir") { Int(mkdir(path + "/new", 0o755)) }
      expect(EROFS, path, "mknod") { Int(mknod(path + "/new", S_IFIFO | 0o600, 0)) }
      expect(EROFS, path, "creating a file") { Int(open(path + "/new", O_WRONLY | O_CREAT, 0o600)) }
      if path != root { expect(EROFS, path, "rmdir") { Int(rmdir(path)) } }
      expect(EISDIR, path, "opening for writing") { Int(open(path, O_WRONLY)) }
    } else {
      expect(EROFS, path, "unlink") { Int(unlink(path)) }
      expect(EROFS, path, "link") { Int(link(path, path + "-new")) }
    }
    if kind == S_IFREG {
      expect(EROFS, path, "opening for writing") { Int(open(path, O_WRONLY)) }
      expect(EROFS, path, "opening to truncate") { Int(open(path, O_RDONLY | O_TRUNC)) }
      expect(EROFS, path, "truncate") { Int(truncate(path, 0)) }
    }
    if kind == S_IFREG || kind == S_IFDIR {
      expect(EROFS, path, "access for writing") { Int(access(path, W_OK)) }
      expect(0, path, "access for reading by root") { Int(access(path, R_OK)) }
    }
    // Root may search every directory, and run what anybody may run.
    if kind == S_IFREG { expect(status.st_mode & 0o111 == 0 ? EACCES : 0, path, "access for running") { Int(access(path, X_OK)) } }
    if kind == S_IFDIR { expect(0, path, "access for searching") { Int(access(path, X_OK)) } }
  }

  private mutating func checkExtendedAttributes(_ path: String) {
    let size = llistxattr(path, nil, 0)
    expect(size >= 0, path, "its attributes have no size: \(Errno(rawValue: errno))")
    guard size >= 0 else { return }
    var names = [CChar](repeating: 0, count: size + 1)
    expect(llistxattr(path, &names, size) == size, path, "its attributes are not as long as their size")
    if size > 1 { expect(ERANGE, path, "listxattr into less than it takes") { llistxattr(path, &names, size - 1) } }
    expect(ENODATA, path, "getxattr of an absent name") { lgetxattr(path, "user.absent", nil, 0) }
    for name in names.prefix(size).split(separator: 0) {
      let name = Array(name) + [0]
      let length = lgetxattr(path, name, nil, 0)
      expect(length >= 0, path, "a listed attribute cannot be read")
      guard length >= 0 else { continue }
      var value = [UInt8](repeating: 0, count: length + 10)
      expect(lgetxattr(path, name, &value, length) == length || length == 0, path, "an attribute is not as long as its size")
      expect(lgetxattr(path, name, &value, length + 10) == length, path, "an attribute fills more than its size")
      if length > 1 { expect(ERANGE, path, "getxattr into less than it takes") { lgetxattr(path, name, &value, length - 1) } }
    }
  }

  // MARK: - Contents

  private mutating func checkFile(_ path: String, _ status: stat) throws {
    checkNoDirectory(path)
    expect(EINVAL, path, "readlink") { Int(readlink(path, &Self.scratch, 10)) }
    let file = open(path, O_RDONLY | O_CLOEXEC)
    expect(file >= 0, path, "it cannot be opened: \(Errno(rawValue: errno))")
    guard file >= 0 else { return }
    defer { close(file) }
    var other = stat()
    expect(fstat(file, &other) == 0 && Self.isSame(other, status), path, "stat and fstat differ")
    let size = Int(status.st_size)
    let whole = try TreeRecord.bytes(of: FilePath(path))
    expect(whole.count == size, path, "\(whole.count) bytes instead of \(size)")
    let places = [
      0, 1, 511, 4095, 4096, 4097, 65_535, 131_071, 131_072, 131_073, size / 2, size - 1, size, size + 1, size + 1 << 20,
    ]
    for offset in places where offset >= 0 {
      for count in [1, 13, 4096, 200_001] {
        var buffer = [UInt8](repeating: 0xee, count: count + 1)
        let got = pread(file, &buffer, count, off_t(offset))
        expect(
          got == max(0, min(count, size - offset))
            && buffer.prefix(max(0, got)).elementsEqual(whole.dropFirst(offset).prefix(count)),
          path, "pread of \(count) at \(offset) gives \(got), or other bytes")
        expect(buffer[count] == 0xee, path, "pread writes past its buffer")
      }
    }
    expect(EINVAL, path, "pread before the start") { pread(file, &Self.scratch, 1, -1) }
    expect(0, path, "pread far past the end") { pread(file, &Self.scratch, 1, off_t.max - 4096) }
    expect(lseek(file, 0, SEEK_END) == off_t(size), path, "its end is not at its size")
    expect(EBADF, path, "writing to what is open for reading") { write(file, "x", 1) }
    guard size > 0 else { return }
    let memory = mmap(nil, size, PROT_READ, MAP_PRIVATE, file, 0)
    guard let memory, memory != MAP_FAILED else { return expect(false, path, "it cannot be mapped") }
    expect(UnsafeRawBufferPointer(start: memory, count: size).elementsEqual(whole), path, "its mapping has other bytes")
    munmap(memory, size)
  }

  /// Results that nobody looks at.
  nonisolated(unsafe) static var scratch = [CChar](repeating: 0, count: 8192)

  private mutating func checkLink(_ path: String, _ status: stat) {
    var buffer = [CChar](repeating: 0, count: 8192)
    let count = readlink(path, &buffer, buffer.count)
    expect(count == Int(status.st_size) && count > 0, path, "its target is not as long as its size")
    for limit in [1, max(1, count / 2), count, count + 1] {
      var part = [CChar](repeating: 0x7f, count: limit + 1)
      let got = readlink(path, &part, limit)
      expect(
        got == min(limit, count) && part.prefix(max(0, got)) == buffer.prefix(max(0, got)), path, "readlink into \(limit) bytes")
      expect(part[limit] == 0x7f, path, "readlink writes past its buffer")
    }
    expect(EINVAL, path, "readlink into nothing") { readlink(path, &buffer, 0) }
    expect(ELOOP, path, "open with O_NOFOLLOW") { Int(open(path, O_RDONLY | O_NOFOLLOW)) }
  }

  /// What holds for all that is no directory, and no link.
  private mutating func checkNoDirectory(_ path: String) {
    var status = stat()
    expect(ENOTDIR, path, "stat of a name below") { Int(lstat(path + "/x", &status)) }
    expect(ENOTDIR, path, "stat of itself with a slash") { Int(lstat(path + "/", &status)) }
    expect(ENOTDIR, path, "opening as a directory") { Int(open(path, O_RDONLY | O_DIRECTORY | O_NONBLOCK)) }
    expect(ENOTDIR, or: EROFS, path, "rmdir") { Int(rmdir(path)) }
  }
}
