// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import FoundationEssentials
import Glibc
import SystemPackage
import ToolSupport

/// `distri-mkimage install`.
struct Install: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Write an image onto a disk.",
    discussion: """
      Shows what is on the disk, and asks before all of that is lost. A disk that is in use is refused. An installation that breaks off
      leaves a disk without a partition table, never one that looks whole.

        distri-mkimage install server.img --to /dev/sdb --dry-run
        distri-mkimage install server.img --to /dev/sdb
      """)

  @Argument(help: ArgumentHelp("A disk in the format raw.", valueName: "image"))
  var image: String

  @Option(help: ArgumentHelp("The disk to overwrite: a device, or a file.", valueName: "disk"))
  var to: String

  @Flag(help: "Show what would be lost, and change nothing.")
  var dryRun = false

  @Flag(help: "Do not ask.")
  var yes = false

  func run() throws {
    let path = FilePath(image)
    guard try DiskFormat(ofFileAt: path) == .raw else {
      throw MkimageError.unusableFile(image, reason: "it is not in the format raw; qemu-img convert -O raw makes that of it")
    }
    let file = try FileDescriptor.open(path, .readOnly, options: .closeOnExec)
    defer { try? file.close() }
    let size = UInt64(try file.seek(offset: 0, from: .end))
    guard try PartitionReader(file: file, byteCount: size).partitions(path: path) != nil else {
      throw MkimageError.unusableFile(
        image, reason: "it has no partition table: no disk would boot from it; build --layout gpt makes one")
    }
    let target = try DiskTarget(path: FilePath(to))
    guard path.resolved() != target.path.resolved() else {
      throw MkimageError.unusableFile(to, reason: "it is the image itself")
    }
    let users = try target.users()
    guard users.isEmpty else {
      throw MkimageError.unusableFile(to, reason: "it is in use: \(users.joined(separator: "; "))")
    }
    if let room = target.byteCount, target.isDevice, room < size {
      throw MkimageError.unusableFile(to, reason: "it has \(room) bytes, the image \(size)")
    }
    say("\(to): \(try describe(target))")
    say("All of it will be overwritten by \(image), \(size) bytes.")
    guard !dryRun else { return }
    try confirm()
    let progress = ProgressDisplay("install", total: size, unit: .bytes)
    defer { progress.finish() }
    try target.write(file, byteCount: size) { progress.advance(by: $0) }
    if let room = target.byteCount, room > size { try Scratch.withDirectory { try target.relocateTable(work: $0) } }
  }

  /// What would be lost.
  private func describe(_ target: DiskTarget) throws -> String {
    guard let size = target.byteCount else { return "is not there yet" }
    let file = try FileDescriptor.open(target.path, .readOnly, options: .closeOnExec)
    defer { try? file.close() }
    let kind = "\(target.isDevice ? "a disk" : "a file") of \(size) bytes"
    // A table that is damaged is one that goes, too.
    guard let partitions = try? PartitionReader(file: file, byteCount: size).partitions(path: target.path) else {
      return "\(kind) without a GUID partition table"
    }
    return "\(kind) with \(partitions.count) partitions"
      + partitions.map { "\n  \($0.number) «\($0.name)», \($0.byteCount) bytes" }.joined()
  }

  private func confirm() throws {
    guard !yes else { return }
    guard isatty(STDIN_FILENO) == 1 else {
      throw ValidationError("nobody is there to be asked; --yes goes ahead without")
    }
    say("Type «yes» to go on:")
    guard readLine() == "yes" else { throw ValidationError("nothing has been changed") }
  }

  private func say(_ line: String) {
    let printable = line.unicodeScalars.map { $0 != "\n" && $0.properties.generalCategory == .control ? "\u{fffd}" : $0 }
    _ = try? FileDescriptor.standardError.writeAll(Array((String(String.UnicodeScalarView(printable)) + "\n").utf8))
  }
}
