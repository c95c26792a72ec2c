// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import Crypto
import SystemPackage

/// How firmware starts the machine from its disk.
enum Firmware: String, CaseIterable, Equatable {
  case uefi, bios, both

  var hasUEFI: Bool { self != .bios }
  var hasBIOS: Bool { self != .uefi }
}

/// Where the partitions of a disk are. Everything begins at whole MiB.
struct PartitionTable: Equatable {
  struct Partition: Equatable {
    let kind: Kind
    /// In bytes.
    let range: Range<UInt64>
    /// 16 bytes.
    let uuid: [UInt8]
  }

  /// What a partition is for; the name is what the table says.
  enum Kind: String, Equatable {
    /// GRUB's second part.
    case bios
    /// What the firmware and GRUB read: a FAT file system.
    case boot
    /// The root file system.
    case root

    /// The types of the UEFI and the Discoverable Partitions Specification; GRUB's own for ``bios``.
    var type: String {
      switch self {
      case .bios: "21686148-6449-6E6F-744E-656564454649"
      case .boot: "C12A7328-F81F-11D2-BA4B-00A0C93EC93B"
      case .root: "4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709"
      }
    }
  }

  static let sectorSize: UInt64 = 512
  private static let megabyte: UInt64 = 1 << 20

  /// 16 bytes.
  let uuid: [UInt8]
  let partitions: [Partition]

  /// Plans a disk.
  ///
  /// - Parameters:
  ///   - identity: of what the disk holds; all identifiers follow from it.
  ///   - bootByteCount: of the boot partition; whole MiB.
  ///   - rootByteCount: of the root partition; whole MiB.
  init(identity: [UInt8], firmware: Firmware, bootByteCount: UInt64, rootByteCount: UInt64) {
    uuid = derivedUUID(identity, "disk")
    var position = Self.megabyte
    var partitions: [Partition] = []
    for (kind, count) in [(.bios, Self.megabyte), (.boot, bootByteCount), (.root, rootByteCount)] as [(Kind, UInt64)] {
      if kind == .bios && !firmware.hasBIOS { continue }
      partitions.append(
        Partition(kind: kind, range: position..<position + count, uuid: derivedUUID(identity, kind.rawValue)))
      position += count
    }
    self.partitions = partitions
  }

  subscript(kind: Kind) -> Partition? { partitions.first { $0.kind == kind } }

  /// Bytes of the disk: the table has a copy behind the last partition.
  var diskByteCount: UInt64 { (partitions.last?.range.upperBound ?? Self.megabyte) + Self.megabyte }

  /// What sfdisk makes the table of.
  var script: String {
    let lines = partitions.enumerated().map { index, partition in
      let start = partition.range.lowerBound / Self.sectorSize, count = UInt64(partition.range.count) / Self.sectorSize
      return "\(index + 1): start=\(start), size=\(count), type=\(partition.kind.type), uuid=\(text(ofUUID: partition.uuid)), "
        + "name=\"\(partition.kind.rawValue)\""
    }
    return (["label: gpt", "label-id: \(text(ofUUID: uuid))", "unit: sectors"] + lines).joined(separator: "\n") + "\n"
  }

  /// Writes the table into a file of the disk's size.
  func write(to disk: FilePath, work: FilePath) throws {
    let file = work.appending("partitions")
    try Scratch.write(Array(script.utf8), to: file)
    try ChildProcess.run(
      ChildProcess.locate("sfdisk", package: "fdisk"),
      ["--quiet", "--no-reread", "--no-tell-kernel", "--wipe", "never", disk.string], input: file, work: work)
  }
}

/// A UUID for a part of something that has one (version 8, RFC 9562).
func derivedUUID(_ identity: [UInt8], _ part: String) -> [UInt8] {
  var bytes = Array(SHA256.hash(data: identity + Array(part.utf8)).prefix(16))
  bytes[6] = bytes[6] & 0x0f | 0x80
  bytes[8] = bytes[8] & 0x3f | 0x80
  return bytes
}
