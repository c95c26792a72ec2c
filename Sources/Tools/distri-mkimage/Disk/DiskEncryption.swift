// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore
import FoundationEssentials
import Glibc
import SystemPackage

/// Encrypts the root partition with LUKS2. cryptsetup does it on a file, in its own process: neither root nor device mapper is needed.
///
/// The key and all salts are random: an encrypted image is another one each time.
struct DiskEncryption {
  let passphrase: Passphrase
  /// Of the header, by which the machine finds the device; 16 bytes.
  let uuid: [UInt8]

  /// What the header takes in front of the data, in bytes.
  static let headerByteCount: UInt64 = 16 << 20
  /// What the kernel of the machine needs.
  static let modules = ["dm_crypt"]
  /// What makes it fast where the processor can; drivers of keyboards that are found only while somebody is waited for who types.
  static let wishedModules = ["xts", "aes_generic", "aesni_intel", "usbhid", "hid_generic"]
  /// The costs of guessing are fixed, not measured: 256 MiB are there on each machine that may have to open it.
  private static let costs = [
    "--pbkdf", "argon2id", "--pbkdf-memory", "262144", "--pbkdf-parallel", "4", "--pbkdf-force-iterations", "4",
  ]
  /// cryptsetup's status for a passphrase that opens nothing.
  private static let wrongPassphrase: Int32 = 2

  /// cryptsetup, also for the initramfs.
  ///
  /// - Parameter model: an unpacked initramfs that may have it where the system does not.
  static func program(orElse model: FilePath? = nil) throws(MkimageError) -> FilePath {
    do { return try ChildProcess.locate("cryptsetup", package: "cryptsetup-bin") } catch {
      guard let other = model?.pushing("bin/cryptsetup"), access(other.string, X_OK) == 0 else { throw error }
      return other
    }
  }

  /// Whether something encrypted begins there («LUKS2 On-Disk Format Specification», magic).
  static func isHeader(at offset: UInt64, of disk: FileDescriptor) throws -> Bool {
    var start = [UInt8](repeating: 0, count: 6)
    _ = try start.withUnsafeMutableBytes { try disk.read(fromAbsoluteOffset: Int64(offset), into: $0) }
    return start == Array("LUKS".utf8) + [0xba, 0xbe]
  }

  /// The kernel parameter that has the machine ask for the passphrase.
  var kernelParameter: String { "rd.luks.uuid=\(text(ofUUID: uuid))" }

  /// Writes a file system into a range of a disk, encrypted.
  ///
  /// - Parameter range: in bytes; the header takes ``headerByteCount`` of it.
  /// - Throws: as ``Ext4Image/write(into:range:work:)``.
  func write(_ root: Ext4Image, into disk: FilePath, range: Range<UInt64>, work: FilePath) throws {
    let partition = work.appending("root")
    let byteCount = UInt64(range.count) - Self.headerByteCount
    try root.write(to: partition, byteCount: byteCount, work: work)
    let file = try FileDescriptor.open(partition, .readWrite, options: .closeOnExec)
    defer { try? file.close() }
    // The data moves up by the header, in steps for which there must be as much room again.
    try file.resize(to: Int64(byteCount + 2 * Self.headerByteCount))
    try encrypt(partition, work: work)
    try file.resize(to: Int64(range.count))
    let output = try FileDescriptor.open(disk, .readWrite, options: .closeOnExec)
    defer { try? output.close() }
    let count = UInt64(range.count)
    guard try file.copy(at: 0, to: output, at: range.lowerBound, byteCount: count) == count else {
      throw MkimageError.unusableFile(partition.string, reason: "it has become shorter")
    }
    unlink(partition.string)
  }

  private func encrypt(_ file: FilePath, work: FilePath) throws {
    try Self.run(
      [
        "reencrypt", "--encrypt", "--type", "luks2", "--uuid", text(ofUUID: uuid), "--reduce-device-size",
        "\(2 * Self.headerByteCount / 1024)k", "--cipher", "aes-xts-plain64", "--key-size", "512", "--resilience", "none",
      ], on: file, passphrase, work: work)
  }

  /// Gives an encrypted partition another key, and another passphrase. All of it is encrypted anew.
  ///
  /// - Parameters:
  ///   - partition: a file of ours.
  ///   - image: where it is from, for errors.
  /// - Throws: ``MkimageError/unusableFile(_:reason:)`` when the passphrase is not that of the partition.
  static func renew(_ partition: FilePath, from old: Passphrase, to new: Passphrase, image: String, work: FilePath) throws {
    do {
      try run(["luksChangeKey"], on: partition, old, new, work: work)
    } catch MkimageError.toolFailed(_, wrongPassphrase, _) {
      throw MkimageError.unusableFile(image, reason: "the passphrase does not open it")
    }
    // The file is nobody's device.
    try run(["reencrypt", "--force-offline-reencrypt", "--resilience", "none"], on: partition, new, work: work)
  }

  /// Runs cryptsetup on a file that nobody else looks at, so that it needs no locks.
  private static func run(
    _ action: [String], on file: FilePath, _ passphrase: Passphrase, _ second: Passphrase? = nil, work: FilePath
  ) throws {
    // A pipe holds more than a passphrase. Its end is inherited.
    let secrets = try ([passphrase] + (second.map { [$0] } ?? [])).map { secret in
      let pipe = try FileDescriptor.pipe()
      try pipe.writeEnd.closeAfter { _ = try pipe.writeEnd.writeAll(secret.bytes) }
      return pipe.readEnd
    }
    defer { for secret in secrets { try? secret.close() } }
    let names = secrets.map { "/dev/fd/\($0.rawValue)" }
    // A header that moves is meanwhile a file in the current directory.
    try ChildProcess.run(
      ChildProcess.locate("env", package: "coreutils"),
      ["--chdir=\(work)", try program().string] + action + costs
        + ["--batch-mode", "--disable-locks", "--key-file", names[0], file.string] + names.dropFirst(),
      work: work)
  }
}
