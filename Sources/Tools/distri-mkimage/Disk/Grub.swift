// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import FoundationEssentials
import SystemPackage

/// GRUB for machines with a BIOS: 440 bytes in the first sector, which load the rest from a partition of its own.
///
/// What `grub-bios-setup` does on a block device, as root, is done here on a file: both parts are told where on the disk the second one lies
/// (offsets of GRUB 2's `boot.h`; little-endian).
enum Grub {
  /// Everything that the configuration uses; no module is loaded later.
  private static let modules = ["biosdisk", "part_gpt", "fat", "linux", "normal", "serial", "terminal", "echo"]
  /// How much of the first sector is code; the table of partitions and the disk's signature follow.
  private static let bootCode = 440
  /// Offsets in the first sector: the number of the sector to load, and a jump that stands for «trust the BIOS on which drive this is».
  private static let kernelSector = 0x5c
  private static let driveCheck = 0x66
  /// Offset in the first sector of the second part: where the rest of it is.
  private static let blockList = 512 - 12

  /// A kernel that is offered.
  struct Entry: Equatable {
    var title = "distri"
    /// Paths in the boot partition.
    var kernel = "/vmlinuz"
    var initramfs = "/initramfs"
    var commandLine: String
  }

  /// The configuration file: the first entry is started. With several, Escape within two seconds shows them.
  static func configuration(_ entries: [Entry]) -> String {
    let start = entries.count > 1 ? "set timeout_style=hidden\nset timeout=2" : "set timeout=0"
    let menu = entries.map { entry in
      """
      menuentry "\(entry.title)" {
        linux \(entry.kernel) \(entry.commandLine)
        initrd \(entry.initramfs)
      }
      """
    }
    return """
      \(start)
      serial --unit=0 --speed=115200
      terminal_input console serial
      terminal_output console serial
      \(menu.joined(separator: "\n"))

      """
  }

  /// The entries of a configuration that ``configuration(_:)`` has written; lines of others are skipped.
  static func entries(in configuration: String) -> [Entry] {
    var entries: [Entry] = []
    var entry = Entry(commandLine: "")
    for line in configuration.split(separator: "\n") {
      let words = line.split(separator: " ", maxSplits: 2).map(String.init)
      switch words.first {
      case "menuentry": entry = Entry(title: String(line.split(separator: "\"").dropFirst().first ?? "distri"), commandLine: "")
      case "linux" where words.count > 1: (entry.kernel, entry.commandLine) = (words[1], words.count > 2 ? words[2] : "")
      case "initrd" where words.count > 1: entry.initramfs = words[1]
      case "}": entries.append(entry)
      default: break
      }
    }
    return entries
  }

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
