// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore

/// A view as a file: what a mount starts with, and what its next server goes on with. Mapped and checked by checksum, never parsed.
///
/// Format: `docs/formats.md`.
final class ViewFile: Sendable {
  static let format = IndexFile.Format(magic: "distriVI", version: 2, sectionCount: 6)
  private enum Section: Int, CaseIterable { case packages, text, directories, blocks, claims, unions }
  private static let packageByteCount = 96
  private static let directoryByteCount = 16
  private static let unionByteCount = 20

  /// When so many packages have come and gone, numbers begin anew with the next mount.
  private static let packageNumberLimit: UInt64 = 1 << 24

  private let file: IndexFile
  private let directoryTable: IndexBytes
  private let blocks: IndexBytes

  /// Checks a mapped file; nil when it does not check, or shows other exchange directories.
  init?(_ mapping: MappedFile, sources: UInt64) {
    guard let file = IndexFile(mapping, Self.format), file.binding[3] == sources,
      file.binding[2] >> 32 <= Self.packageNumberLimit, Section.allCases.allSatisfy({ file.isIntact($0.rawValue) })
    else { return nil }
    self.file = file
    directoryTable = file.section(Section.directories.rawValue)
    blocks = file.section(Section.blocks.rawValue)
  }

  /// The checksums of the names of a file's packages, of which nothing else is checked; nil as for the file.
  static func packageNames(_ mapping: MappedFile, sources: UInt64) -> Set<UInt64>? {
    guard let file = IndexFile(mapping, Self.format), file.binding[3] == sources, file.isIntact(Section.packages.rawValue),
      file.isIntact(Section.text.rawValue)
    else { return nil }
    let table = file.section(Section.packages.rawValue)
    let text = file.section(Section.text.rawValue)
    return Set(
      (0..<(table.count / packageByteCount)).map { index in
        let record = index * packageByteCount
        return text.slice(Int(table.u32(record + 4)), Int(table.u32(record + 8))).checksum
      })
  }

  /// The state of the store that it shows.
  var fingerprint: StoreScan.Fingerprint { .init(count: file.binding[0], sum: file.binding[1]) }
  /// Whether the file has become shorter, or its disk has failed, while it was mapped.
  var isDamaged: Bool { file.mapping.hasFaulted }

  private var packageCount: Int { file.section(Section.packages.rawValue).count / Self.packageByteCount }

  /// The view, whose packages are made anew.
  func view() -> View {
    let table = file.section(Section.packages.rawValue)
    let text = file.section(Section.text.rawValue)
    let claims = file.section(Section.claims.rawValue)
    let next = file.binding[2]
    var slots = PackageSlots()
    for index in 0..<packageCount {
      let record = index * Self.packageByteCount
      let number = table.u32(record)
      guard number > 0, UInt64(number) < Self.packageNumberLimit else { continue }
      let flags = table.u32(record + 12)
      let identity = ImageIdentity(
        inode: table.u64(record + 16), byteCount: table.u64(record + 24),
        modificationTime: Int64(bitPattern: table.u64(record + 32)),
        nanoseconds: table.u32(record + 40))
      var summary = MountedPackage.Summary()
      summary.claims = claims.slice(Int(clamping: table.u64(record + 48)), Int(table.u32(record + 44)))
      summary.mode = table.u32(record + 56)
      summary.userID = table.u32(record + 60)
      summary.groupID = table.u32(record + 64)
      summary.linkCount = table.u32(record + 68)
      summary.byteCount = table.u64(record + 72)
      summary.modificationTime = flags & 1 == 0 ? Int64(bitPattern: table.u64(record + 80)) : nil
      summary.fileCount = table.u32(record + 88)
      let package = MountedPackage(
        number: number, name: text.slice(Int(table.u32(record + 4)), Int(table.u32(record + 8))), identity: identity,
        summary: summary)
      slots[number] = View.Slot(package: package, isShown: true, isSelected: flags & 2 == 0)
    }
    return View(
      file: self, changed: [:], slots: slots, unions: RuntimeUnions(declarations: declarations(text)),
      nextPackage: UInt32(truncatingIfNeeded: next >> 32), nextDirectory: UInt32(truncatingIfNeeded: next))
  }

  private func declarations(_ text: IndexBytes) -> [RuntimeUnions.Declaration] {
    let table = file.section(Section.unions.rawValue)
    return (0..<(table.count / Self.unionByteCount)).map { index in
      let record = index * Self.unionByteCount
      return RuntimeUnions.Declaration(
        package: table.u32(record), directory: text.array(Int(table.u32(record + 4)), Int(table.u32(record + 8))),
        base: text.array(Int(table.u32(record + 12)), Int(table.u32(record + 16))))
    }
  }

  /// The numbers of all directories, ascending.
  var directoryNumbers: [UInt32] {
    (0..<(directoryTable.count / Self.directoryByteCount)).map { directoryTable.u32($0 * Self.directoryByteCount) }
  }

  func directory(numbered number: UInt32) -> ExchangeDirectory? {
    var (low, high) = (0, directoryTable.count / Self.directoryByteCount)
    let count = high
    while low < high {
      let middle = (low + high) / 2
      if directoryTable.u32(middle * Self.directoryByteCount) < number { low = middle + 1 } else { high = middle }
    }
    let record = low * Self.directoryByteCount
    guard low < count, directoryTable.u32(record) == number else { return nil }
    return ExchangeDirectory(blocks.slice(Int(clamping: directoryTable.u64(record + 8)), Int(directoryTable.u32(record + 4))))
  }

  /// The bytes of a file that says what the view says. The same view gives the same bytes.
  static func bytes(of view: View, _ fingerprint: StoreScan.Fingerprint, sources: UInt64) -> [UInt8] {
    var (packages, text, directories, blocks, claims, unions) = ([UInt8](), [UInt8](), [UInt8](), [UInt8](), [UInt8](), [UInt8]())
    func place(_ bytes: [UInt8]) {
      unions.append(number: UInt32(text.count))
      unions.append(number: UInt32(bytes.count))
      text += bytes
    }
    for slot in view.slots where slot.isShown {
      let package = slot.package
      guard let identity = package.identity else { continue }
      packages.append(number: package.number)
      packages.append(number: UInt32(text.count))
      packages.append(number: UInt32(package.name.count))
      let summary = package.summary
      packages.append(number: UInt32((summary.modificationTime == nil ? 1 : 0) | (slot.isSelected ? 0 : 2)))
      // Those of a package that is not selected any more say where its links have been.
      let own = slot.isSelected ? summary.claims : .none
      for word in identity.binding.prefix(3) { packages.append(number: word) }
      packages.append(number: identity.nanoseconds)
      packages.append(number: UInt32(own.count))
      packages.append(number: UInt64(claims.count))
      for number in [summary.mode, summary.userID, summary.groupID, summary.linkCount] { packages.append(number: number) }
      packages.append(number: summary.byteCount)
      packages.append(number: UInt64(bitPattern: summary.modificationTime ?? 0))
      packages.append(number: UInt64(summary.fileCount))
      text.append(package.name, 0, package.name.count)
      claims.append(own, 0, own.count)
    }
    for directory in view.directories.sorted(by: { $0.number < $1.number }) {
      directories.append(number: directory.number)
      directories.append(number: UInt32(directory.block.count))
      directories.append(number: UInt64(blocks.count))
      blocks.append(directory.block, 0, directory.block.count)
    }
    for declaration in view.unions.declarations {
      unions.append(number: declaration.package)
      place(declaration.directory)
      place(declaration.base)
    }
    return IndexFile.bytes(
      format,
      binding: [fingerprint.count, fingerprint.sum, UInt64(view.nextPackage) << 32 | UInt64(view.nextDirectory), sources],
      sections: [packages, text, directories, blocks, claims, unions])
  }
}
