// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import Foundation
import SystemPackage
import TestSupport
import Testing

@testable import distri_init

/// What images bring into their initramfs from packages other than the kernel's.
@Suite struct InitramfsTests {
  /// Unpacks an initramfs that is not compressed.
  private func unpacked(_ archive: FilePath, in folder: FilePath) async throws -> FilePath {
    let root = folder.appending("unpacked")
    try? FileManager.default.removeItem(atPath: root.string)
    try FileManager.default.createDirectory(atPath: root.string, withIntermediateDirectories: false)
    let done = try await ToolProcess.run("sh", ["-c", "cpio -idm --quiet < \"$1\"", "sh", archive.string], in: root)
    try #require(done.status == 0, "\(done.errors)")
    return root
  }

  private func compressed(_ text: String, by tool: String) async throws -> [UInt8] {
    let folder = try TemporaryDirectory()
    let file = folder.path.appending("file")
    let done = try await ToolProcess.run("sh", ["-c", "printf %s \"$1\" | \(tool) > \"$2\"", "sh", text, file.string])
    try #require(done.status == 0, "\(done.errors)")
    return [UInt8](try Data(contentsOf: URL(filePath: file.string)))
  }

  @Test func `firmware comes from whatever package has it, compressed or by a link`() async throws {
    let images = try await ImageStore.make()
    let release = "6.1.0-firmware"
    let wanted = ["plain", "xz", "zst", "link", "up/link", "absolute", "loop", "absent", "twice"].map { "\($0).bin" }
    try await images.add(
      "linux-cards-amd64-6.1-1",
      files: [
        "out/boot/vmlinuz-\(release)": Array("kernel".utf8),
        "out/lib/modules/\(release)/modules.builtin": Array("kernel/fs/ext4/ext4.ko\n".utf8),
        "out/lib/modules/\(release)/kernel/fuse.ko": module(depends: ""),
        "out/lib/modules/\(release)/kernel/card.ko": module(depends: "", others: wanted.map { "firmware=\($0)" }),
        "out/lib/firmware/twice.bin": Array("the kernel's".utf8),
      ])
    try await images.add(
      "cards-amd64-1-1",
      files: [
        "out/lib/firmware/plain.bin": Array("plain".utf8), "out/lib/firmware/twice.bin": Array("not this".utf8),
        "out/lib/firmware/xz.bin.xz": try await compressed("was xz", by: "xz"),
        "out/lib/firmware/unasked.bin": Array("unasked".utf8),
      ],
      links: [
        "out/lib/firmware/link.bin.zst": "./zst.bin.zst", "out/lib/firmware/absolute.bin": "/etc/passwd",
        "out/lib/firmware/loop.bin": "loop.bin",
      ])
    // A link leads within its own package only.
    try await images.add(
      "other-cards-amd64-1-1",
      files: [
        "out/lib/firmware/zst.bin.zst": try await compressed("was zst", by: "zstd"),
        "out/lib/firmware/up/file.bin": Array("up".utf8), "out/lib/firmware/variants/file.bin": Array("variant".utf8),
      ], links: ["out/lib/firmware/up/link.bin": "../variants/../variants/file.bin"])
    let flags = ["--kernel", "linux-cards", "--module", "card"]
    let packages = ["--package", "base", "--package", "cards", "--package", "other-cards"]
    let built = try await images.build(flags + packages)
    try #require(built.status == 0, "\(built.errors)")
    let archive = images.output.appending("initramfs")
    let firmware = try await unpacked(archive, in: images.folder.path).appending("lib/firmware").string
    var found: [String: String] = [:]
    for case let name as String in try #require(FileManager.default.enumerator(atPath: firmware)) {
      found[name] = try? String(contentsOfFile: "\(firmware)/\(name)", encoding: .utf8)
    }
    #expect(
      found == [
        "plain.bin": "plain", "xz.bin": "was xz", "zst.bin": "was zst", "up/link.bin": "variant", "twice.bin": "the kernel's",
      ])
    // The command alone makes the same.
    let alone = images.folder.path.appending("alone").string
    let made = try await ToolProcess.run(
      "distri-mkimage",
      ["initramfs", "--store", images.store.string, "--firmware", "cards", "--firmware", "other-cards", "-o", alone] + flags)
    #expect(made.status == 0, "\(made.errors)")
    #expect(FileManager.default.contentsEqual(atPath: alone, andPath: archive.string))
  }

  @Test func `a keymap of a package is compiled for the initramfs and the root`() async throws {
    let images = try await ImageStore.make()
    let place = "out/share/keymaps"
    try await images.add(
      "console-data-amd64-1-1",
      files: [
        "\(place)/i386/qwertz/de.kmap": Array("include \"letters\"\nkeycode 26 = udiaeresis Udiaeresis\n".utf8),
        "\(place)/i386/include/letters.inc": Array("keymaps 0-1\nkeycode 21 = z\nkeycode 44 = y\nkeycode 45 = U+20ac\n".utf8),
        "\(place)/mac/de.kmap": Array("keycode 21 = x\n".utf8), "\(place)/i386/broken.kmap": Array("keycode what\n".utf8),
      ])
    let packages = ["--package", "base", "--package", "console-data"]
    let built = try await images.build(packages + ["--keymap", "de"])
    try #require(built.status == 0, "\(built.errors)")
    let root = try await unpacked(images.output.appending("initramfs"), in: images.folder.path)
    let bytes = [UInt8](try Data(contentsOf: URL(filePath: root.appending("etc/distri/keymap").string)))
    let keymap = try Keymap(bytes)
    #expect(keymap.tables.map(\.number) == [0, 1])
    // Types and values as linux/keyboard.h has them: 11 is a letter, which Caps Lock changes; what is beyond 0xf000 says another Unicode character.
    #expect(keymap.tables.map { $0.meanings[21] } == [0xb7a, 0xb5a] && keymap.tables.map { $0.meanings[44] } == [0xb79, 0xb59])
    #expect(keymap.tables[0].meanings[26] & 0xff == 0xfc && keymap.tables[0].meanings[45] == 0x20ac ^ 0xf000)
    let disk = images.output.appending("disk.img").string
    let configured = try await ToolProcess.run("/sbin/debugfs", ["-R", "cat /etc/vconsole.conf", disk])
    #expect(configured.output == "KEYMAP=de\n")
    let copy = images.folder.path.appending("copy").string
    _ = try await ToolProcess.run("/sbin/debugfs", ["-R", "dump /etc/distri/keymap \(copy)", disk])
    #expect(FileManager.default.contents(atPath: copy) == Data(bytes))

    for (name, status, words) in [
      ("fr", Int32(65), "console-data"), ("broken", 74, "loadkeys"), ("../de", 64, "--keymap"), ("letters", 65, "console-data"),
    ] {
      let refused = try await images.build(packages + ["--keymap", name])
      #expect(refused.status == status && refused.errors.contains(words), "\(name): \(refused.status) \(refused.errors)")
    }
  }
}
