// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import Foundation
import SystemPackage
import TestSupport
import Testing

@testable import distri_mkimage

@Suite struct InspectTests {
  private struct Found: Decodable {
    struct Partition: Decodable {
      let name: String
      let offset: Int
    }
    struct Entry: Decodable {
      let path: String
      let system: String
      let parameters: String
      let kernel: String
    }
    let format: String
    let byteCount: Int
    let digest: String
    let partitions: [Partition]
    let entries: [Entry]
    let packages: [String]
  }

  private func inspect(_ image: FilePath) async throws -> Found {
    let shown = try await ToolProcess.run("distri-mkimage", ["inspect", "--json", image.string])
    try #require(shown.status == 0, "\(shown.errors)")
    return try JSONDecoder().decode(Found.self, from: Data(shown.output.utf8))
  }

  @Test func `an image shows what was put into it, in every form`() async throws {
    let images = try await ImageStore.make()
    let disks = images.folder.path.appending("disks")
    let built = try await images.build(["--package", "more", "--format", "raw", "--format", "qcow2"], to: disks)
    try #require(built.status == 0, "\(built.errors)")
    let raw = try await inspect(disks.appending("disk.raw"))
    let sum = try await ToolProcess.run("sha256sum", [disks.appending("disk.raw").string]).output
    #expect(raw.format == "raw" && sum.hasPrefix(raw.digest))
    #expect(raw.partitions.map(\.name) == ["bios", "boot", "root"] && raw.partitions[0].offset == 1 << 20)
    #expect(raw.packages == ["base-amd64-1-1", "more-amd64-1-1"])
    #expect(raw.entries.map(\.path) == ["EFI/Linux/distri.efi", "vmlinuz"] && raw.entries[0].system == "distri")
    #expect(raw.entries[0].parameters == raw.entries[1].parameters && raw.entries[0].parameters.hasPrefix("root=UUID="))
    // printf kernel | sha256sum
    let kernel = try await ToolProcess.run("sh", ["-c", "printf kernel | sha256sum"]).output
    #expect(raw.entries.allSatisfy { kernel.hasPrefix($0.kernel) })
    let compressed = try await inspect(disks.appending("disk.qcow2"))
    #expect(compressed.format == "qcow2" && compressed.digest == raw.digest && compressed.packages == raw.packages)

    #expect(try await images.build(["--package", "base"]).status == 0)
    let direct = try await inspect(images.output)
    #expect(direct.partitions.isEmpty && direct.packages == ["base-amd64-1-1"] && direct.entries.map(\.path) == ["vmlinuz"])
    let text = try await ToolProcess.run("distri-mkimage", ["inspect", images.output.string]).output
    #expect(text.contains("package    base-amd64-1-1\n") && text.contains(direct.digest))
  }

  @Test func `what is no image is said`() async throws {
    let folder = try TemporaryDirectory()
    let file = folder.path.appending("file")
    try Data(repeating: 7, count: 5000).write(to: URL(filePath: file.string))
    for (path, status) in [(file, Int32(65)), (folder.path.appending("absent"), 66), (folder.path, 65)] {
      let shown = try await ToolProcess.run("distri-mkimage", ["inspect", path.string])
      #expect(shown.status == status && shown.output.isEmpty, "\(shown.errors)")
    }
  }

  @Test func `no damage to a partition table does more than an error with its path`() async throws {
    let folder = try TemporaryDirectory()
    let disk = folder.path.appending("disk")
    let work = folder.path.appending("work")
    try FileManager.default.createDirectory(atPath: work.string, withIntermediateDirectories: false)
    let made = try FileDescriptor.open(disk, .readWrite, options: .create, permissions: .ownerReadWrite)
    defer { try? made.close() }
    let table = PartitionTable(identity: [1], firmware: .both, bootByteCount: 1 << 20, rootByteCount: 1 << 20)
    try made.resize(to: Int64(table.diskByteCount))
    try table.write(to: disk, work: work)
    let reader = PartitionReader(file: made, byteCount: table.diskByteCount)
    let whole = try #require(try reader.partitions(path: disk))
    #expect(whole.map(\.type) == [PartitionTable.Kind.bios, .boot, .root].map(\.type))
    #expect(whole.map(\.uuid) == table.partitions.map { text(ofUUID: $0.uuid).uppercased() })
    // The header and the first entries.
    for offset in Array(512..<604) + Array(1024..<1024 + 3 * 128) {
      var byte: [UInt8] = [0]
      _ = try byte.withUnsafeMutableBytes { try made.read(fromAbsoluteOffset: Int64(offset), into: $0) }
      for value: UInt8 in [0, 1, 0x80, 0xff] {
        try made.writeAll(toAbsoluteOffset: Int64(offset), [value])
        do { _ = try reader.partitions(path: disk) } catch { #expect("\(error)".contains(disk.string)) }
      }
      try made.writeAll(toAbsoluteOffset: Int64(offset), byte)
    }
    #expect(try reader.partitions(path: disk) == whole)
  }
}

@Suite struct InstallTests {
  private func install(_ arguments: [String], wrapper: [String] = []) async throws -> ToolProcess.Outcome {
    let words = wrapper + [ToolProcess.binaries.appending("distri-mkimage").string, "install"] + arguments
    return try await ToolProcess.run("/usr/bin/env", words)
  }

  @Test func `a disk gets an image, and its table reaches to its end`() async throws {
    let images = try await ImageStore.make()
    let (image, target) = (images.folder.path.appending("image.img"), images.folder.path.appending("target"))
    try #require(try await images.build(["--package", "base", "--layout", "gpt"], to: image).status == 0)
    let made = try await ToolProcess.run("truncate", ["-s", "1G", target.string])
    #expect(made.status == 0)
    func table(_ disk: FilePath) async throws -> String {
      try await ToolProcess.run("/sbin/sfdisk", ["--dump", disk.string]).output.replacing(disk.string, with: "")
    }
    let planned = try await install([image.string, "--to", target.string, "--dry-run"])
    #expect(planned.status == 0 && planned.errors.contains("a file of 1073741824 bytes without a GUID partition table"))
    #expect(try await table(target).isEmpty)
    let asked = try await install([image.string, "--to", target.string])
    #expect(asked.status == 64 && asked.errors.contains("--yes"))
    // Broken off at some time, then done.
    for seconds in ["0.02", "0.05", "0.1"] {
      _ = try await install([image.string, "--to", target.string, "--yes"], wrapper: ["timeout", "-s", "KILL", seconds])
      let left = try await table(target)
      #expect(left.isEmpty || left.contains("name=\"root\""))
    }
    let installed = try await install([image.string, "--to", target.string, "--yes"])
    #expect(installed.status == 0, "\(installed.errors)")
    let verified = try await ToolProcess.run("/sbin/sfdisk", ["--verify", target.string])
    #expect(verified.status == 0 && verified.output.contains("No errors"), "\(verified.output)\(verified.errors)")
    func partitions(_ text: String) -> [Substring] { text.split(separator: "\n").filter { $0.contains("start=") } }
    #expect(partitions(try await table(target)) == partitions(try await table(image)))
    let compared = try await ToolProcess.run("cmp", ["-i", "\(1 << 20)", "-n", "\(64 << 20)", image.string, target.string])
    #expect(compared.status == 0, "\(compared.output)")

    let copy = images.folder.path.appending("copy")
    #expect(try await install([image.string, "--to", copy.string, "--yes"]).status == 0)
    #expect(try await ToolProcess.run("cmp", [image.string, copy.string]).status == 0)
    let same = try await install([image.string, "--to", image.string, "--yes"])
    #expect(same.status == 65 && same.errors.contains("the image itself"))
  }

  @Test func `what is in use, or no disk, is refused`() async throws {
    let images = try await ImageStore.make()
    let image = images.folder.path.appending("image.img")
    try #require(try await images.build(["--package", "base", "--uefi"], to: image).status == 0)
    for (arguments, words) in [
      ([image.string, "--to", images.folder.path.string, "--yes"], "neither a disk nor a file"),
      ([image.string, "--to", "/dev/absent-disk", "--yes"], "/dev/absent-disk"),
      ([images.store.appending("base-amd64-1-1.squashfs").string, "--to", "/dev/null", "--yes"], "no partition table"),
    ] {
      let refused = try await install(arguments)
      #expect(refused.status == 65 && refused.errors.contains(words), "\(refused.errors)")
    }
    // A device that this machine has mounted somewhere, by a name of our own.
    let mounts = try await ToolProcess.run("cat", ["/proc/self/mountinfo"]).output.split(separator: "\n")
    let fields = try #require(mounts.map { $0.split(separator: " ") }.first { !$0[2].hasPrefix("0:") }, "no disk is mounted here")
    let device = images.folder.path.appending("device").string
    let made = try await ToolProcess.run("mknod", [device, "b"] + fields[2].split(separator: ":").map(String.init))
    try #require(made.status == 0, "\(made.errors)")
    let refused = try await install([image.string, "--to", device, "--dry-run"])
    #expect(refused.status == 65 && refused.errors.contains("is mounted on \(fields[4])"), "\(refused.errors)")
  }
}

@Suite struct ChildProcessTests {
  @Test(arguments: [("while :; do :; done", SIGXCPU), ("exec head -c 2M /dev/zero > \"$1\"", SIGXFSZ)])
  func `a tool that reads what anybody may have made is stopped when it takes too much`(script: String, signal: Int32) throws {
    let folder = try TemporaryDirectory()
    let error = #expect(throws: MkimageError.self) {
      try ChildProcess.run(
        "/bin/sh", ["-c", script, "sh", folder.path.appending("output").string],
        limits: .init(processorSeconds: 1, fileByteCount: 1 << 20), work: folder.path)
    }
    #expect("\(try #require(error))".contains("it took more than 1 s of processor time"))
  }
}

@Suite struct InitramfsCommandTests {
  @Test func `the command makes what build makes`() async throws {
    let images = try await ImageStore.make()
    try #require(try await images.build(["--package", "base"]).status == 0)
    let file = images.folder.path.appending("initramfs").string
    let made = try await ToolProcess.run(
      "distri-mkimage", ["initramfs", "--store", images.store.string, "-o", file])
    #expect(made.status == 0, "\(made.errors)")
    #expect(FileManager.default.contentsEqual(atPath: file, andPath: images.output.appending("initramfs").string))
    let piped = try await ToolProcess.run(
      "sh",
      [
        "-c", "\"$@\" | cmp - \(file)", "sh", ToolProcess.binaries.appending("distri-mkimage").string, "initramfs", "--store",
        images.store.string,
      ])
    #expect(piped.status == 0, "\(piped.output)\(piped.errors)")
  }
}
