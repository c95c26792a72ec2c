// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import FoundationEssentials
import Glibc
import SystemPackage

/// A disk that starts by itself: a partition table, boot loaders, and the root file system.
struct PartitionedDisk {
  let boot: BootPartition
  let root: Ext4Image
  let table: PartitionTable
  let firmware: Firmware
  /// Nil for a root that anybody can read.
  let encryption: DiskEncryption?

  /// - Parameters:
  ///   - byteCount: of the whole disk; nil for what is needed and a little more.
  ///   - unit: the size is a multiple of this; whole MiB.
  /// - Throws: ``MkimageError/tooSmall(_:needed:)``.
  init(
    root: Ext4Image, boot: BootPartition, firmware: Firmware, encryption: DiskEncryption? = nil, byteCount: UInt64?,
    unit: UInt64 = 1 << 20
  ) throws(MkimageError) {
    func table(rootByteCount: UInt64) -> PartitionTable {
      PartitionTable(identity: root.uuid, firmware: firmware, bootByteCount: boot.byteCount, rootByteCount: rootByteCount)
    }
    let around = table(rootByteCount: encryption == nil ? 0 : DiskEncryption.headerByteCount).diskByteCount
    let needed = root.neededByteCount.rounded(upTo: 1 << 20) + around
    guard byteCount ?? needed >= needed else { throw .tooSmall(byteCount ?? 0, needed: needed) }
    let size = (byteCount ?? root.defaultByteCount + around).rounded(upTo: unit)
    self.table = table(rootByteCount: size - table(rootByteCount: 0).diskByteCount)
    self.root = root
    self.boot = boot
    self.firmware = firmware
    self.encryption = encryption
  }

  /// Makes the file, which must not exist. It has holes where the disk is empty.
  ///
  /// - Parameter work: a directory for temporary files.
  func write(to path: FilePath, work: FilePath) throws {
    let file = try FileDescriptor.open(
      path, .readWrite, options: [.create, .exclusiveCreate, .closeOnExec], permissions: [.ownerReadWrite, .groupRead, .otherRead])
    defer { try? file.close() }
    try file.resize(to: Int64(table.diskByteCount))
    try table.write(to: path, work: work)
    // None of them touches what is another's, and the boot loaders take about as long as the packages.
    let partitions = table.partitions
    try concurrently(partitions.count) { try write(partitions[$0], to: path, work: work) }
    guard fsync(file.rawValue) == 0 else { throw Errno(rawValue: errno) }
  }
  private func write(_ partition: PartitionTable.Partition, to path: FilePath, work: FilePath) throws {
    switch partition.kind {
    case .bios: try Grub.install(on: path, table, work: work)
    case .boot: try boot.write(to: path, range: partition.range, work: work)
    case .root where encryption != nil: try encryption?.write(root, into: path, range: partition.range, work: work)
    case .root: try root.write(into: path, range: partition.range, work: work)
    }
  }
}
