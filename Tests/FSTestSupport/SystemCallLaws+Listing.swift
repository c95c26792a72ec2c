// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import CTestCalls
import Glibc
import SystemPackage

extension SystemCallLaws {
  /// What getdents64 says of a name.
  struct Entry: Equatable {
    var name: String
    var inode: UInt64
    var type: UInt8
    /// Where the next one is.
    var position: Int64
  }

  /// The rest of a listing from where the descriptor is, a buffer at a time.
  static func entries(of directory: Int32, bufferSize: Int, _ path: String) throws -> [Entry] {
    var entries: [Entry] = []
    var buffer = [UInt8](repeating: 0, count: bufferSize)
    while true {
      let count = ctest_getdents(directory, &buffer, bufferSize)
      guard count >= 0 else { throw TreeRecord.Failure(path: "\(path) (getdents64)", errno: errno) }
      if count == 0 { return entries }
      buffer.withUnsafeBytes { bytes in
        var offset = 0
        while offset < count {
          let length = Int(bytes.loadUnaligned(fromByteOffset: offset + 16, as: UInt16.self))
          entries.append(
            Entry(
              name: String(decoding: bytes[(offset + 19)..<(offset + length)].prefix { $0 != 0 }, as: UTF8.self),
              inode: bytes.loadUnaligned(fromByteOffset: offset, as: UInt64.self), type: bytes[offset + 18],
              position: bytes.loadUnaligned(fromByteOffset: offset + 8, as: Int64.self)))
          offset += length
        }
      }
    }
  }

  mutating func checkListing(_ path: String, _ status: stat, parent: stat?) throws -> [Entry] {
    let directory = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    guard directory >= 0 else { throw TreeRecord.Failure(path: path, errno: errno) }
    defer { close(directory) }
    var scratch = [UInt8](repeating: 0, count: 16)
    expect(EISDIR, path, "read") { read(directory, &scratch, 1) }
    expect(EINVAL, path, "getdents64 into less than an entry takes") { ctest_getdents(directory, &scratch, 16) }

    let all = try Self.entries(of: directory, bufferSize: 1 << 16, path)
    expect(Set(all.map(\.name)).count == all.count, path, "a name is listed twice")
    expect(all.prefix(2).map(\.name) == [".", ".."], path, "it does not begin with . and ..")
    expect(Set(all.map(\.position)).count == all.count, path, "two entries have the same position")
    // A buffer that holds one name of any length, one of an odd size, and again from the kernel's memory.
    for size in [280, 4099, 1 << 16] {
      expect(lseek(directory, 0, SEEK_SET) == 0, path, "it cannot be rewound")
      let again = try Self.entries(of: directory, bufferSize: size, path)
      expect(again == all, path, "listed \(size) bytes at a time it has \(again.count) entries instead of \(all.count)")
    }
    for index in Set([0, 1, 2, all.count / 3, all.count / 2, all.count - 2, all.count - 1]) where all.indices.contains(index) {
      expect(lseek(directory, off_t(all[index].position), SEEK_SET) >= 0, path, "it cannot be continued")
      let rest = try Self.entries(of: directory, bufferSize: 1000, path)
      expect(rest == Array(all[(index + 1)...]), path, "from its entry \(index) on it has \(rest.count) entries")
    }

    var folders = 0
    for entry in all where entry.name != "." && entry.name != ".." {
      var found = stat()
      guard lstat("\(path)/\(entry.name)", &found) == 0 else {
        expect(false, path, "\(entry.name) is listed and absent: \(Errno(rawValue: errno))")
        continue
      }
      expect(UInt32(entry.type) == (found.st_mode & S_IFMT) >> 12, path, "\(entry.name) has another type than is listed")
      expect(entry.inode == UInt64(found.st_ino), path, "\(entry.name) has another inode number than is listed")
      if found.st_mode & S_IFMT == S_IFDIR { folders += 1 }
    }
    expect(Int(status.st_nlink) == folders + 2, path, "\(status.st_nlink) links, and \(folders) directories in it")
    checkNames(path, status, parent: parent)
    return all
  }

  private mutating func checkNames(_ path: String, _ status: stat, parent: stat?) {
    var found = stat()
    expect(lstat(path + "/.", &found) == 0 && Self.isSame(found, status), path, ". is another directory")
    if let parent { expect(lstat(path + "/..", &found) == 0 && Self.isSame(found, parent), path, ".. is not its parent") }
    expect(ENOENT, path, "stat of an absent name") { Int(lstat(path + "/no such name", &found)) }
    expect(ENOENT, path, "stat of an absent name, again") { Int(lstat(path + "/no such name", &found)) }
    expect(ENOENT, path, "stat of a name of 255 bytes") { Int(lstat(path + "/" + String(repeating: "n", count: 255), &found)) }
    expect(tooLong, path, "stat of a name of 256 bytes") { Int(lstat(path + "/" + String(repeating: "n", count: 256), &found)) }
    expect(EINVAL, path, "readlink") { Int(readlink(path, &Self.scratch, 10)) }
    expect(EISDIR, or: EROFS, path, "unlink") { Int(unlink(path)) }
  }
}
