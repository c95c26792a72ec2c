// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import SystemPackage

/// A program for UEFI that holds a kernel, its initramfs and its parameters: systemd's stub with further sections.
///
/// Format: PE32+ (Microsoft's «PE Format»); the names of the sections are those of the UAPI group's «Unified Kernel Image». All numbers are
/// little-endian.
struct UnifiedKernelImage {
  /// The text of `/etc/os-release`, by which boot loaders name the entry.
  let release: [UInt8]
  let commandLine: String
  let initramfs: [UInt8]
  let kernel: [UInt8]

  /// The names, in the order in which they are added: a kernel that unpacks itself may write behind its end, so it is the last.
  static let sections = [".osrel", ".cmdline", ".initrd", ".linux"]

  /// Where sections and their data begin, in multiples of bytes.
  private static let sectionHeader = 40
  /// Initialised data, readable.
  private static let characteristics: UInt32 = 0x4000_0040

  /// - Parameters:
  ///   - stub: the program that starts the kernel.
  ///   - path: where it is from, for errors.
  /// - Throws: ``MkimageError/unusableFile(_:reason:)`` when the stub is no such program, or has no room for more sections.
  func bytes(stub: [UInt8], path: FilePath) throws(MkimageError) -> [UInt8] {
    let layout = try PortableExecutable(stub, path: path)
    let data = [release, Array(commandLine.utf8), initramfs, kernel]
    let table = layout.sectionTable + layout.sections.count * Self.sectionHeader
    guard table + data.count * Self.sectionHeader <= layout.headerByteCount, stub.count >= layout.headerByteCount else {
      throw .unusableFile(path.string, reason: "its header has no room for \(data.count) further sections")
    }
    var image = stub
    image.reserveCapacity(stub.count + data.reduce(0) { $0 + $1.count + Int(layout.fileAlignment) })
    var address = layout.sections.map { UInt64($0.address) + UInt64($0.memoryByteCount) }.max() ?? 0
    for (index, (name, bytes)) in zip(Self.sections, data).enumerated() {
      image.pad(toMultipleOf: Int(layout.fileAlignment))
      address = address.rounded(upTo: UInt64(layout.sectionAlignment))
      let end = address + UInt64(bytes.count)
      guard end < 1 << 31, image.count + bytes.count < 1 << 31 else {
        throw .unusableFile(path.string, reason: "kernel and initramfs are too large for one program: 2 GiB")
      }
      let header = table + index * Self.sectionHeader
      image.replaceSubrange(header..<header + 8, with: Array(name.utf8) + [UInt8](repeating: 0, count: 8 - name.utf8.count))
      image.store(UInt32(bytes.count), at: header + 8)
      image.store(UInt32(address), at: header + 12)
      image.store(UInt32(bytes.count.rounded(upTo: Int(layout.fileAlignment))), at: header + 16)
      image.store(UInt32(image.count), at: header + 20)
      for offset in stride(from: 24, to: 36, by: 4) { image.store(UInt32(0), at: header + offset) }
      image.store(Self.characteristics, at: header + 36)
      image += bytes
      address = end
    }
    image.pad(toMultipleOf: Int(layout.fileAlignment))
    image.store(UInt16(layout.sections.count + data.count), at: layout.start + 6)
    image.store(UInt32(address.rounded(upTo: UInt64(layout.sectionAlignment))), at: layout.optionalHeader + 56)
    // Nobody checks the sum of a program that is not signed.
    image.store(UInt32(0), at: layout.optionalHeader + 64)
    return image
  }
}

extension UnifiedKernelImage {
  /// The stub that such a program was made of, ready to be given to ``bytes(stub:path:)`` again: a machine makes its next program of what it has started
  /// from.
  ///
  /// - Throws: ``MkimageError/unusableFile(_:reason:)`` for a program whose last sections are not ours.
  static func stub(of program: [UInt8], path: FilePath) throws(MkimageError) -> [UInt8] {
    let layout = try PortableExecutable(program, path: path)
    let added = layout.sections.suffix(sections.count)
    guard added.map(\.name) == sections, let first = added.first, first.range.lowerBound >= layout.headerByteCount else {
      throw .unusableFile(path.string, reason: "it is no unified kernel image of distri-mkimage")
    }
    var stub = Array(program[..<first.range.lowerBound])
    stub.store(UInt16(layout.sections.count - added.count), at: layout.start + 6)
    return stub
  }
}

/// The parts of a PE32+ program that matter for adding or reading sections. Every number of the file is checked.
struct PortableExecutable {
  struct Section: Equatable {
    let name: String
    let address: UInt32
    let memoryByteCount: UInt32
    /// Its data in the file.
    let range: Range<Int>
  }

  /// Of the signature `PE\0\0`.
  let start: Int
  let optionalHeader: Int
  let sectionTable: Int
  let sectionAlignment: UInt32
  let fileAlignment: UInt32
  let headerByteCount: Int
  let sections: [Section]

  /// Microsoft's loader takes no more.
  private static let mostSections = 96

  /// - Throws: ``MkimageError/unusableFile(_:reason:)``.
  init(_ bytes: [UInt8], path: FilePath) throws(MkimageError) {
    func damaged(_ reason: String) -> MkimageError { .unusableFile(path.string, reason: "no program for UEFI: \(reason)") }
    func number<N: FixedWidthInteger>(_ offset: Int, _: N.Type = N.self) throws(MkimageError) -> N {
      guard let value = bytes.load(N.self, at: offset) else { throw damaged("it ends too early") }
      return value
    }
    guard bytes.starts(with: Array("MZ".utf8)) else { throw damaged("it does not begin with MZ") }
    start = Int(try number(0x3c, UInt32.self))
    guard try number(start, UInt32.self) == 0x0000_4550 else { throw damaged("it has no PE header") }
    optionalHeader = start + 24
    guard try number(optionalHeader, UInt16.self) == 0x20b else { throw damaged("it is not PE32+") }
    sectionTable = optionalHeader + Int(try number(start + 20, UInt16.self))
    sectionAlignment = try number(optionalHeader + 32)
    fileAlignment = try number(optionalHeader + 36)
    headerByteCount = Int(try number(optionalHeader + 60, UInt32.self))
    guard (1...1 << 20).contains(sectionAlignment), (1...1 << 16).contains(fileAlignment) else { throw damaged("odd alignments") }
    let count = Int(try number(start + 6, UInt16.self))
    guard count <= Self.mostSections else { throw damaged("\(count) sections") }
    var sections: [Section] = []
    for index in 0..<count {
      let header = sectionTable + index * 40
      let (size, address) = (try number(header + 8, UInt32.self), try number(header + 12, UInt32.self))
      let (stored, offset) = (Int(try number(header + 16, UInt32.self)), Int(try number(header + 20, UInt32.self)))
      guard offset <= bytes.count, stored <= bytes.count - offset else { throw damaged("section \(index) lies outside") }
      let name = String(decoding: bytes[header..<header + 8].prefix { $0 != 0 }, as: UTF8.self)
      sections.append(
        Section(name: name, address: address, memoryByteCount: size, range: offset..<offset + min(stored, Int(size))))
    }
    self.sections = sections
  }
}
