// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import Foundation
import SystemPackage
import TestSupport
import Testing

@testable import distri_mkimage

/// Disks that boot by themselves. SystemTests boots them; here is what others see in them.
@Suite struct DiskTests {
  @Test func `a disk of 8 GiB takes little memory to make, and no more room than what is on it`() async throws {
    let images = try await ImageStore.make()
    let disk = images.folder.path.appending("disk.img")
    // The most that the tool and what it starts have had, in KiB.
    let meter =
      "import resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True); print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    let built = try await images.build(
      ["--package", "more", "--both", "--size", "8G"], to: disk, wrapper: ["python3", "-c", meter])
    try #require(built.status == 0, "\(built.errors)")
    #expect(try #require(Int(built.output.filter { $0 != "\n" })) < 200 << 10)
    var status = stat()
    #expect(stat(disk.string, &status) == 0 && status.st_size == 8 << 30 && status.st_blocks * 512 < 300 << 20)
  }

  private struct Partition: Decodable {
    let start: Int
    let size: Int
    let type: String
    let name: String
  }

  private struct Table: Decodable {
    struct Body: Decodable { let partitions: [Partition] }
    let partitiontable: Body
  }

  private func partitions(of disk: FilePath) async throws -> [Partition] {
    let listed = try await ToolProcess.run("/sbin/sfdisk", ["--json", disk.string])
    try #require(listed.status == 0, "\(listed.errors)")
    return try JSONDecoder().decode(Table.self, from: Data(listed.output.utf8)).partitiontable.partitions
  }

  /// A partition in a file of its own.
  private func extract(_ partition: Partition, of disk: FilePath, to path: FilePath) async throws {
    let copied = try await ToolProcess.run(
      "dd", ["if=\(disk)", "of=\(path)", "skip=\(partition.start)", "count=\(partition.size)", "conv=sparse", "status=none"])
    try #require(copied.status == 0, "\(copied.errors)")
  }

  @Test func `a disk has a sound table, file systems and boot loaders`() async throws {
    let images = try await ImageStore.make()
    let disk = images.folder.path.appending("disk.img")
    let built = try await images.build(
      ["--package", "more", "--layout", "gpt", "--serial", "--kernel-parameter", "panic=5", "--label", "box"], to: disk)
    try #require(built.status == 0, "\(built.errors)")
    #expect(built.output.isEmpty && built.errors.isEmpty)
    let verified = try await ToolProcess.run("/sbin/sfdisk", ["--verify", disk.string])
    #expect(verified.status == 0 && verified.output.contains("No errors"), "\(verified.output)\(verified.errors)")
    let found = try await partitions(of: disk)
    #expect(found.map(\.name) == ["bios", "boot", "root"])
    #expect(found.map { String($0.type.prefix(8)) } == ["21686148", "C12A7328", "4F68BCE3"])

    let (boot, root) = (images.folder.path.appending("boot"), images.folder.path.appending("root"))
    try await extract(found[1], of: disk, to: boot)
    try await extract(found[2], of: disk, to: root)
    for (checker, file) in [("/sbin/fsck.vfat", boot), ("/sbin/e2fsck", root)] {
      let checked = try await ToolProcess.run(checker, ["-fn", file.string])
      #expect(checked.status == 0, "\(checked.output)")
    }
    let grub = try await ToolProcess.run("mtype", ["-i", boot.string, "::grub/grub.cfg"]).output
    let line = try #require(grub.firstMatch(of: #/linux /vmlinuz (.*)\n/#)).1
    #expect(line.hasPrefix("root=UUID=") && line.hasSuffix("rw console=tty0 console=ttyS0 quiet panic=-1 panic=5"))
    #expect(try await ToolProcess.run("mtype", ["-i", boot.string, "::vmlinuz"]).output == "kernel")
    let uuid = line.dropFirst(10).prefix(36)
    #expect(try await ToolProcess.run("/sbin/dumpe2fs", ["-h", root.string]).output.contains(uuid))

    let unified = images.folder.path.appending("distri.efi")
    let copied = try await ToolProcess.run("mcopy", ["-i", boot.string, "::EFI/Linux/distri.efi", unified.string])
    #expect(copied.status == 0, "\(copied.errors)")
    for (section, contents) in [(".linux", "kernel"), (".cmdline", String(line))] {
      let part = images.folder.path.appending("section").string
      let dumped = try await ToolProcess.run(
        "objcopy", ["-O", "binary", "--dump-section", "\(section)=\(part)", unified.string, "/dev/null"])
      #expect(dumped.status == 0, "\(dumped.errors)")
      #expect(try String(contentsOfFile: part, encoding: .utf8) == contents)
    }
    // The first sector starts GRUB, whose second part knows where it is.
    let start = try Data(contentsOf: URL(filePath: disk.string), options: .alwaysMapped).prefix((1 << 20) + 512)
    #expect(start.prefix(2) == Data([0xeb, 0x63]) && [UInt8](start).load(UInt64.self, at: 0x5c) == 2048)
    #expect([UInt8](start).load(UInt64.self, at: (1 << 20) + 500) == 2049)
  }

  @Test func `the same packages give the same disk, and it is no larger than what is in it`() async throws {
    let images = try await ImageStore.make()
    let disks = ["one.img", "elsewhere/two.img"].map { images.folder.path.pushing(FilePath($0)) }
    for disk in disks {
      let built = try await images.build(["--package", "base", "--both", "--size", "600M"], to: disk)
      try #require(built.status == 0, "\(built.errors)")
    }
    let same = try await ToolProcess.run("cmp", disks.map(\.string))
    #expect(same.status == 0, "\(same.output)")
    let attributes = try FileManager.default.attributesOfItem(atPath: disks[0].string)
    #expect(attributes[.size] as? Int == 600 << 20)
    let used = try await ToolProcess.run("du", ["-m", disks[0].string]).output
    #expect(try #require(Int(used.prefix { $0.isNumber })) < 250)
    #expect(try FileManager.default.contentsOfDirectory(atPath: images.folder.path.appending("elsewhere").string) == ["two.img"])
  }

  @Test(arguments: [("--uefi", ["boot", "root"]), ("--bios", ["bios", "boot", "root"])])
  func `a disk for one kind of firmware has no more than that needs`(flag: String, names: [String]) async throws {
    let images = try await ImageStore.make()
    let disk = images.folder.path.appending("disk.img")
    let built = try await images.build(["--package", "base", flag], to: disk)
    try #require(built.status == 0, "\(built.errors)")
    let found = try await partitions(of: disk)
    #expect(found.map(\.name) == names)
    let offset = try #require(found.first { $0.name == "boot" }).start * 512
    let loader = try await ToolProcess.run("mdir", ["-b", "-i", "\(disk)@@\(offset)", "::EFI/BOOT"])
    #expect((loader.status == 0) == (flag == "--uefi"))
  }

  @Test(arguments: [
    (["--layout", "gpt", "--size", "20M"], Int32(64), "at least"), (["--layout", "direct", "--bios"], 64, "--layout gpt"),
    (["--layout", "mbr"], 64, "--layout"),
  ])
  func `what cannot be a disk is said`(arguments: [String], status: Int32, words: String) async throws {
    let images = try await ImageStore.make()
    let disk = images.folder.path.appending("disk.img")
    let built = try await images.build(["--package", "base"] + arguments, to: disk)
    #expect(built.status == status && built.errors.contains(words), "\(built.errors)")
    #expect(!FileManager.default.fileExists(atPath: disk.string))
  }

  @Test func `a disk does not replace what is no file`() async throws {
    let images = try await ImageStore.make()
    let built = try await images.build(["--package", "base", "--layout", "gpt"], to: images.store)
    #expect(built.status == 65 && built.errors.contains("no file"), "\(built.errors)")
    #expect(FileManager.default.fileExists(atPath: images.store.appending("base-amd64-1-1.squashfs").string))
  }

  @Test func `an initramfs is compressed where the kernel says that it can unpack it`() async throws {
    let images = try await ImageStore.make()
    try await images.add(
      "zlinux-amd64-1-1",
      files: [
        "out/boot/vmlinuz-1": Array("kernel".utf8), "out/boot/config-1": Array("CONFIG_X=y\nCONFIG_RD_ZSTD=y\n".utf8),
        "out/lib/modules/1/modules.builtin": Array(
          ["virtio_pci", "virtio_blk", "virtio_console", "ext4", "fuse"].map { "kernel/\($0).ko\n" }.joined().utf8),
      ])
    let built = try await images.build(["--package", "base", "--kernel", "zlinux"])
    try #require(built.status == 0, "\(built.errors)")
    let listed = try await ToolProcess.run(
      "sh", ["-c", "zstd -dc \"$1\" | cpio -it --quiet", "sh", images.output.appending("initramfs").string])
    #expect(listed.output.split(separator: "\n").contains("init"), "\(listed.errors)")
  }
}

@Suite struct UnifiedKernelImageTests {
  private func image() -> UnifiedKernelImage {
    UnifiedKernelImage(release: Array("ID=x\n".utf8), commandLine: "quiet", initramfs: [1, 2, 3], kernel: [4])
  }

  @Test func `sections are added to systemd's stub, and what was in it stays`() throws {
    let stub = try BootFiles.stub.contents()
    let before = try PortableExecutable(stub, path: "stub")
    let bytes = try image().bytes(stub: stub, path: "stub")
    let after = try PortableExecutable(bytes, path: "unified")
    #expect(Array(after.sections.prefix(before.sections.count)) == before.sections)
    #expect(after.sections.dropFirst(before.sections.count).map(\.name) == UnifiedKernelImage.sections)
    #expect(
      after.sections.suffix(4).map { Array(bytes[$0.range]) } == [Array("ID=x\n".utf8), Array("quiet".utf8), [1, 2, 3], [4]])
    for (one, next) in zip(after.sections, after.sections.dropFirst()) {
      #expect(one.address + one.memoryByteCount <= next.address)
    }
  }

  @Test func `no damage to a stub does more than an error with its path`() throws {
    let stub = try BootFiles.stub.contents()
    var damages: [[UInt8]] = stride(from: 0, to: stub.count, by: 997).map { Array(stub[..<$0]) }
    for index in 0..<0x400 {
      for value: UInt8 in [0, 1, 0x7f, 0xff] {
        var damaged = stub
        damaged[index] = value
        damages.append(damaged)
      }
    }
    for damaged in damages {
      do throws(MkimageError) {
        _ = try image().bytes(stub: damaged, path: "damaged.stub")
      } catch {
        #expect("\(error)".contains("damaged.stub"))
      }
    }
  }
}

@Suite struct DiskFormatTests {
  @Test(arguments: [("raw", "raw"), ("qcow2", "qcow2"), ("vpc", "vhd"), ("vhdx", "vhdx"), ("vdi", "vdi"), ("vmdk", "vmdk")])
  func `the formats that qemu writes are recognised`(name: String, format: String) async throws {
    let folder = try TemporaryDirectory()
    for options in name == "vpc" ? ["subformat=fixed", "subformat=dynamic"] : [""] {
      let file = folder.path.appending("disk\(options)")
      let made = try await ToolProcess.run(
        "qemu-img", ["create", "-q", "-f", name] + (options.isEmpty ? [] : ["-o", options]) + [file.string, "8M"])
      try #require(made.status == 0, "\(made.errors)")
      #expect(try DiskFormat(ofFileAt: file).rawValue == format)
    }
  }

  @Test func `a file that is short or absent is no disk of another kind`() throws {
    let folder = try TemporaryDirectory()
    let file = folder.path.appending("short")
    try Data().write(to: URL(filePath: file.string))
    #expect(try DiskFormat(ofFileAt: file) == .raw)
    #expect(throws: MkimageError.self) { try DiskFormat(ofFileAt: folder.path.appending("absent")) }
  }
}

@Suite struct ImageFormatTests {
  @Test func `every format holds the same sectors, and most the same bytes each time`() async throws {
    let images = try await ImageStore.make()
    let disks = ["one", "two"].map { images.folder.path.appending($0) }
    let formats = ImageFormat.allCases.filter { ![.gce, .tar].contains($0) && !$0.isContainer }
    for disk in disks {
      let built = try await images.build(["--package", "base"] + formats.flatMap { ["--format", $0.rawValue] }, to: disk)
      try #require(built.status == 0, "\(built.errors)")
    }
    let raw = disks[0].appending("disk.raw").string
    for format in formats {
      let (one, two) = (disks[0].appending("disk.\(format.ending)"), disks[1].appending("disk.\(format.ending)"))
      let same = try await ToolProcess.run("cmp", [one.string, two.string])
      #expect((same.status == 0) == format.isReproducible, "\(format.rawValue): \(same.output)")
      if format == .rawZstd {
        let unpacked = try await ToolProcess.run("sh", ["-c", "zstd -dc \"$1\" | cmp - \"$2\"", "sh", one.string, raw])
        #expect(unpacked.status == 0, "\(unpacked.output)\(unpacked.errors)")
        continue
      }
      let name = try DiskFormat(ofFileAt: one).qemuName
      let compared = try await ToolProcess.run("qemu-img", ["compare", "-f", "raw", "-F", name, raw, one.string])
      #expect(compared.status == 0, "\(format.rawValue): \(compared.output)\(compared.errors)")
      if [.qcow2, .vdi, .vhdx, .vmdk].contains(format) {
        let checked = try await ToolProcess.run("qemu-img", ["check", "-f", name, one.string])
        #expect(checked.status == 0, "\(format.rawValue): \(checked.output)\(checked.errors)")
      }
    }
    let azure = try FileManager.default.attributesOfItem(atPath: disks[0].appending("disk.azure.vhd").string)
    #expect(try #require(azure[.size] as? Int) % (1 << 20) == 512)
  }

  @Test func `an archive for Google's machines has a disk of whole GiB`() async throws {
    let images = try await ImageStore.make()
    let archives = ["one", "two"].map { images.folder.path.appending("\($0).tar.gz") }
    for archive in archives {
      let built = try await images.build(["--package", "base", "--uefi", "--format", "gce"], to: archive)
      try #require(built.status == 0, "\(built.errors)")
    }
    #expect(try await ToolProcess.run("cmp", archives.map(\.string)).status == 0)
    let listed = try await ToolProcess.run("tar", ["-tvzf", archives[0].string]).output
    #expect(listed.contains(" 1073741824 ") && listed.hasSuffix(" disk.raw\n"), "\(listed)")
    let unpacked = try await ToolProcess.run("tar", ["-xzSf", archives[0].string, "-C", images.folder.path.string])
    #expect(unpacked.status == 0, "\(unpacked.errors)")
    let verified = try await ToolProcess.run("/sbin/sfdisk", ["--verify", images.folder.path.appending("disk.raw").string])
    #expect(verified.output.contains("No errors"), "\(verified.output)\(verified.errors)")
  }

  @Test func `an image for Azure wants a key`() async throws {
    let images = try await ImageStore.make()
    let disk = images.folder.path.appending("azure.vhd")
    let refused = try await images.build(["--package", "base", "--azure"], to: disk)
    #expect(refused.status == 64 && refused.errors.contains("--authorized-keys"), "\(refused.errors)")
    #expect(!FileManager.default.fileExists(atPath: disk.string))
  }
}

@Suite struct TarTests {
  @Test func `tar unpacks what was packed, long names and owners too`() async throws {
    let images = try await ImageStore.make()
    let folder = images.folder.path
    let long = (0..<4).map { "\($0)" + String(repeating: "x", count: 60) }.joined(separator: "/")
    let description = """
      package: "more" user { name: "ada" uid: 1234 } file { path: "/srv/\(long)/é" contents: "deep\\n" mode: 0640 user: "ada" }
      link { path: "/srv/link" target: "\(long)/é" } user { name: "far" uid: 3000000 } directory { path: "/srv/far" user: "far" }
      """
    try description.write(toFile: folder.appending("d").string, atomically: false, encoding: .utf8)
    let archives = ["one.tar", "two.tar"].map { folder.appending($0) }
    for archive in archives {
      let built = try await images.build([folder.appending("d").string, "--format", "tar"], to: archive)
      try #require(built.status == 0, "\(built.errors)")
    }
    #expect(try await ToolProcess.run("cmp", archives.map(\.string)).status == 0)
    let root = folder.appending("root")
    try FileManager.default.createDirectory(atPath: root.string, withIntermediateDirectories: false)
    let unpacked = try await ToolProcess.run("tar", ["-xpf", archives[0].string, "--numeric-owner", "-C", root.string])
    #expect(unpacked.status == 0 && unpacked.errors.isEmpty, "\(unpacked.errors)")
    let shown = try await ToolProcess.run(
      "stat", ["-L", "-c", "%a %u %Y"] + ["srv/link", "srv/far", "tmp", "etc/shadow"].map { root.pushing(FilePath($0)).string }
    ).output
    #expect(shown == "640 1234 315532800\n755 3000000 315532800\n1777 0 315532800\n640 0 315532800\n")
    #expect(try String(contentsOfFile: root.appending("srv/link").string, encoding: .utf8) == "deep\n")
    #expect(
      FileManager.default.contentsEqual(
        atPath: root.appending("roimg/base-amd64-1-1.squashfs").string,
        andPath: images.store.appending("base-amd64-1-1.squashfs").string))
  }
}
