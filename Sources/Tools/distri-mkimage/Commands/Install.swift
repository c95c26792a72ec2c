// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import DistriStore
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

      An image that was built with --encrypt has one key, and one passphrase, wherever it lies. With --encrypt here, too, this disk gets its own:
      the root is encrypted anew, in a file that takes as much room where TMPDIR says.

        distri-mkimage install server.img --to /dev/sdb --dry-run
        distri-mkimage install server.img --to /dev/sdb
        distri-mkimage install encrypted.img --to /dev/sdb --encrypt
      """)

  @Argument(help: ArgumentHelp("A disk in the format raw.", valueName: "image"))
  var image: String

  @Option(help: ArgumentHelp("The disk to overwrite: a device, or a file.", valueName: "disk"))
  var to: String

  @Flag(help: "Give the encrypted root of the image a key and a passphrase of this disk's own.")
  var encrypt = false

  @OptionGroup var passphrase: PassphraseOptions

  @Option(
    help: ArgumentHelp(
      "The passphrase of the image is the first line of this file, for --encrypt. Default: the terminal asks.", valueName: "file"))
  var imagePassphraseFile: String?

  @Flag(help: "Show what would be lost, and change nothing.")
  var dryRun = false

  @Flag(help: "Do not ask.")
  var yes = false

  func validate() throws {
    guard encrypt || passphrase.passphraseFile == nil && imagePassphraseFile == nil else {
      throw ValidationError("a passphrase is for --encrypt")
    }
  }

  func run() throws {
    let path = FilePath(image)
    guard try DiskFormat(ofFileAt: path) == .raw else {
      throw MkimageError.unusableFile(image, reason: "it is not in the format raw; qemu-img convert -O raw makes that of it")
    }
    let file = try FileDescriptor.open(path, .readOnly, options: .closeOnExec)
    defer { try? file.close() }
    let size = UInt64(try file.seek(offset: 0, from: .end))
    guard let partitions = try PartitionReader(file: file, byteCount: size).partitions(path: path) else {
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
    let root = try encryptedRoot(of: partitions, in: file)
    say("\(to): \(try describe(target))")
    say("All of it will be overwritten by \(image), \(size) bytes.")
    if let root {
      say(
        encrypt
          ? "Its root, \(root.count) bytes, will be encrypted with a key of this disk's own."
          : "Its root is encrypted with the key that all disks of this image have; --encrypt gives this one its own.")
    }
    guard !dryRun else { return }
    try confirm()
    guard encrypt, let root else { return try write(file, size, to: target) }
    try Scratch.withDirectory { work in
      let renewed = try renewedRoot(root, of: file, work: work)
      defer { try? renewed.close() }
      try write(file, size, to: target, replacing: .init(range: root, file: renewed))
    }
  }

  private func write(
    _ file: FileDescriptor, _ size: UInt64, to target: DiskTarget, replacing replacement: DiskTarget.Replacement? = nil
  ) throws {
    let progress = ProgressDisplay("install", total: size, unit: .bytes)
    defer { progress.finish() }
    try target.write(file, byteCount: size, replacing: replacement) { progress.advance(by: $0) }
    if let room = target.byteCount, room > size { try Scratch.withDirectory { try target.relocateTable(work: $0) } }
  }

  /// Where the encrypted root of the image is, in bytes; nil for one that is not.
  ///
  /// - Throws: ``MkimageError/unusableFile(_:reason:)`` when it cannot get another key, and shall.
  private func encryptedRoot(of partitions: [PartitionReader.Partition], in file: FileDescriptor) throws -> Range<UInt64>? {
    guard let root = partitions.first(where: { $0.type == PartitionTable.Kind.root.type }),
      try DiskEncryption.isHeader(at: root.offset, of: file)
    else {
      guard encrypt else { return nil }
      throw MkimageError.unusableFile(
        image,
        reason:
          "its root is not encrypted, and what it boots could not open one that is; build it with --encrypt, then each disk can get a key of its own"
      )
    }
    guard root.offset >= DiskTarget.firstReplaceable else {
      throw MkimageError.unusableFile(image, reason: "its root lies where the partition table is")
    }
    if encrypt { _ = try DiskEncryption.program() }
    return root.offset..<root.offset + root.byteCount
  }

  /// Encrypts a copy of the root anew.
  private func renewedRoot(_ root: Range<UInt64>, of file: FileDescriptor, work: FilePath) throws -> FileDescriptor {
    var room = statvfs()
    guard statvfs(work.string, &room) == 0 else { throw Errno(rawValue: errno) }
    guard UInt64(room.f_bavail) * UInt64(room.f_frsize) >= UInt64(root.count) else {
      throw MkimageError.unusableFile(
        "the directory of temporary files", reason: "it has no room for \(root.count) bytes; TMPDIR names another")
    }
    let old = try Passphrase.read(
      from: imagePassphraseFile, option: "--image-passphrase-file", prompt: "Passphrase of the image: ")
    let new = try passphrase.read()
    let partition = work.appending("root")
    let copy = try FileDescriptor.open(
      partition, .readWrite, options: [.create, .exclusiveCreate, .closeOnExec], permissions: [.ownerReadWrite])
    do {
      guard try file.copy(at: root.lowerBound, to: copy, at: 0, byteCount: UInt64(root.count)) == root.count else {
        throw MkimageError.unusableFile(image, reason: "it has become shorter")
      }
      say("Encrypting …")
      try DiskEncryption.renew(partition, from: old, to: new, image: image, work: work)
      return copy
    } catch {
      try? copy.close()
      throw error
    }
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
