// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import FoundationEssentials
import Glibc
import SystemPackage

/// The partition that firmware and boot loaders read: a FAT32 file system that `mkfs.vfat` makes and mtools fill.
///
/// For UEFI it has systemd-boot and a unified kernel image; for GRUB, which cannot look into that, the kernel and the initramfs as files.
struct BootPartition {
  /// By path; the directories on the way come along.
  let files: [String: [UInt8]]
  /// The serial number of the file system.
  let serial: UInt32
  /// Seconds since 1970, of everything.
  let time: Int64

  static let unifiedKernel = "EFI/Linux/distri.efi"
  /// Where GRUB looks for its configuration.
  static let grub = "grub"

  /// - Parameters:
  ///   - kernel: what boots.
  ///   - stub: systemd's, with its path.
  ///   - loader: systemd-boot.
  /// - Throws: as ``UnifiedKernelImage/bytes(stub:path:)``.
  init(_ kernel: UnifiedKernelImage, for firmware: Firmware, identity: [UInt8], time: Int64) throws {
    var files: [String: [UInt8]] = [:]
    if firmware.hasUEFI {
      let (stub, loader) = (BootFiles.stub, BootFiles.systemdBoot)
      files[Self.unifiedKernel] = try kernel.bytes(stub: try stub.contents(), path: stub.path)
      files["EFI/BOOT/BOOTX64.EFI"] = try loader.contents()
      files["loader/loader.conf"] = Array("timeout 0\n".utf8)
    }
    if firmware.hasBIOS {
      files["vmlinuz"] = kernel.kernel
      files["initramfs"] = kernel.initramfs
      files["\(Self.grub)/grub.cfg"] = Array(Grub.configuration([.init(commandLine: kernel.commandLine)]).utf8)
    }
    self.files = files
    serial = derivedUUID(identity, "boot serial").load(at: 0) ?? 0
    self.time = time
  }

  /// Bytes: room for the files, and for those of another kernel beside them; at least what FAT32 needs.
  var byteCount: UInt64 {
    let used = files.values.reduce(UInt64(0)) { $0 + UInt64($1.count) }
    return max(2 * used + (8 << 20), 64 << 20).rounded(upTo: 1 << 20)
  }

  /// Writes the file system into a range of a disk, which must be zeros.
  func write(to disk: FilePath, range: Range<UInt64>, work: FilePath) throws {
    let mkfs = try ChildProcess.locate("mkfs.vfat", package: "dosfstools")
    let mcopy = try ChildProcess.locate("mcopy", package: "mtools")
    let tree = work.appending("boot")
    try stage(in: tree)
    let hexadecimal = String(serial, radix: 16)
    try ChildProcess.run(
      mkfs,
      [
        "-F", "32", "-S", "512", "-s", "1", "-n", "BOOT", "-i", String(repeating: "0", count: 8 - hexadecimal.count) + hexadecimal,
        "--invariant", "--offset=\(range.lowerBound / PartitionTable.sectorSize)", disk.string, "\(range.count / 1024)",
      ], work: work)
    // mtools take the times of directories from the variable, and leave out what cannot be: FAT begins in 1980.
    let environment = ["SOURCE_DATE_EPOCH": "\(time)", "MTOOLSRC": "/dev/null", "MTOOLS_SKIP_CHECK": "1"]
    let names = try FileManager.default.contentsOfDirectory(atPath: tree.string).sorted().map { tree.appending($0).string }
    try ChildProcess.run(
      mcopy, ["-i", "\(disk)@@\(range.lowerBound)", "-s", "-Q", "-m"] + names + ["::"], environment: environment, work: work)
  }

  private func stage(in tree: FilePath) throws {
    let manager = FileManager.default
    var directories: Set<String> = [tree.string]
    for (name, bytes) in files.sorted(by: { $0.key < $1.key }) {
      let path = tree.pushing(FilePath(name))
      try manager.createDirectory(atPath: path.removingLastComponent().string, withIntermediateDirectories: true)
      try Scratch.write(bytes, to: path)
      try Self.setTime(time, of: path)
      var parent = path.removingLastComponent()
      while directories.insert(parent.string).inserted { parent.removeLastComponent() }
    }
    for directory in directories { try Self.setTime(time, of: FilePath(directory)) }
  }

  private static func setTime(_ seconds: Int64, of path: FilePath) throws {
    let time = timespec(tv_sec: Int(seconds), tv_nsec: 0)
    guard utimensat(AT_FDCWD, path.string, [time, time], 0) == 0 else { throw Errno(rawValue: errno) }
  }
}
