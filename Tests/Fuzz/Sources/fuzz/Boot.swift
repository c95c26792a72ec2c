// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore
import SystemPackage

// What a machine reads before it trusts anything, and what `distri-mkimage` reads of images that may be anybody's. The parsers are part of programs, which
// cannot be imported: Tools/ has links to their files.

/// The bytes as the texts and tables of an initramfs and of a boot partition.
func readBootFiles(_ bytes: [UInt8]) {
  let text = String(decoding: bytes, as: UTF8.self)
  if let parameters = try? KernelParameters(parsing: text), let root = parameters.root {
    precondition((try? DeviceSpecification(parsing: root.description)) == root)
    precondition((1...3600).contains(parameters.timeout))
  }
  if let index = try? ModuleIndex(parsing: text) {
    precondition(index.always.allSatisfy { index.dependencies[$0] != nil })
    // fnmatch tries all ways to spread a text over stars; patterns are those of the kernel's own modules.
    for line in text.split(separator: "\n").prefix(16) where text.count(where: { $0 == "*" }) < 16 {
      precondition(index.modules(for: String(line)).allSatisfy { index.dependencies[$0] != nil })
    }
    precondition(index.dependencies.keys.allSatisfy { !$0.contains("/") })
  }
  if let keymap = try? Keymap(bytes) { precondition(keymap.tables.allSatisfy { $0.meanings.count == 128 }) }
  let entries = Grub.entries(in: text)
  // What is written is read as it was, if it is written in letters that have one meaning.
  if entries.flatMap({ [$0.title, $0.kernel, $0.initramfs, $0.commandLine] }).joined().utf8.allSatisfy({
    (0x20..<0x7f).contains($0)
  }) {
    precondition(Grub.entries(in: Grub.configuration(entries)) == entries)
  }
}

/// The bytes as the start of a disk.
func readDisk(_ bytes: [UInt8]) {
  if let header = LUKSHeader(bytes) { precondition(header.uuid.count == 16) }
  if let superblock = Ext4Superblock(bytes) { precondition(superblock.uuid.count == 16 && superblock.label.count <= 16) }
  guard let file = try? temporaryFile(bytes) else { return }
  defer { try? file.close() }
  let size = UInt64(bytes.count)
  for partition in (try? PartitionReader(file: file, byteCount: size).partitions(path: "fuzz")) ?? [] {
    precondition(partition.offset + partition.byteCount <= size && partition.byteCount > 0)
  }
}

/// The bytes as a program for UEFI, and as a module of the kernel.
func readBootPrograms(_ bytes: [UInt8]) {
  _ = try? ModuleInfo(bytes, name: "fuzz")
  let image = UnifiedKernelImage(release: [1], commandLine: "a", initramfs: Array(bytes.prefix(9)), kernel: [2])
  for stub in [bytes, try? UnifiedKernelImage.stub(of: bytes, path: "fuzz")].compactMap(\.self) {
    guard let program = try? image.bytes(stub: stub, path: "fuzz"),
      let sections = try? PortableExecutable(program, path: "fuzz").sections.suffix(4)
    else { continue }
    // What is put in is found again.
    precondition(sections.map(\.name) == UnifiedKernelImage.sections)
    precondition(sections.map { Array(program[$0.range]) } == [image.release, Array("a".utf8), image.initramfs, image.kernel])
  }
}

/// Good inputs to start from.
func writeBootSeeds(of target: String, to folder: String) throws {
  func little(_ value: Int, _ count: Int) -> [UInt8] { (0..<count).map { UInt8(truncatingIfNeeded: value >> ($0 * 8)) } }
  switch target {
  case "boot-files":
    let parameters =
      #"root=UUID=6f1a0a52-7a33-8000-8000-000000000001 rd.luks.uuid=6f1a0a527a3380008000000000000001 ro "init=/a b" -- x"#
    try write(Array(parameters.utf8), folder + "/parameters")
    try write(Array("module a\nmodule b a\nload b\nalias pci:v*d[0-9]* b\n# pci:v1d2\npci:v1d2".utf8), folder + "/modules")
    let entry = Grub.Entry(commandLine: "root=/dev/vda quiet")
    try write(Array(Grub.configuration([entry, entry]).utf8), folder + "/grub.cfg")
    try write(Array("bkeymap".utf8) + [1] + Array(repeating: 0, count: 255) + Array(repeating: 2, count: 256), folder + "/keymap")
  case "disk-headers":
    let luks = Array("LUKS".utf8) + [0xba, 0xbe, 0, 2] + Array(repeating: 0, count: 160)
    try write(luks + Array(repeating: UInt8(ascii: "a"), count: 32) + Array(repeating: 0, count: 400), folder + "/luks")
    var ext4 = [UInt8](repeating: 0, count: 1024)
    ext4.replaceSubrange(0x38..<0x3a, with: [0x53, 0xef])
    try write(ext4, folder + "/ext4")
    let header = Array("EFI PART".utf8) + Array(repeating: 0, count: 64) + little(2, 8) + little(1, 4) + little(128, 4)
    let entry = Array(repeating: 7, count: 32) + little(3, 8) + little(4, 8) + Array(repeating: 0, count: 8) + little(0x61, 72)
    let start = [UInt8](repeating: 0, count: 512) + header
    try write(
      start + [UInt8](repeating: 0, count: 1024 - start.count) + entry + Array(repeating: 0, count: 1408), folder + "/table")
  case "boot-programs":
    // A header of 1 KiB, and no sections yet.
    var stub = Array("MZ".utf8) + Array(repeating: 0, count: 58) + little(64, 4) + Array("PE\0\0".utf8)
    stub += little(0x8664, 2) + little(0, 2) + little(0, 12) + little(112, 2) + little(0, 2) + little(0x20b, 2) + little(0, 30)
    stub += little(4096, 4) + little(512, 4) + little(0, 16) + little(4096, 4) + little(1024, 4)
    stub += Array(repeating: 0, count: 1024 - stub.count)
    try write(stub, folder + "/stub")
    let kernel = UnifiedKernelImage(release: [1], commandLine: "quiet", initramfs: [2, 3], kernel: [4])
    try write(try kernel.bytes(stub: stub, path: "stub"), folder + "/program")
    let info = Array("alias=pci:v1*\0depends=a,b\0softdep=pre: c\0firmware=x.bin\0".utf8), names = Array("\0.modinfo\0".utf8)
    func section(_ name: Int, _ offset: Int, _ count: Int) -> [UInt8] {
      little(name, 4) + little(1, 4) + little(0, 16) + little(offset, 8) + little(count, 8) + little(0, 24)
    }
    let start = [0x7f, 0x45, 0x4c, 0x46, 2, 1, 1, 0] + little(0, 32) + little(64 + info.count + names.count, 8)
    let module = start + little(0, 10) + little(64, 2) + little(3, 2) + little(2, 2) + info + names
    try write(module + section(0, 0, 0) + section(1, 64, info.count) + section(0, 64 + info.count, names.count), folder + "/module")
  default: break
  }
}
