// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import FoundationEssentials
import Glibc
import SystemPackage

/// The directory that holds an image and what boots it. It appears whole, or the old one stays.
struct OutputDirectory {
  /// The file names in it.
  static let disk = "disk.img"
  static let kernel = "vmlinuz"
  static let initramfs = "initramfs"
  static let commandLine = "cmdline"
  private static let all: Set = [disk, kernel, initramfs, commandLine]

  /// Where it appears.
  let path: FilePath

  /// Gives the body a directory for the files, and a second one for what is thrown away, both beside the place where the files appear
  /// when the body returns.
  ///
  /// - Throws: ``MkimageError/unusableFile(_:reason:)`` when the place holds anything but an earlier output; what the body throws.
  func replace<R>(_ body: (_ output: FilePath, _ work: FilePath) throws -> R) throws -> R {
    let files = FileManager.default
    let old = (try? files.contentsOfDirectory(atPath: path.string)) ?? []
    guard let name = path.lastComponent, Self.all.isSuperset(of: old) else {
      throw MkimageError.unusableFile(
        path.string, reason: "it holds other files; give an empty directory, or one with an earlier image")
    }
    let parent = path.removingLastComponent()
    let base = parent.isEmpty ? FilePath(".") : parent
    try files.createDirectory(atPath: base.string, withIntermediateDirectories: true)
    let (scratch, lock) = try Self.makeScratch(in: base, for: name.string)
    defer {
      try? files.removeItem(atPath: scratch.string)
      try? lock.close()
    }
    let (output, work) = (scratch.appending("output"), scratch.appending("work"))
    for directory in [output, work] { try files.createDirectory(atPath: directory.string, withIntermediateDirectories: false) }
    let result = try body(output, work)
    for file in try files.contentsOfDirectory(atPath: output.string) { try Self.sync(output.appending(file)) }
    try Self.sync(output)
    if rename(output.string, path.string) != 0 {
      // Not empty: swapped in one step; the old one goes with the scratch directory.
      try exchangeNames(output, path)
    }
    try Self.sync(base)
    return result
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

  private static func sync(_ path: FilePath) throws {
    let file = try FileDescriptor.open(path, .readOnly, options: .closeOnExec)
    defer { try? file.close() }
    guard fsync(file.rawValue) == 0 else { throw Errno(rawValue: errno) }
  }
}
