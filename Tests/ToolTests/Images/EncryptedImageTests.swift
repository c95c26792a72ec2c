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
    let partition = folder.appending("partition")
    let cut = try await ToolProcess.run(
      "dd", ["if=\(disk)", "of=\(partition)", "bs=1M", "skip=\(root.offset >> 20)", "count=\(root.byteCount >> 20)", "status=none"])
    try #require(cut.status == 0)
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
