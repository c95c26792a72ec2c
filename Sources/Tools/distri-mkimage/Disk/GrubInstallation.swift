// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import FoundationEssentials
import SystemPackage

/// GRUB on a disk: 440 bytes in the first sector, which load the rest from a partition of its own.
///
/// What `grub-bios-setup` does on a block device, as root, is done here on a file: both parts are told where on the disk the second one lies
/// (offsets of GRUB 2's `boot.h`; little-endian).
extension Grub {
  /// Everything that the configuration uses; no module is loaded later.
  private static let modules = ["biosdisk", "part_gpt", "fat", "linux", "normal", "serial", "terminal", "echo"]
  /// How much of the first sector is code; the table of partitions and the disk's signature follow.
  private static let bootCode = 440
  /// Offsets in the first sector: the number of the sector to load, and a jump that stands for «trust the BIOS on which drive this is».
  private static let kernelSector = 0x5c
  private static let driveCheck = 0x66
  /// Offset in the first sector of the second part: where the rest of it is.
  private static let blockList = 512 - 12

  /// Writes both parts into a disk with a partition table.
  ///
  /// - Parameter table: has a partition of kind `bios` and one of kind `boot`.
  /// - Throws: ``MkimageError/missingTool(_:package:)`` and others.
  static func install(on disk: FilePath, _ table: PartitionTable, work: FilePath) throws {
    guard let place = table[.bios], let index = table.partitions.firstIndex(where: { $0.kind == .boot }) else { return }
    let file = work.appending("core.img")
    let tool = try ChildProcess.locate("grub-mkimage", package: "grub-common")
    var first = try BootFiles.grubBoot.contents()
    // A prefix without a disk is on the one that the BIOS started from.
    try ChildProcess.run(
      tool,
      [
        "--format", "i386-pc", "--directory", BootFiles.grubBoot.path.removingLastComponent().string, "--compression", "xz",
        "--prefix", "(,gpt\(index + 1))/\(BootPartition.grub)", "--output", file.string,
      ] + modules, work: work)
    var second = try file.contents(atMost: place.range.count)
    second.pad(toMultipleOf: Int(PartitionTable.sectorSize))
    guard first.count == PartitionTable.sectorSize, second.count > 2 * Int(PartitionTable.sectorSize) else {
      throw MkimageError.unusableFile(BootFiles.grubBoot.path.string, reason: "GRUB's parts have unexpected sizes")
    }
    let sector = place.range.lowerBound / PartitionTable.sectorSize
    first.store(sector, at: kernelSector)
    first.store(UInt16(0x9090), at: driveCheck)
    second.store(sector + 1, at: blockList)
    second.store(UInt16(second.count / Int(PartitionTable.sectorSize) - 1), at: blockList + 8)
    let output = try FileDescriptor.open(disk, .writeOnly, options: .closeOnExec)
    defer { try? output.close() }
    try output.writeAll(toAbsoluteOffset: 0, first.prefix(bootCode))
    try output.writeAll(toAbsoluteOffset: Int64(place.range.lowerBound), second)
  }
}
