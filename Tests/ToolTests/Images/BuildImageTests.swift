// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import Foundation
import SystemPackage
import TestSupport
import Testing

@Suite struct BuildImageTests {
  private static let files = ["cmdline", "disk.img", "initramfs", "vmlinuz"]

  /// What debugfs says to one command.
  private func debugfs(_ command: String, _ disk: FilePath) async throws -> String {
    try await ToolProcess.run("/sbin/debugfs", ["-R", command, disk.string]).output
  }

  @Test func `an image is a clean file system with the packages, the links and the defaults`() async throws {
    let images = try await ImageStore.make()
    let built = try await images.build(["--package", "more", "--run", "cat /etc/motd", "--label", "small"])
    try #require(built.status == 0, "\(built.errors)")
    #expect(built.output.isEmpty && built.errors.isEmpty)
    #expect(try FileManager.default.contentsOfDirectory(atPath: images.output.string).sorted() == Self.files)
    let disk = images.output.appending("disk.img")
    let checked = try await ToolProcess.run("/sbin/e2fsck", ["-fn", disk.string])
    #expect(checked.status == 0, "\(checked.output)")

    #expect(try await debugfs("ls -p /roimg", disk).contains("/more-amd64-1-1.squashfs/"))
    #expect(try await debugfs("ls -p /roimg", disk).contains("/base-amd64-1-1.meta.textproto/"))
    #expect(try await debugfs("stat /roimg/base-amd64.meta.textproto", disk).contains("\"base-amd64-1-1.meta.textproto\""))
    for (link, target) in [
      ("bin", "bin"), ("sbin", "bin"), ("lib", "lib"), ("lib64", "lib64"), ("share", "share"), ("include", "include"),
    ] {
      for place in ["/\(link)", "/usr/\(link)"] {
        #expect(try await debugfs("stat \(place)", disk).contains("Fast link dest: \"/ro/\(target)\""))
      }
    }
    #expect(try await debugfs("cat /etc/motd", disk) == "welcome\n")
    #expect(try await debugfs("cat /etc/more", disk) == "more\n")
    #expect(try await debugfs("cat /etc/os-release", disk).contains("ID=distri\n"))
    #expect(try await debugfs("cat \"/etc/a \"\"quoted\"\" name.d/x\"", disk) == "x\n")
    #expect(try await debugfs("cat /etc/distri/boot-commands", disk) == "cat /etc/motd\n")
    #expect(try await debugfs("stat /etc/localtime", disk).contains("\"../usr/share/zoneinfo/UTC\""))
    #expect(try await debugfs("stat /tmp", disk).contains("Mode:  01777"))
    #expect(try await debugfs("stat /etc/shadow", disk).contains("Mode:  0640"))
    let dumped = images.folder.path.appending("dumped")
    _ = try await debugfs("dump /roimg/base-amd64-1-1.squashfs \(dumped)", disk)
    #expect(
      FileManager.default.contentsEqual(
        atPath: dumped.string, andPath: images.store.appending("base-amd64-1-1.squashfs").string))

    let commandLine = try String(contentsOfFile: images.output.appending("cmdline").string, encoding: .utf8)
    let superblock = try await ToolProcess.run("/sbin/dumpe2fs", ["-h", disk.string]).output
    let uuid = try #require(commandLine.firstMatch(of: #/root=UUID=([0-9a-f-]{36}) /#)).1
    #expect(superblock.contains(uuid))
    #expect(superblock.contains("small"))
  }

  @Test func `the initramfs has the programs, their shared objects and the modules in order`() async throws {
    let images = try await ImageStore.make()
    let built = try await images.build(["--package", "base"])
    try #require(built.status == 0, "\(built.errors)")
    let root = images.folder.path.appending("initramfs")
    try FileManager.default.createDirectory(atPath: root.string, withIntermediateDirectories: false)
    let archive = images.output.appending("initramfs").string
    let unpacked = try await ToolProcess.run("sh", ["-c", "cpio -idm --quiet < \"$1\"", "sh", archive], in: root)
    #expect(unpacked.status == 0 && unpacked.errors.isEmpty, "\(unpacked.errors)")
    let index = try String(contentsOfFile: root.appending("etc/distri/modules").string, encoding: .utf8)
    #expect(
      index.split(separator: "\n") == [
        "module fuse", "module virtio", "module virtio_ring virtio", "module virtio_pci virtio_ring virtio",
        "module virtio_blk virtio virtio_ring", "module virtio_console", "load fuse", "alias pci:v00001AF4d* virtio_pci",
      ])
    let modules = try FileManager.default.contentsOfDirectory(atPath: root.appending("modules").string).sorted()
    #expect(modules == ["fuse", "virtio", "virtio_blk", "virtio_console", "virtio_pci", "virtio_ring"].map { "\($0).ko" })
    #expect(try String(contentsOfFile: root.appending("lib/firmware/card.bin").string, encoding: .utf8) == "firmware")
    // Nothing of this machine is used: the program finds its linker and all it needs in the archive.
    let run = try await ToolProcess.run("/usr/sbin/chroot", [root.string, "/init"])
    #expect(run.status == 64, "\(run.errors)")
    #expect(run.errors.contains("first process"))
  }

  @Test func `the same packages give the same bytes, whoever asks, and other packages another identity`() async throws {
    let images = try await ImageStore.make()
    let first = try await images.build(["--package", "more"])
    try #require(first.status == 0, "\(first.errors)")
    // An ordinary user, elsewhere, with another mask, over an older image.
    let open = images.folder.path.appending("open")
    let second = open.appending("deep/image")
    let prepared = try await ToolProcess.run(
      "install", ["-d", "-o", "65534", "-g", "65534", open.string, open.appending("deep").string])
    #expect(prepared.status == 0, "\(prepared.errors)")
    let user = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "sh", "-c", "umask 077; exec \"$@\"", "sh"]
    for packages in [["base"], ["base", "more"]] {
      let built = try await images.build(packages.flatMap { ["--package", $0] }, to: second, wrapper: user)
      try #require(built.status == 0, "\(built.errors)")
    }
    for file in Self.files {
      #expect(
        FileManager.default.contentsEqual(atPath: images.output.appending(file).string, andPath: second.appending(file).string),
        "\(file)")
    }
    #expect(try FileManager.default.contentsOfDirectory(atPath: open.appending("deep").string) == ["image"])

    let third = images.folder.path.appending("third")
    #expect(try await images.build(["--package", "base"], to: third).status == 0)
    #expect(
      !FileManager.default.contentsEqual(
        atPath: images.output.appending("cmdline").string, andPath: third.appending("cmdline").string))
    let later = images.folder.path.appending("later")
    #expect(try await images.build(["--package", "base"], to: later, environment: ["SOURCE_DATE_EPOCH": "1700000000"]).status == 0)
    #expect(
      try await ToolProcess.run("/sbin/debugfs", ["-R", "stat /etc/motd", later.appending("disk.img").string]).output.contains(
        "2023"))
  }

  @Test(arguments: [
    (["--package", "absent"], Int32(66), "absent"),
    (["--package", "base", "--kernel", "base"], 66, "vmlinuz"),
    (["--package", "base", "--size", "10M"], 64, "at least"),
    (["--package", "base", "--size", "huge"], 64, "--size"),
    (["--package", "base", "--module", "floppy"], 65, "floppy"),
    (["--package", "base", "--module", "broken"], 65, "broken"),
    (["--package", "base", "--label", "more than sixteen bytes"], 64, "label"),
    (["--package", "base", "--init", "/nonexistent/init"], 65, "/nonexistent/init"),
    (["--package", "base", "--init", "/etc/passwd"], 65, "no ELF program"),
    ([], 64, "--package"),
  ])
  func `what cannot be built is said, and nothing is left`(arguments: [String], status: Int32, words: String) async throws {
    let images = try await ImageStore.make()
    let built = try await images.build(arguments)
    #expect(built.status == status)
    #expect(built.errors.contains(words), "\(built.errors)")
    let left = try FileManager.default.contentsOfDirectory(atPath: images.folder.path.string).filter { !$0.hasPrefix("tree-") }
    #expect(left == ["store"])
  }

  @Test func `the size that is said to be the least is enough`() async throws {
    let images = try await ImageStore.make()
    // Incompressible, so that the image is as large; many, so that directories and inodes count.
    let random = try FileHandle(forReadingFrom: URL(filePath: "/dev/urandom"))
    var files = ["out/big": [UInt8](try #require(try random.read(upToCount: 12 << 20)))]
    for index in 0..<300 { files["etc/many/\(index)"] = [1] }
    try await images.add("large-amd64-1-1", files: files)
    let refused = try await images.build(["--package", "large", "--size", "1M"])
    let least = try #require(refused.errors.firstMatch(of: #/at least (\d+) MiB/#)).1
    let built = try await images.build(["--package", "large", "--size", "\(least)M"])
    #expect(built.status == 0, "\(built.errors)")
    let checked = try await ToolProcess.run("/sbin/e2fsck", ["-fn", images.output.appending("disk.img").string])
    #expect(checked.status == 0, "\(checked.output)")
  }

  @Test func `a directory with other files is not replaced`() async throws {
    let images = try await ImageStore.make()
    try FileManager.default.createDirectory(atPath: images.output.string, withIntermediateDirectories: false)
    let letter = images.output.appending("letter").string
    try Data("dear".utf8).write(to: URL(filePath: letter))
    let built = try await images.build(["--package", "base"])
    #expect(built.status == 65)
    #expect(FileManager.default.contents(atPath: letter) == Data("dear".utf8))
  }

  @Test func `a builder that is killed leaves the old image or the new one, and the next one cleans up`() async throws {
    let images = try await ImageStore.make()
    func digests() async throws -> String {
      try await ToolProcess.run("sh", ["-c", "sha256sum -- *"], in: images.output).output
    }
    #expect(try await images.build(["--package", "more"]).status == 0)
    let new = try await digests()
    #expect(try await images.build(["--package", "base"]).status == 0)
    let old = try await digests()
    #expect(old != new)
    for milliseconds in stride(from: 10, through: 250, by: 24) {
      _ = try await images.build(
        ["--package", "more"], wrapper: ["timeout", "-s", "KILL", "\(Double(milliseconds) / 1000)"])
      let left = try await digests()
      #expect(left == old || left == new)
    }
    #expect(try await images.build(["--package", "more"]).status == 0)
    #expect(try await digests() == new)
    let beside = try FileManager.default.contentsOfDirectory(atPath: images.folder.path.string)
    #expect(!beside.contains { $0.hasPrefix(".image.") })
  }

  @Test func `a tool that is missing is named with the package that has it`() async throws {
    let images = try await ImageStore.make()
    let program = ToolProcess.binaries.appending("distri-mkimage").string
    let built = try await ToolProcess.run(
      "unshare",
      [
        "-m", "sh", "-c", "mount --bind /dev/null \"$(readlink -f /sbin/mke2fs)\" && exec \"$@\"", "sh", program, "build",
        "--store",
        images.store.string, "--package", "base", "-o", images.output.string,
      ])
    #expect(built.status == 69)
    #expect(built.errors.contains("e2fsprogs"), "\(built.errors)")
  }

  @Test func `what is no image does not boot`() async throws {
    let folder = try TemporaryDirectory()
    let outcome = try await ToolProcess.run("distri-mkimage", ["boot", folder.path.string, "--timeout", "5"])
    #expect(outcome.status == 65)
    #expect(outcome.errors.contains("distri-mkimage build"))
  }
}
