// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import SystemPackage

/// How the sectors of a disk lie in a file.
enum DiskFormat: String, CaseIterable, Equatable {
  case raw, qcow2, vhd, vhdx, vdi, vmdk

  /// What qemu calls it.
  var qemuName: String { self == .vhd ? "vpc" : rawValue }

  /// What a file is, by the words that the formats begin with. What has none of them is taken for the sectors themselves; qemu is never
  /// left to guess, since a guest can write such words into the first sector.
  ///
  /// - Throws: ``MkimageError/unusableFile(_:reason:)`` when it cannot be read.
  init(ofFileAt path: FilePath) throws(MkimageError) {
    var start = [UInt8](repeating: 0, count: 512), end = start
    do {
      let file = try FileDescriptor.open(path, .readOnly, options: .closeOnExec)
      defer { try? file.close() }
      _ = try start.withUnsafeMutableBytes { try file.read(fromAbsoluteOffset: 0, into: $0) }
      let size = try file.seek(offset: 0, from: .end)
      if size >= 1024 { _ = try end.withUnsafeMutableBytes { try file.read(fromAbsoluteOffset: size - 512, into: $0) } }
    } catch {
      throw .unusableFile(path.string, reason: "\(error)")
    }
    if start.starts(with: [0x51, 0x46, 0x49, 0xfb]) {
      self = .qcow2
    } else if start.starts(with: Array("KDMV".utf8)) {
      self = .vmdk
    } else if start.starts(with: Array("vhdxfile".utf8)) {
      self = .vhdx
    } else if start.load(UInt32.self, at: 0x40) == 0xbeda_107f {
      self = .vdi
    } else if start.starts(with: Array("conectix".utf8)) || end.starts(with: Array("conectix".utf8)) {
      self = .vhd
    } else {
      self = .raw
    }
  }
}
