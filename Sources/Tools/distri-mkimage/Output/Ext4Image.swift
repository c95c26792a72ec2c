// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import FoundationEssentials
import Glibc
import SystemPackage

/// Writes an ext4 file system into a file, without root, loop devices or a copy of the tree.
///
/// `mke2fs` makes it, `debugfs` fills it from a script. Owners, modes, times and the order of everything come from the plan, never from
/// files of the host, so that the same plan always gives the same bytes, whoever runs it.
struct Ext4Image {
  let contents: Contents
  /// 16 bytes.
  let uuid: [UInt8]
  /// At most 16 bytes.
  let label: String
  /// Seconds since 1970, of everything.
  let time: Int64

  private static let blockSize: UInt64 = 4096
  private static let journalMegabytes: UInt64 = 16
  /// All that the format does: the host's mke2fs.conf has no say.
  private static let features = [
    "none", "has_journal", "ext_attr", "resize_inode", "dir_index", "filetype", "extent", "64bit", "flex_bg", "metadata_csum",
    "sparse_super", "large_file", "huge_file", "dir_nlink", "extra_isize",
  ]

  /// The least that the contents need, in bytes: data, directories, inode tables (an inode of 256 bytes per 16 KiB), journal.
  var neededByteCount: UInt64 {
    var blocks: UInt64 = 0
    for (_, node) in contents.entries {
      switch node.kind {
      // One block of extents for each 128 MiB of data.
      case .regular(let source): blocks += (source.byteCount + Self.blockSize - 1) / Self.blockSize + (source.byteCount >> 27)
      case .directory: blocks += 1
      case .symbolicLink, .characterDevice: blocks += 1
      }
    }
    let data = blocks * Self.blockSize
    return data + data / 40 + ((Self.journalMegabytes + 8) << 20)
  }

  /// The size where none is given: what is needed and 64 MiB for the machine's own files; whole MiB.
  var defaultByteCount: UInt64 { ((neededByteCount >> 20) + 65) << 20 }

  /// Makes a file of its own, which must not exist.
  ///
  /// - Parameter work: a directory for temporary files.
  /// - Throws: as ``write(into:range:work:)``.
  func write(to path: FilePath, byteCount: UInt64, work: FilePath) throws {
    let file = try FileDescriptor.open(
      path, .readWrite, options: [.create, .exclusiveCreate, .closeOnExec], permissions: [.ownerReadWrite, .groupRead, .otherRead])
    defer { try? file.close() }
    try file.resize(to: Int64(byteCount))
    try write(into: path, range: 0..<byteCount, work: work)
    guard fsync(file.rawValue) == 0 else { throw Errno(rawValue: errno) }
  }

  /// Writes the file system into a range of a file, in bytes, which must be zeros.
  ///
  /// - Throws: ``MkimageError/tooSmall(_:needed:)``; ``MkimageError/missingTool(_:package:)``; ``MkimageError/toolFailed(_:status:words:)``.
  func write(into path: FilePath, range: Range<UInt64>, work: FilePath) throws {
    let byteCount = UInt64(range.count)
    guard byteCount >= neededByteCount else { throw MkimageError.tooSmall(byteCount, needed: neededByteCount) }
    let mke2fs = try ChildProcess.locate("mke2fs", package: "e2fsprogs")
    let debugfs = try ChildProcess.locate("debugfs", package: "e2fsprogs")
    let environment = ["E2FSPROGS_FAKE_TIME": "\(time)", "SOURCE_DATE_EPOCH": "\(time)", "MKE2FS_CONFIG": "/dev/null"]
    let id = text(ofUUID: uuid)
    try ChildProcess.run(
      mke2fs,
      [
        "-q", "-F", "-b", "\(Self.blockSize)", "-I", "256", "-i", "16384", "-m", "0", "-J", "size=\(Self.journalMegabytes)",
        "-O", Self.features.joined(separator: ","), "-U", id, "-L", label, "-E",
        "offset=\(range.lowerBound),hash_seed=\(id),lazy_itable_init=0,lazy_journal_init=0,nodiscard,root_owner=0:0",
        path.string, "\(byteCount / 1024)k",
      ], environment: environment, work: work)
    let script = work.appending("debugfs.script")
    try Data(try makeScript(work: work)).write(to: URL(filePath: script.string))
    // debugfs goes on after a command that failed; each failure is said on standard error.
    try ChildProcess.run(
      debugfs, ["-w", "-f", script.string, "\(path)?offset=\(range.lowerBound)"], environment: environment, work: work,
      mayComplain: false)
  }

  /// The commands that fill the file system. Files that exist only as bytes are laid down in `work`.
  func makeScript(work: FilePath) throws -> [UInt8] {
    var script: [UInt8] = []
    for (index, entry) in contents.entries.enumerated() {
      let path = try Self.quoted([UInt8(ascii: "/")] + entry.path.bytes)
      let type: UInt16
      switch entry.node.kind {
      case .directory:
        type = 0o040000
        script += Array("mkdir ".utf8) + path
      case .regular(let source):
        type = 0o100000
        script += Array("write ".utf8) + (try Self.quoted(Array(try file(for: source, index: index, work: work).utf8)))
        script += Array(" ".utf8) + path
      case .symbolicLink(let target):
        type = 0o120000
        script += Array("symlink ".utf8) + path + Array(" ".utf8) + (try Self.quoted(target))
      case .characterDevice(let major, let minor):
        type = 0o020000
        script += Array("mknod ".utf8) + path + Array(" c \(major) \(minor)".utf8)
      }
      script.append(UInt8(ascii: "\n"))
      var fields = [("mode", "0" + String(type | entry.node.permissions, radix: 8))]
      if entry.node.userID != 0 { fields.append(("uid", "\(entry.node.userID)")) }
      if entry.node.groupID != 0 { fields.append(("gid", "\(entry.node.groupID)")) }
      for (name, value) in fields {
        script += Array("set_inode_field ".utf8) + path + Array(" \(name) \(value)\n".utf8)
      }
    }
    return script
  }

  private func file(for source: Contents.Source, index: Int, work: FilePath) throws -> String {
    switch source {
    case .file(let path, _): return path.string
    case .bytes(let bytes):
      let path = work.appending("file\(index)")
      try Data(bytes).write(to: URL(filePath: path.string))
      return path.string
    }
  }

  /// A word of a script: in quotes, quotes inside doubled. debugfs reads lines, and words of no more than a few thousand bytes.
  private static func quoted(_ bytes: [UInt8]) throws -> [UInt8] {
    guard bytes.count <= 3000, !bytes.isEmpty, !bytes.contains(where: { $0 < 0x20 || $0 == 0x7f }) else {
      throw MkimageError.unusableFile(
        String(decoding: bytes.prefix(100).map { $0 < 0x20 ? UInt8(ascii: "?") : $0 }, as: UTF8.self),
        reason: "a name or link target with control characters, empty, or of more than 3000 bytes")
    }
    let quote = UInt8(ascii: "\"")
    return [quote] + bytes.flatMap { $0 == quote ? [quote, quote] : [$0] } + [quote]
  }
}
