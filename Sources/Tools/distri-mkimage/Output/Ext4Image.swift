// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore
import Glibc
import SystemPackage

/// Writes an ext4 file system into a file, without root, loop devices or a copy of the tree.
///
/// `mke2fs` makes it, `debugfs` fills it from a script, and the data of large files goes past that: see ``Ext4Data``. Owners, modes, times
/// and the order of everything come from the plan, never from files of the host, so that the same plan always gives the same bytes,
/// whoever runs it.
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

  /// Where debugfs begins to number what it makes; mke2fs has made the directory `lost+found`, number 11.
  private static let firstInode: UInt64 = 12

  /// The inode numbers that the contents will have: debugfs takes the lowest that is free, and makes one after the other.
  static func inodes(of contents: Contents) -> [TreePath: UInt64] {
    Dictionary(uniqueKeysWithValues: contents.entries.enumerated().map { ($1.path, firstInode + UInt64($0)) })
  }

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
    let program = try ChildProcess.locate("debugfs", package: "e2fsprogs")
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
    func debugfs(_ commands: [UInt8]) throws -> [UInt8] {
      let script = work.appending("debugfs.script")
      try Scratch.write(commands, to: script)
      // debugfs goes on after a command that failed; each failure is said on standard error.
      return try ChildProcess.run(
        program, ["-w", "-f", script.string, "\(path)?offset=\(range.lowerBound)"], environment: environment, work: work,
        mayComplain: false)
    }
    let said = try debugfs(try makeScript(work: work))
    let large = contents.entries.filter { Self.hasDataOfItsOwn($0.node) }
    if large.isEmpty { return }
    let data = Ext4Data.parse(said)
    let script = try makeScript(for: large, at: data)
    let disk = try FileDescriptor.open(path, .readWrite, options: .closeOnExec)
    defer { try? disk.close() }
    try concurrently(large.count) { index in
      guard case .regular(.file(let source, let byteCount)) = large[index].node.kind, data[index].fitsInode else { return }
      try data[index].copy(source, byteCount: byteCount, to: disk, offset: range.lowerBound, blockSize: Self.blockSize)
    }
    _ = try debugfs(script)
  }

  /// Whether the data of a file is copied past debugfs.
  private static func hasDataOfItsOwn(_ node: Contents.Node) -> Bool {
    guard case .regular(.file(_, let byteCount)) = node.kind else { return false }
    return byteCount >= Ext4Data.smallestByteCount
  }

  private static func blockCount(of node: Contents.Node) -> UInt64 {
    guard case .regular(let source) = node.kind else { return 0 }
    return (source.byteCount + blockSize - 1) / blockSize
  }

  /// The commands that fill the file system. Files that exist only as bytes are laid down in `work`; the data of large ones is missing.
  private func makeScript(work: FilePath) throws -> [UInt8] {
    var script: [UInt8] = []
    for (index, entry) in contents.entries.enumerated() {
      let path = try Self.quoted([UInt8(ascii: "/")] + entry.path.bytes)
      switch entry.node.kind {
      case .directory:
        script += Self.line("mkdir", path)
      case .regular(let source) where Self.hasDataOfItsOwn(entry.node):
        script += Self.line("write /dev/null", path)
        script += Self.line("fallocate", path, "0 \(Self.blockCount(of: entry.node) - 1)")
        script += Self.line("set_inode_field", path, "size \(source.byteCount)")
        script += Self.line("dump_extents", path)
      case .regular(let source):
        script += Self.line("write", try Self.quoted(Array(try file(for: source, index: index, work: work).utf8)) + [0x20] + path)
      case .symbolicLink(let target):
        script += Self.line("symlink", path + [0x20] + (try Self.quoted(target)))
      case .characterDevice(let major, let minor):
        script += Self.line("mknod", path, "c \(major) \(minor)")
      }
      script += Self.fields(of: entry.node, path)
    }
    return script
  }

  /// The commands that say that the data is where it is. A file in so many parts that its inode does not list them is written by debugfs after all.
  private func makeScript(for files: [(path: TreePath, node: Contents.Node)], at data: [Ext4Data]) throws -> [UInt8] {
    var script: [UInt8] = []
    guard files.count == data.count else { throw Self.unexpected("it lists \(data.count) files of \(files.count)") }
    for ((path, node), data) in zip(files, data) {
      guard data.covers(blocks: Self.blockCount(of: node)) else { throw Self.unexpected("not all blocks of /\(path) are listed") }
      let name = try Self.quoted([UInt8(ascii: "/")] + path.bytes)
      if data.fitsInode {
        for (place, value) in data.writtenWords { script += Self.line("set_inode_field", name, "block[\(place)] \(value)") }
      } else if case .regular(.file(let source, _)) = node.kind {
        script += Self.line("rm", name)
        script += Self.line("write", try Self.quoted(Array(source.string.utf8)) + [0x20] + name)
        script += Self.fields(of: node, name)
      }
    }
    return script
  }

  private static func unexpected(_ words: String) -> MkimageError {
    .toolFailed("debugfs", status: 0, words: "\(words); is this a version of e2fsprogs that nobody has tried?")
  }

  /// The commands that give a file its mode and owner.
  private static func fields(of node: Contents.Node, _ path: [UInt8]) -> [UInt8] {
    let type: UInt16 =
      switch node.kind {
      case .directory: 0o040000
      case .regular: 0o100000
      case .symbolicLink: 0o120000
      case .characterDevice: 0o020000
      }
    var fields = [("mode", "0" + String(type | node.permissions, radix: 8))]
    if node.userID != 0 { fields.append(("uid", "\(node.userID)")) }
    if node.groupID != 0 { fields.append(("gid", "\(node.groupID)")) }
    return fields.flatMap { line("set_inode_field", path, "\($0) \($1)") }
  }

  private static func line(_ command: String, _ path: [UInt8], _ rest: String = "") -> [UInt8] {
    Array(command.utf8) + [0x20] + path + Array(" \(rest)\n".utf8)
  }

  private func file(for source: Contents.Source, index: Int, work: FilePath) throws -> String {
    switch source {
    case .file(let path, _): return path.string
    case .bytes(let bytes):
      let path = work.appending("file\(index)")
      try Scratch.write(bytes, to: path)
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
