// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import Foundation
import SystemPackage
import TestSupport
import Testing

/// Images boot in a virtual machine, with Debian's kernel, from a store of one package that is made of this machine's bash.
@Suite(.serialized) struct BootTests {
  /// Made once; what was downloaded is kept between runs.
  private static let image = Task { () async throws -> FilePath in
    let folder = ToolProcess.binaries.removingLastComponent().appending("boot-test").lexicallyNormalized()
    let store = folder.appending("store")
    for part in ["store", "tree", "image"] { try? FileManager.default.removeItem(atPath: folder.appending(part).string) }
    try FileManager.default.createDirectory(atPath: store.string, withIntermediateDirectories: true)
    try await pack(kernel(in: folder), as: "linux-image-amd64-1-1", into: store)
    try await pack(userland(in: folder), as: "base-amd64-1-1", into: store)
    let image = folder.appending("image")
    let built = try await ToolProcess.run(
      "distri-mkimage",
      [
        "build", "--store", store.string, "--package", "base", "--run", "cat /etc/os-release", "--run",
        "echo from $BASH at $(ls -d /ro/base-*)",
        "--label", "boot-test", "-o", image.string,
      ])
    try #require(built.status == 0, "\(built.errors)")
    return image
  }

  /// `out/boot` and `out/lib/modules` of the package that Debian's cloud kernel is in.
  private static func kernel(in folder: FilePath) async throws -> FilePath {
    let script = """
      set -e; mkdir -p debs; cd debs
      package=$(apt-cache depends linux-image-cloud-amd64 | sed -n 's/.*Depends: //p' | head -n 1)
      [ -e "$package".deb ] || { apt-get download -qq "$package" >&2; mv "$package"_*.deb "$package".deb; }
      rm -rf ../tree/kernel; mkdir -p ../tree/kernel/out; dpkg-deb -x "$package".deb ../tree/kernel/out
      """
    let done = try await ToolProcess.run("sh", ["-c", script], in: folder)
    try #require(done.status == 0, "\(done.errors)")
    return folder.appending("tree/kernel")
  }

  /// bash, cat and ls with their libraries where Debian has them, and an init program.
  private static func userland(in folder: FilePath) async throws -> FilePath {
    let script = """
      set -e; mkdir -p tree/base; cd tree/base
      mkdir -p bin etc out/bin out/lib/x86_64-linux-gnu out/lib64
      for program in bash cat ls; do cp -L "$(command -v $program)" out/bin; ln -s ../out/bin/$program bin/$program; done
      ln -s ../out/bin/bash bin/sh
      for library in $(ldd out/bin/* | grep -o '/[^ ]*[.]so[^ :]*' | sort -u); do
        case $library in
          */ld-linux*) cp -L $library out/lib64 ;;
          *) cp -L $library out/lib/x86_64-linux-gnu ;;
        esac
      done
      printf '#!/bin/bash\\necho init is process $$\\necho 1 > /proc/sys/kernel/sysrq\\necho o > /proc/sysrq-trigger\\nread wait\\n' > out/bin/init
      chmod 755 out/bin/init; ln -s ../out/bin/init bin/init
      """
    let done = try await ToolProcess.run("sh", ["-c", script], in: folder)
    try #require(done.status == 0, "\(done.errors)")
    return folder.appending("tree/base")
  }

  private static func pack(_ tree: FilePath, as name: String, into store: FilePath) async throws {
    let packed = try await ToolProcess.run(
      "mksquashfs",
      [
        tree.string, store.appending("\(name).squashfs").string, "-all-root", "-quiet", "-no-progress", "-noI", "-noD", "-noF",
        "-noX",
      ])
    try #require(packed.status == 0, "\(packed.errors)")
    try "version: \"1-1\"\n".write(toFile: store.appending("\(name).meta.textproto").string, atomically: false, encoding: .utf8)
  }

  /// A disk with a partition table, of the same store.
  private static let disk = Task { () async throws -> FilePath in
    let folder = try await image.value.removingLastComponent()
    let disk = folder.appending("disk.img")
    let built = try await ToolProcess.run(
      "distri-mkimage",
      [
        "build", "--store", folder.appending("store").string, "--package", "base", "--layout", "gpt", "--serial",
        "--kernel-parameter", "distri.rescue=no", "--run", "cat /etc/os-release", "--run", "cat /proc/1/mounts; exit 7",
        "-o", disk.string,
      ])
    try #require(built.status == 0, "\(built.errors)")
    return disk
  }

  @Test(arguments: [[], ["--bios"]]) func `the same disk boots on UEFI and on a BIOS`(arguments: [String]) async throws {
    let machine = try await ToolProcess.run(
      "distri-mkimage", ["boot", try await Self.disk.value.string, "--timeout", "90"] + arguments)
    #expect(machine.status == 7, "\(machine.output)\n\(machine.errors)")
    #expect(machine.output.contains("ID=distri"))
    #expect(machine.output.contains(" /ro fuse"))
  }

  /// The initramfs has the drivers of many disks, and loads those that the machine's hardware asks for: of the bus, of the controller on it, of the
  /// disk on that.
  @Test func `a disk on another controller is found by its drivers`() async throws {
    let machine = try await boot(["--disk", "virtio-scsi", "--append", #"distri.run="cat /proc/1/mounts /proc/modules""#])
    #expect(machine.status == 0, "\(machine.output)\n\(machine.errors)")
    #expect(machine.output.contains("/dev/sda / ext4"))
    let modules = machine.output.split(whereSeparator: \.isNewline).compactMap { $0.split(separator: " ").first }
    #expect(modules.contains("virtio_scsi") && modules.contains("sd_mod") && !modules.contains("virtio_blk"), "\(modules)")
  }

  private func boot(_ arguments: [String] = []) async throws -> ToolProcess.Outcome {
    try await ToolProcess.run("distri-mkimage", ["boot", try await Self.image.value.string, "--timeout", "90"] + arguments)
  }

  @Test func `an image boots, runs its commands from the view and says how it went`() async throws {
    let image = try await Self.image.value
    let before = try await ToolProcess.run("sha256sum", [image.appending("disk.img").string]).output
    let machine = try await boot()
    #expect(machine.status == 0, "\(machine.output)\n\(machine.errors)")
    #expect(machine.output.contains("ID=distri"))
    #expect(machine.output.contains("from /bin/sh at /ro/base-amd64-1-1"))
    #expect(!machine.output.contains("distri-init:"))
    #expect(try await ToolProcess.run("sha256sum", [image.appending("disk.img").string]).output == before)
  }

  @Test func `the status of a command is that of the machine, and what it wrote stays where that is wanted`() async throws {
    let copy = try TemporaryDirectory()
    let cloned = try await ToolProcess.run(
      "cp", ["-r", "--sparse=always", try await Self.image.value.string, copy.path.appending("i").string])
    #expect(cloned.status == 0)
    let machine = try await ToolProcess.run(
      "distri-mkimage",
      [
        "boot", copy.path.appending("i").string, "--timeout", "90", "--write", "--append",
        #"distri.run="echo kept > /root/file; cat /proc/1/mounts; exit 42""#,
      ])
    #expect(machine.status == 42, "\(machine.output)\n\(machine.errors)")
    #expect(machine.output.contains(" / ext4 rw"))
    #expect(machine.output.contains(" /ro fuse"))
    let disk = copy.path.appending("i/disk.img").string
    let checked = try await ToolProcess.run("/sbin/e2fsck", ["-fn", disk])
    #expect(checked.status == 0, "\(checked.output)")
    #expect(try await ToolProcess.run("/sbin/debugfs", ["-R", "cat /root/file", disk]).output == "kept\n")
  }

  @Test func `a program given by init becomes process 1`() async throws {
    let machine = try await boot(["--append", "init=/sbin/init root=LABEL=boot-test ro"])
    #expect(machine.output.contains("init is process 1"), "\(machine.output)")
    // That it was started is all that there is to report; it turned the machine off itself.
    #expect(machine.status == 0)
  }

  @Test func `a machine that does not find its root says which disks it has`() async throws {
    let machine = try await boot(["--append", "root=LABEL=elsewhere distri.timeout=2"])
    #expect(machine.status == 70, "\(machine.output)")
    #expect(machine.output.contains("LABEL=elsewhere has not appeared"))
    #expect(machine.output.contains("/dev/vda: LABEL=boot-test UUID="))
  }

  @Test func `a machine that takes too long is stopped`() async throws {
    let image = try await Self.image.value
    let start = ContinuousClock.now
    let machine = try await ToolProcess.run("distri-mkimage", ["boot", image.string, "--timeout", "1"])
    #expect(machine.status == 69)
    #expect(machine.errors.contains("after 1 s"))
    // It ends when it is asked to, not only when it is killed four seconds later.
    #expect(ContinuousClock.now - start < .seconds(5))
  }
}
