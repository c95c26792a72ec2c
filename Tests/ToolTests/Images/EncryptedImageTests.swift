// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import Foundation
import SystemPackage
import TestSupport
import Testing

@testable import distri_mkimage

/// What is in an encrypted image. That a machine opens it, Tests/Images/hardware.py shows.
@Suite struct EncryptedImageTests {
  /// Whether the passphrase opens the header at the start of a file.
  private func opens(_ file: FilePath, _ passphrase: String) async throws -> Bool {
    try await ToolProcess.run(
      "sh",
      [
        "-c", "printf %s \"$2\" | cryptsetup open --test-passphrase --disable-locks --type luks2 --key-file - \"$1\"", "sh",
        file.string,
        passphrase,
      ]
    ).status == 0
  }

  private func rootPartition(of disk: FilePath, _ inspection: Inspection) async throws -> FilePath {
    let root = try #require(inspection.partitions.last)
    let partition = FilePath(disk.string + ".root")
    let cut = try await ToolProcess.run(
      "dd", ["if=\(disk)", "of=\(partition)", "bs=1M", "skip=\(root.offset >> 20)", "count=\(root.byteCount >> 20)", "status=none"])
    try #require(cut.status == 0)
    return partition
  }

  @Test func `the root partition opens with the passphrase, and nothing of it can be read without`() async throws {
    let images = try await ImageStore.make()
    let marker = "a sentence that nobody shall find"
    try await images.add("secret-amd64-1-1", files: ["etc/secret": Array(marker.utf8)])
    let folder = images.folder.path
    let disk = folder.appending("disk.img"), passphrase = folder.appending("passphrase")
    try "open sesame\nnot this\n".write(toFile: passphrase.string, atomically: false, encoding: .utf8)
    let arguments = ["--package", "secret", "--encrypt", "--uefi", "--passphrase-file", passphrase.string]
    // As an ordinary user, without root and device mapper.
    for path in [folder, passphrase] { try #require(chmod(path.string, 0o777) == 0) }
    let user = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all"]
    let built = try await images.build(arguments, to: disk, wrapper: user)
    try #require(built.status == 0, "\(built.errors)")
    let inspection = try Scratch.withDirectory { try Inspection(disk, work: $0) }
    let root = try #require(inspection.partitions.last)
    #expect(inspection.isEncrypted && inspection.packages.isEmpty)
    #expect(root.name == "root" && root.offset + root.byteCount + (1 << 20) == inspection.byteCount)
    let partition = try await rootPartition(of: disk, inspection)
    #expect(try await opens(partition, "open sesame"))
    #expect(try await !opens(partition, "open sesame\n"))
    let uuid = try await ToolProcess.run("cryptsetup", ["luksUUID", partition.string]).output.filter { $0 != "\n" }
    #expect(inspection.entries[0].parameters.contains("rd.luks.uuid=\(uuid) "))
    #expect(try await ToolProcess.run("grep", ["-cF", marker, disk.string]).status == 1)
    // The file system ends where the partition does: all of it was moved behind the header and encrypted.
    let dump = try await ToolProcess.run("cryptsetup", ["luksDump", partition.string]).output
    #expect(dump.contains("offset: \(DiskEncryption.headerByteCount) [bytes]") && dump.contains("aes-xts-plain64"))
    #expect(!dump.contains("reencrypt"))
  }

  @Test func `a disk that is installed gets a key and a passphrase of its own`() async throws {
    let images = try await ImageStore.make()
    let folder = images.folder.path
    let image = folder.appending("disk.img"), target = folder.appending("target")
    for (name, text) in [("old", "open sesame\n"), ("new", "öffne dich\n"), ("wrong", "open\n")] {
      try text.write(toFile: folder.appending(name).string, atomically: false, encoding: .utf8)
    }
    func file(_ name: String) -> String { folder.appending(name).string }
    let built = try await images.build(["--package", "more", "--encrypt", "--uefi", "--passphrase-file", file("old")], to: image)
    try #require(built.status == 0, "\(built.errors)")
    let before = try Scratch.withDirectory { try Inspection(image, work: $0) }
    try #require(try await ToolProcess.run("truncate", ["-s", "\(before.byteCount + (8 << 20))", target.string]).status == 0)
    func install(_ flags: [String], of image: FilePath, wrapper: [String] = []) async throws -> ToolProcess.Outcome {
      let program = ToolProcess.binaries.appending("distri-mkimage").string
      return try await ToolProcess.run("/usr/bin/env", wrapper + [program, "install", image.string, "--to", target.string] + flags)
    }
    let planned = try await install(["--encrypt", "--dry-run"], of: image)
    #expect(planned.status == 0 && planned.errors.contains("a key of this disk's own"), "\(planned.errors)")
    let shared = try await install(["--dry-run"], of: image)
    #expect(shared.status == 0 && shared.errors.contains("the key that all disks of this image have"), "\(shared.errors)")
    // Of what cannot be done, the disk knows nothing.
    let plain = folder.appending("plain.img")
    try #require(try await images.build(["--package", "more", "--uefi"], to: plain).status == 0)
    let passphrases = ["--image-passphrase-file", file("old"), "--passphrase-file", file("new"), "--yes"]
    for (flags, source, status, words) in [
      (["--encrypt", "--yes"], image, Int32(64), "--image-passphrase-file"),
      (["--encrypt", "--image-passphrase-file", file("wrong")] + passphrases.dropFirst(2), image, 65, "does not open it"),
      (["--encrypt"] + passphrases, plain, 65, "build it with --encrypt"), (passphrases, image, 64, "for --encrypt"),
    ] {
      let refused = try await install(flags, of: source)
      #expect(refused.status == status && refused.errors.contains(words), "\(refused.status) \(refused.errors)")
    }
    #expect(try await ToolProcess.run("cmp", ["-n", "\(before.byteCount)", target.string, "/dev/zero"]).status == 0)

    for path in [folder, target] { try #require(chmod(path.string, 0o777) == 0) }
    let user = ["TMPDIR=\(folder)", "setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all"]
    let installed = try await install(["--encrypt"] + passphrases, of: image, wrapper: user)
    try #require(installed.status == 0, "\(installed.errors)")
    #expect(try Scratch.withDirectory { try Inspection(image, work: $0) } == before)
    let after = try Scratch.withDirectory { try Inspection(target, work: $0) }
    #expect(after.partitions == before.partitions && after.entries == before.entries && after.isEncrypted)
    let (old, new) = (try await rootPartition(of: image, before), try await rootPartition(of: target, after))
    #expect(try await opens(new, "öffne dich"))
    #expect(try await !opens(new, "open sesame"))
    func key(of partition: FilePath, _ passphrase: String) async throws -> String {
      let script = "head -c -1 \"$2\" | cryptsetup luksDump --batch-mode --disable-locks --dump-volume-key --key-file - \"$1\""
      let done = try await ToolProcess.run("sh", ["-c", script, "sh", partition.string, file(passphrase)])
      return String(try #require(done.output.firstMatch(of: #/MK dump:[\sa-f0-9]{128,}/#), "\(done.errors)").output)
    }
    #expect(try await key(of: old, "old") != key(of: new, "new"))
    // Nothing is as it was, behind the header.
    let count = (before.partitions.last?.byteCount ?? 0) - DiskEncryption.headerByteCount
    let same = try await ToolProcess.run(
      "sh", ["-c", "cmp -l -i \(DiskEncryption.headerByteCount) \"$1\" \"$2\" | wc -l", "sh", old.string, new.string])
    #expect(try #require(UInt64(same.output.filter(\.isNumber))) > count / 100 * 99)
  }

  @Test(arguments: [
    (["--encrypt"], Int32(64), "nobody is there to be asked"),
    (["--encrypt", "--passphrase-file", "/dev/null"], 65, "a passphrase is one line"),
    (["--encrypt", "--passphrase-file", "/nonexistent"], 65, "/nonexistent"),
    (["--encrypt", "--layout", "direct"], 64, "--encrypt"),
    (["--encrypt", "--format", "oci"], 64, "only a disk"),
  ])
  func `what cannot be encrypted is said`(arguments: [String], status: Int32, words: String) async throws {
    let images = try await ImageStore.make()
    let built = try await images.build(["--package", "base"] + arguments)
    #expect(built.status == status && built.errors.contains(words), "\(built.status) \(built.errors)")
  }
}
