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
  let passphrase: [UInt8]
  /// Of the header, by which the machine finds the device; 16 bytes.
  let uuid: [UInt8]

  /// What the header takes in front of the data, in bytes.
  static let headerByteCount: UInt64 = 16 << 20
  /// What the kernel of the machine needs, and what makes it fast where the processor can.
  static let modules = ["dm_crypt"]
  static let wishedModules = ["xts", "aes_generic", "aesni_intel"]
  /// A passphrase is one line.
  private static let longestPassphrase = 512

  /// cryptsetup, also for the initramfs.
  static func program() throws(MkimageError) -> FilePath { try ChildProcess.locate("cryptsetup", package: "cryptsetup-bin") }

  /// Whether something encrypted begins there («LUKS2 On-Disk Format Specification», magic).
  static func isHeader(at offset: UInt64, of disk: FileDescriptor) throws -> Bool {
    var start = [UInt8](repeating: 0, count: 6)
    _ = try start.withUnsafeMutableBytes { try disk.read(fromAbsoluteOffset: Int64(offset), into: $0) }
    return start == Array("LUKS".utf8) + [0xba, 0xbe]
  }

  /// The kernel parameter that has the machine ask for the passphrase.
  var kernelParameter: String { "rd.luks.uuid=\(text(ofUUID: uuid))" }

  /// - Throws: ``MkimageError/unusableFile(_:reason:)`` for a passphrase that nobody could type.
  init(passphrase: [UInt8], source: String, uuid: [UInt8]) throws(MkimageError) {
    guard (1...Self.longestPassphrase).contains(passphrase.count), passphrase.allSatisfy({ $0 >= 0x20 && $0 != 0x7f }) else {
      throw .unusableFile(
        source, reason: "a passphrase is one line of 1 to \(Self.longestPassphrase) bytes without control characters")
    }
    self.passphrase = passphrase
    self.uuid = uuid
  }

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

  /// Locks are for devices that several processes look at. The costs of guessing are fixed, not measured: 256 MiB are there on each machine that may
  /// have to open it.
  private func encrypt(_ file: FilePath, work: FilePath) throws {
    let secret = try FileDescriptor.pipe()
    defer { try? secret.readEnd.close() }
    try secret.writeEnd.writeAll(passphrase)
    try secret.writeEnd.close()
    // Meanwhile the header is a file in the current directory.
    try ChildProcess.run(
      ChildProcess.locate("env", package: "coreutils"),
      [
        "--chdir=\(work)", try Self.program().string, "reencrypt", "--encrypt", "--type", "luks2", "--batch-mode",
        "--disable-locks",
        "--key-file", "-", "--uuid", text(ofUUID: uuid), "--reduce-device-size", "\(2 * Self.headerByteCount / 1024)k", "--cipher",
        "aes-xts-plain64", "--key-size", "512", "--pbkdf", "argon2id", "--pbkdf-memory", "262144", "--pbkdf-parallel", "4",
        "--pbkdf-force-iterations", "4", "--resilience", "none", file.string,
      ], input: FilePath("/dev/fd/\(secret.readEnd.rawValue)"), work: work)
  }
}
