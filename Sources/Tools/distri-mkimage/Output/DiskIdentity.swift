// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import SystemPackage

/// Puts numbers that follow from what a disk holds where qemu-img has put random ones, and the time: the same disk gives the same bytes.
struct DiskIdentity {
  /// 16 bytes.
  let uuid: [UInt8]
  /// Seconds since 1970.
  let time: Int64

  /// Seconds from 1970 to 2000, where the time of a VHD begins.
  private static let vhdEpoch: Int64 = 946_684_800
  private static let sector = 512

  /// Changes a file that qemu-img has made.
  ///
  /// - Throws: ``MkimageError/unusableFile(_:reason:)`` when it is not what qemu-img makes.
  func replace(in path: FilePath, of format: ImageFormat) throws {
    guard [.vhd, .vhdAzure, .vdi, .vmdk].contains(format) else { return }
    let file = try FileDescriptor.open(path, .readWrite, options: .closeOnExec)
    defer { try? file.close() }
    switch format {
    case .vdi:
      // «Virtual Disk Image», header 1.1: the image's UUID, that of its last snapshot.
      for offset: Int64 in [0x188, 0x198] { try file.writeAll(toAbsoluteOffset: offset, uuid) }
    case .vmdk: try replaceDescriptor(in: file, path)
    default:
      let end = try file.seek(offset: 0, from: .end) - Int64(Self.sector)
      try replaceFooter(at: end, in: file, path)
      // One that grows has a copy at its start.
      if format == .vhd { try replaceFooter(at: 0, in: file, path) }
    }
  }

  /// «Virtual Hard Disk Image Format Specification», hard disk footer; numbers are big-endian: time at 24, checksum at 64, UUID at 68.
  private func replaceFooter(at offset: Int64, in file: FileDescriptor, _ path: FilePath) throws {
    var footer = try bytes(of: file, at: offset, count: Self.sector, path)
    guard footer.starts(with: Array("conectix".utf8)) else {
      throw MkimageError.unusableFile(path.string, reason: "no footer of a VHD")
    }
    footer.store(UInt32(clamping: time - Self.vhdEpoch).byteSwapped, at: 24)
    footer.replaceSubrange(68..<84, with: uuid)
    footer.store(UInt32(0), at: 64)
    footer.store((~footer.reduce(UInt32(0)) { $0 &+ UInt32($1) }).byteSwapped, at: 64)
    try file.writeAll(toAbsoluteOffset: offset, footer)
  }

  /// «Virtual Disk Format»: a text in the sectors that the header names has the content identifier, `CID=`, in hexadecimal.
  private func replaceDescriptor(in file: FileDescriptor, _ path: FilePath) throws {
    let header = try bytes(of: file, at: 0, count: Self.sector, path)
    let (start, count) = (header.load(UInt64.self, at: 28) ?? 0, header.load(UInt64.self, at: 36) ?? 0)
    guard (1...1024).contains(start), (1...1024).contains(count) else {
      throw MkimageError.unusableFile(path.string, reason: "no descriptor of a VMDK")
    }
    let place = Int64(start) * Int64(Self.sector), room = Int(count) * Self.sector
    let text = String(decoding: try bytes(of: file, at: place, count: room, path).prefix { $0 != 0 }, as: UTF8.self)
    let number = String(uuid.load(UInt32.self, at: 0) ?? 1, radix: 16)
    let lines = text.split(separator: "\n", omittingEmptySubsequences: false).map { $0.hasPrefix("CID=") ? "CID=\(number)" : $0 }
    var changed = Array(lines.joined(separator: "\n").utf8)
    guard changed.count <= room else { throw MkimageError.unusableFile(path.string, reason: "no room in the descriptor") }
    changed += [UInt8](repeating: 0, count: room - changed.count)
    try file.writeAll(toAbsoluteOffset: place, changed)
  }

  private func bytes(of file: FileDescriptor, at offset: Int64, count: Int, _ path: FilePath) throws -> [UInt8] {
    var buffer = [UInt8](repeating: 0, count: count)
    let got = try buffer.withUnsafeMutableBytes { try file.read(fromAbsoluteOffset: offset, into: $0) }
    guard got == count else { throw MkimageError.unusableFile(path.string, reason: "it is shorter than its format wants") }
    return buffer
  }
}
