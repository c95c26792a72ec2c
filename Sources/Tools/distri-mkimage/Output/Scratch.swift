// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import FoundationEssentials
import Glibc
import SystemPackage

/// A directory beside the place where something shall appear, in which it is made: appearing is then a rename.
enum Scratch {
  /// Gives the body two paths in such a directory: that of what is made, where nothing is yet, and an empty directory for what is thrown away.
  /// The body moves the output to its place; the directory goes in any case, and with it those of killed builders.
  static func with<R>(beside path: FilePath, name: String, _ body: (_ output: FilePath, _ work: FilePath) throws -> R) throws -> R {
    let files = FileManager.default
    let parent = path.removingLastComponent()
    let base = parent.isEmpty ? FilePath(".") : parent
    try files.createDirectory(atPath: base.string, withIntermediateDirectories: true)
    let (scratch, lock) = try makeScratch(in: base, for: name)
    defer {
      try? files.removeItem(atPath: scratch.string)
      try? lock.close()
    }
    let work = scratch.appending("work")
    try files.createDirectory(atPath: work.string, withIntermediateDirectories: false)
    let result = try body(scratch.appending("output"), work)
    try sync(base)
    return result
  }

  /// Gives the body an empty directory for what is thrown away, where temporary files are.
  static func withDirectory<R>(_ body: (_ work: FilePath) throws -> R) throws -> R {
    let place = FilePath(ProcessInfo.processInfo.environment["TMPDIR"] ?? "/tmp").appending("distri-mkimage")
    return try with(beside: place, name: "distri-mkimage-\(getuid())") { try body($1) }
  }

  /// Writes a new file for a tool to read. Unlike Foundation it does not wait for the disk: the file does not outlive the tool.
  static func write(_ bytes: [UInt8], to path: FilePath) throws {
    let file = try FileDescriptor.open(
      path, .writeOnly, options: [.create, .truncate, .closeOnExec], permissions: [.ownerReadWrite, .groupRead, .otherRead])
    try file.closeAfter { _ = try file.writeAll(bytes) }
  }

  /// Makes a directory that is locked as long as its builder lives, and removes those that killed builders have left.
  private static func makeScratch(in base: FilePath, for name: String) throws -> (FilePath, FileDescriptor) {
    let directory = try FileDescriptor.open(base, .readOnly, options: [.closeOnExec, .directory])
    defer { try? directory.close() }
    // Held until the new directory has its own lock, so that nobody takes it for a leftover.
    guard flock(directory.rawValue, LOCK_EX) == 0 else { throw Errno(rawValue: errno) }
    let prefix = ".\(name).partial-"
    for entry in try FileManager.default.contentsOfDirectory(atPath: base.string) where entry.hasPrefix(prefix) {
      let path = base.appending(entry)
      guard let file = try? FileDescriptor.open(path, .readOnly, options: [.closeOnExec, .directory, .noFollow]) else { continue }
      if flock(file.rawValue, LOCK_EX | LOCK_NB) == 0 { try? FileManager.default.removeItem(atPath: path.string) }
      try? file.close()
    }
    var template = Array(base.appending(prefix + "XXXXXX").string.utf8CString)
    guard let made = mkdtemp(&template) else { throw MkimageError.unusableFile(base.string, reason: "\(Errno(rawValue: errno))") }
    let path = FilePath(String(cString: made)).resolved()
    let lock = try FileDescriptor.open(path, .readOnly, options: [.closeOnExec, .directory])
    guard flock(lock.rawValue, LOCK_EX) == 0 else { throw Errno(rawValue: errno) }
    return (path, lock)
  }

  static func sync(_ path: FilePath) throws {
    let file = try FileDescriptor.open(path, .readOnly, options: .closeOnExec)
    defer { try? file.close() }
    guard fsync(file.rawValue) == 0 else { throw Errno(rawValue: errno) }
  }
}
