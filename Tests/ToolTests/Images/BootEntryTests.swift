// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import Foundation
import SystemPackage
import TestSupport
import Testing

@testable import distri_mkimage

/// What a machine does with its mounted boot partition: here a directory that has what a disk's partition has.
@Suite struct BootEntryTests {
  private func bootPartition(of images: borrowing ImageStore) async throws -> FilePath {
    let disk = images.folder.path.appending("disk.img"), directory = images.folder.path.appending("boot")
    let built = try await images.build(["--package", "base", "--both"], to: disk)
    try #require(built.status == 0, "\(built.errors)")
    try FileManager.default.createDirectory(atPath: directory.string, withIntermediateDirectories: false)
    // Behind the table and GRUB's own partition.
    let copied = try await ToolProcess.run("mcopy", ["-i", "\(disk)@@2M", "-s", "-Q", "-m", "::*", directory.string])
    try #require(copied.status == 0, "\(copied.errors)")
    return directory
  }

  private func addEntry(
    _ images: borrowing ImageStore, to directory: FilePath, _ arguments: [String] = [], wrapper: [String] = []
  ) async throws -> ToolProcess.Outcome {
    let program = ToolProcess.binaries.appending("distri-mkimage").string
    return try await ToolProcess.run(
      "/usr/bin/env",
      wrapper + [
        program, "boot-entry", "--store", images.store.string, "--boot", directory.string, "--parameters", "root=LABEL=x quiet",
      ] + arguments)
  }

  private func addKernel(_ revision: Int, to images: borrowing ImageStore) async throws {
    let modules = "out/lib/modules/6.1.0-new"
    try await images.add(
      "linux-image-amd64-6.1-\(revision)",
      files: [
        "out/boot/vmlinuz-6.1.0-new": Array("kernel \(revision)".utf8),
        "\(modules)/modules.builtin": Array("kernel/fs/ext4/ext4.ko\nkernel/fs/fuse/fuse.ko\n".utf8),
        "\(modules)/kernel/virtio.ko": module(depends: ""),
      ])
  }

  private func text(_ path: FilePath) throws -> String { try String(contentsOfFile: path.string, encoding: .utf8) }

  private func unified(in directory: FilePath) throws -> [String] {
    try FileManager.default.contentsOfDirectory(atPath: directory.appending("EFI").appending("Linux").string).sorted()
  }

  @Test func `a new kernel is started from now on, and the one before stays`() async throws {
    let images = try await ImageStore.make()
    let boot = try await bootPartition(of: images)
    let first = boot.appending("EFI").appending("Linux").appending("distri.efi")
    let stub = try UnifiedKernelImage.stub(of: try first.contents(atMost: 1 << 28), path: first)
    try await addKernel(2, to: images)
    let added = try await addEntry(images, to: boot)
    try #require(added.status == 0, "\(added.errors)")
    #expect(added.output == "6.1.0-new-2\n")
    #expect(try unified(in: boot) == ["distri-6.1.0-new-2.efi", "distri.efi"])
    #expect(try text(boot.appending("loader").appending("loader.conf")).contains("default distri-6.1.0-new-2.efi\n"))
    let second = boot.appending("EFI").appending("Linux").appending("distri-6.1.0-new-2.efi")
    let bytes = try second.contents(atMost: 1 << 28)
    #expect(try UnifiedKernelImage.stub(of: bytes, path: second).count == stub.count)
    let sections = try PortableExecutable(bytes, path: second).sections
    #expect(sections.last.map { String(decoding: bytes[$0.range], as: UTF8.self) } == "kernel 2")
    let entries = Grub.entries(in: try text(boot.appending("grub").appending("grub.cfg")))
    #expect(entries.map(\.kernel) == ["/vmlinuz-6.1.0-new-2", "/vmlinuz"])
    #expect(entries[0].commandLine == "root=LABEL=x quiet" && entries[1].commandLine.contains("root=UUID="))
    #expect(try text(boot.appending("vmlinuz-6.1.0-new-2")) == "kernel 2" && text(boot.appending("vmlinuz")) == "kernel")

    // The same again changes nothing; a third one takes the place of the first.
    let before = try FileManager.default.attributesOfItem(atPath: second.string)[.systemFileNumber] as? UInt64
    #expect(try await addEntry(images, to: boot).output == "")
    #expect(try await addEntry(images, to: boot, ["--force"]).output == "6.1.0-new-2\n")
    #expect(try FileManager.default.attributesOfItem(atPath: second.string)[.systemFileNumber] as? UInt64 == before)
    try await addKernel(3, to: images)
    #expect(try await addEntry(images, to: boot).status == 0)
    #expect(try unified(in: boot) == ["distri-6.1.0-new-2.efi", "distri-6.1.0-new-3.efi"])
    let names = try FileManager.default.contentsOfDirectory(atPath: boot.string).filter { $0.hasPrefix("vmlinuz") }.sorted()
    #expect(names == ["vmlinuz-6.1.0-new-2", "vmlinuz-6.1.0-new-3"])
    // A way back: the version that is asked for by name becomes the default again.
    #expect(try await addEntry(images, to: boot, ["--kernel", "linux-image-amd64-6.1-2"]).status == 0)
    #expect(try text(boot.appending("loader").appending("loader.conf")).contains("default distri-6.1.0-new-2.efi\n"))
    #expect(
      Grub.entries(in: try text(boot.appending("grub").appending("grub.cfg"))).map(\.kernel) == [
        "/vmlinuz-6.1.0-new-2", "/vmlinuz-6.1.0-new-3",
      ])
  }

  @Test func `whenever it is killed, the machine starts the old kernel or the new one`() async throws {
    let images = try await ImageStore.make()
    let boot = try await bootPartition(of: images)
    try await addKernel(2, to: images)
    for milliseconds in stride(from: 20, through: 320, by: 60) {
      _ = try await addEntry(images, to: boot, wrapper: ["timeout", "-s", "KILL", "\(Double(milliseconds) / 1000)"])
      let line = try text(boot.appending("loader").appending("loader.conf")).split(separator: "\n").last ?? ""
      let name = line.hasPrefix("default ") ? String(line.dropFirst(8)) : "distri.efi"
      let path = boot.appending("EFI").appending("Linux").appending(name)
      let bytes = try path.contents(atMost: 1 << 28)
      #expect(try PortableExecutable(bytes, path: path).sections.last?.name == ".linux")
      for entry in Grub.entries(in: try text(boot.appending("grub").appending("grub.cfg"))) {
        #expect(try text(boot.appending(String(entry.kernel.dropFirst()))).hasPrefix("kernel"))
        #expect(FileManager.default.fileExists(atPath: boot.string + entry.initramfs))
      }
    }
    #expect(try await addEntry(images, to: boot).status == 0)
    #expect(try unified(in: boot) == ["distri-6.1.0-new-2.efi", "distri.efi"])
  }

  @Test func `what is no boot partition is not touched`() async throws {
    let images = try await ImageStore.make()
    let refused = try await addEntry(images, to: images.store)
    #expect(refused.status == 65 && refused.errors.contains("no boot partition"), "\(refused.errors)")
  }

  @Test func `GRUB's configuration is read as it is written`() {
    let entries = [
      Grub.Entry(title: "distri 2", kernel: "/vmlinuz-2", initramfs: "/initramfs-2", commandLine: "root=LABEL=a quiet"),
      Grub.Entry(commandLine: ""),
    ]
    #expect(Grub.entries(in: Grub.configuration(entries)) == entries)
    #expect(Grub.entries(in: "menuentry\nlinux\ninitrd\n}\n}").count == 2)
    #expect(Grub.entries(in: "") == [])
  }
}
