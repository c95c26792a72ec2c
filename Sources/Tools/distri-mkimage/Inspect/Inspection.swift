// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import Crypto
import DistriStore
import FoundationEssentials
import Glibc
import SystemPackage

/// What is in an image, found out from its bytes alone.
struct Inspection: Encodable, Equatable {
  /// Something that a boot loader starts.
  struct Entry: Encodable, Equatable {
    /// In the boot partition, or in the directory.
    let path: String
    /// `PRETTY_NAME` of the system; empty where it is not said.
    let system: String
    /// The kernel's parameters.
    let parameters: String
    /// SHA-256 of the kernel, hexadecimal.
    let kernel: String
  }

  /// What the file is: `raw`, `qcow2` and so on.
  let format: String
  /// Of the disk, in bytes.
  let byteCount: UInt64
  /// SHA-256 of the disk's sectors, hexadecimal.
  let digest: String
  /// Empty for a bare file system.
  let partitions: [PartitionReader.Partition]
  let entries: [Entry]
  /// Whether the root partition is, so that nobody can tell its packages.
  let isEncrypted: Bool
  /// The packages of the store in the root file system, in the order of their names.
  let packages: [String]

  /// Looks into a disk or a directory that build has made.
  ///
  /// - Parameter work: a directory for temporary files.
  /// - Throws: ``MkimageError/unusableFile(_:reason:)`` for what is no image; ``MkimageError/missingTool(_:package:)``.
  init(_ path: FilePath, work: FilePath) throws {
    var isDirectory = false
    let isThere = FileManager.default.fileExists(atPath: path.string, isDirectory: &isDirectory)
    guard isThere else { throw Errno.noSuchFileOrDirectory }
    let source = isDirectory ? path.appending(OutputDirectory.disk) : path
    let format = try DiskFormat(ofFileAt: source)
    // Tools give a meaning to parts of names; this one has none. Those for other formats see their sectors.
    let disk = work.appending("sectors")
    if format == .raw {
      guard symlink(source.resolved().string, disk.string) == 0 else { throw Errno(rawValue: errno) }
    } else {
      try ChildProcess.run(
        ChildProcess.locate("qemu-img", package: "qemu-utils"),
        ["convert", "-q", "-f", format.qemuName, "-O", "raw", source.resolved().string, disk.string], limits: .init(),
        work: work)
    }
    let file = try FileDescriptor.open(disk, .readOnly, options: .closeOnExec)
    defer { try? file.close() }
    byteCount = UInt64(try file.seek(offset: 0, from: .end))
    let found = try PartitionReader(file: file, byteCount: byteCount).partitions(path: path)
    guard found != nil || isDirectory else {
      throw MkimageError.unusableFile(path.string, reason: "it has no GUID partition table; is it compressed, or no disk?")
    }
    self.format = format.rawValue
    partitions = found ?? []
    digest = try file.digest()
    entries = try isDirectory ? Self.entry(of: path) : Self.entries(of: partitions, on: disk, work: work)
    let root = partitions.first { $0.type == PartitionTable.Kind.root.type }
    isEncrypted = try root.map { try DiskEncryption.isHeader(at: $0.offset, of: file) } ?? false
    packages = try isEncrypted || root == nil && !isDirectory ? [] : Self.packages(on: disk, offset: root?.offset ?? 0, work: work)
  }

  private static func entry(of directory: FilePath) throws -> [Entry] {
    let kernel = try directory.appending(OutputDirectory.kernel).contents(atMost: 1 << 30)
    let parameters = try directory.appending(OutputDirectory.commandLine).contents(atMost: 1 << 16)
    return [
      Entry(
        path: OutputDirectory.kernel, system: "", parameters: String(decoding: parameters.prefix { $0 != 0x0a }, as: UTF8.self),
        kernel: Array(SHA256.hash(data: kernel)).hexadecimal)
    ]
  }

  /// The unified kernel images of the boot partition, and what GRUB would start.
  private static func entries(of partitions: [PartitionReader.Partition], on disk: FilePath, work: FilePath) throws -> [Entry] {
    guard let boot = partitions.first(where: { $0.type == PartitionTable.Kind.boot.type }) else { return [] }
    let files = FATReader(disk: disk, offset: boot.offset, work: work)
    var entries: [Entry] = []
    for path in try files.names(in: "EFI/Linux") where path.lowercased().hasSuffix(".efi") {
      guard let bytes = try files.contents(of: path) else { continue }
      let program = try PortableExecutable(bytes, path: FilePath(path))
      func section(_ name: String) -> ArraySlice<UInt8> { program.sections.first { $0.name == name }.map { bytes[$0.range] } ?? [] }
      let release = String(decoding: section(".osrel"), as: UTF8.self).split(separator: "\n")
      let name = release.first { $0.hasPrefix("PRETTY_NAME=") }.map { String($0.dropFirst(12)).replacing("\"", with: "") }
      entries.append(
        Entry(
          path: path, system: name ?? "", parameters: String(decoding: section(".cmdline"), as: UTF8.self),
          kernel: Array(SHA256.hash(data: section(".linux"))).hexadecimal))
    }
    if let grub = try files.contents(of: "\(BootPartition.grub)/grub.cfg"), let kernel = try files.contents(of: "vmlinuz") {
      let lines = String(decoding: grub, as: UTF8.self).split(separator: "\n").map { $0.drop { $0 == " " } }
      let parameters = lines.first { $0.hasPrefix("linux /vmlinuz ") }?.dropFirst(15) ?? ""
      entries.append(
        Entry(path: "vmlinuz", system: "", parameters: String(parameters), kernel: Array(SHA256.hash(data: kernel)).hexadecimal))
    }
    return entries
  }

  private static func packages(on disk: FilePath, offset: UInt64, work: FilePath) throws -> [String] {
    let listed = try ChildProcess.run(
      ChildProcess.locate("debugfs", package: "e2fsprogs"), ["-R", "ls -p /roimg", "\(disk)?offset=\(offset)"],
      limits: .init(fileByteCount: 1 << 28), work: work)
    // An inode a line: /number/mode/user/group/name/size/.
    return String(decoding: listed, as: UTF8.self).split(separator: "\n").compactMap { line in
      let fields = line.split(separator: "/", omittingEmptySubsequences: false)
      guard fields.count >= 6, fields[5].hasSuffix(".squashfs") else { return nil }
      return String(fields[5].dropLast(9))
    }.sorted()
  }
}

/// Files of a FAT file system on a disk, read by mtools.
private struct FATReader {
  let disk: FilePath
  /// Of the file system, in bytes.
  let offset: UInt64
  let work: FilePath

  private static let largestFile = 1 << 30

  /// Paths of what is in a directory; nothing where it is not there.
  func names(in directory: String) throws -> [String] {
    let output = try run("mdir", ["-b", "::\(directory)"])
    return String(decoding: output ?? [], as: UTF8.self).split(separator: "\n").filter { $0.hasPrefix("::/") && !$0.hasSuffix("/") }
      .map { String($0.dropFirst(3)) }
  }

  /// Nil where it is not there.
  func contents(of path: String) throws -> [UInt8]? {
    let copy = work.appending("file")
    defer { unlink(copy.string) }
    guard try run("mcopy", ["-n", "::\(path)", copy.string]) != nil else { return nil }
    return try copy.contents(atMost: Self.largestFile)
  }

  /// Nil when the tool fails.
  private func run(_ tool: String, _ arguments: [String]) throws -> [UInt8]? {
    let program = try ChildProcess.locate(tool, package: "mtools")
    do {
      return try ChildProcess.run(
        program, ["-i", "\(disk)@@\(offset)"] + arguments, environment: ["MTOOLSRC": "/dev/null"],
        limits: .init(fileByteCount: Self.largestFile), work: work)
    } catch MkimageError.toolFailed {
      return nil
    }
  }
}
