// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import Foundation
import SystemPackage
import TestSupport
import Testing

/// A store with a tiny package and a kernel that has modules but boots nothing, made by the tools of others.
struct ImageStore: ~Copyable {
  let folder: TemporaryDirectory
  var store: FilePath { folder.path.appending("store") }
  var output: FilePath { folder.path.appending("image") }

  private init() throws { folder = try TemporaryDirectory() }

  static func make() async throws -> ImageStore {
    let images = try ImageStore()
    try await images.fill()
    return images
  }

  private func fill() async throws {
    try FileManager.default.createDirectory(atPath: store.string, withIntermediateDirectories: false)
    try await add(
      "base-amd64-1-1",
      files: [
        "out/share/doc/a": Array("text\n".utf8), "etc/motd": Array("welcome\n".utf8), "etc/os-release": Array("ID=other\n".utf8),
        "etc/a \"quoted\" name.d/x": Array("x\n".utf8),
      ], links: ["etc/localtime": "../usr/share/zoneinfo/UTC"])
    try await add(
      "more-amd64-1-1", files: ["etc/motd": Array("not this\n".utf8), "etc/more": Array("more\n".utf8)], needs: ["base-amd64-1-1"])
    let release = "6.1.0-test"
    let modules = "out/lib/modules/\(release)"
    try await add(
      "linux-image-amd64-6.1-1",
      files: [
        "out/boot/vmlinuz-\(release)": Array("kernel".utf8),
        "\(modules)/modules.builtin": Array("kernel/fs/ext4/ext4.ko\n".utf8),
        "\(modules)/kernel/virtio.ko": module(depends: ""),
        "\(modules)/kernel/virtio_ring.ko": module(depends: "virtio"),
        "\(modules)/kernel/virtio_pci.ko": module(
          depends: "virtio-ring,virtio",
          others: ["alias=pci:v00001AF4d*", "alias=char-major-10-234", "firmware=card.bin", "firmware=absent.bin"]),
        "out/lib/firmware/card.bin": Array("firmware".utf8),
        "\(modules)/kernel/virtio_blk.ko": module(depends: "virtio_ring", soft: "pre: crc_none virtio post: unused"),
        "\(modules)/kernel/virtio_console.ko": module(depends: ""),
        "\(modules)/kernel/fuse.ko": module(depends: ""),
        "\(modules)/kernel/dm-crypt.ko": module(depends: "virtio"),
        "\(modules)/kernel/broken.ko": Array("ELF?".utf8),
        "\(modules)/kernel/lonely.ko": module(depends: "absent"),
      ])
  }

  /// Packs a package with mksquashfs.
  func add(_ name: String, files: [String: [UInt8]], links: [String: String] = [:], needs: [String] = []) async throws {
    let tree = folder.path.appending("tree-\(name)")
    for (path, bytes) in files {
      let file = tree.appending(path)
      try FileManager.default.createDirectory(atPath: file.removingLastComponent().string, withIntermediateDirectories: true)
      try Data(bytes).write(to: URL(filePath: file.string))
    }
    for (path, target) in links {
      try FileManager.default.createSymbolicLink(atPath: tree.appending(path).string, withDestinationPath: target)
    }
    let packed = try await ToolProcess.run(
      "mksquashfs", [tree.string, store.appending("\(name).squashfs").string, "-all-root", "-quiet", "-no-progress"])
    try #require(packed.status == 0, "\(packed.errors)")
    let metadata = needs.map { "runtime_dep: \"\($0)\"\n" }.joined()
    try Data(metadata.utf8).write(to: URL(filePath: store.appending("\(name).meta.textproto").string))
  }

  /// Adds packages that run: this machine's bash and some coreutils, with their libraries.
  func addPrograms() async throws {
    let script = """
      set -e; mkdir programs; cd programs; store=$1
      mkdir -p libc/out/lib/x86_64-linux-gnu libc/out/lib64
      for program in bash:bash coreutils:cat coreutils:ls coreutils:stat; do
        package=${program%:*}; program=${program#*:}; mkdir -p $package/bin $package/out/bin
        cp -L "$(command -v $program)" $package/out/bin; ln -s ../out/bin/$program $package/bin/$program
      done
      ln -s ../out/bin/bash bash/bin/sh
      for library in $(ldd */out/bin/* | grep -o '/[^ ]*[.]so[^ :]*' | sort -u); do
        case $library in
          */ld-linux*) cp -L $library libc/out/lib64 ;;
          *) cp -L $library libc/out/lib/x86_64-linux-gnu ;;
        esac
      done
      for package in bash coreutils libc; do
        mksquashfs $package "$store/$package-amd64-1-1.squashfs" -all-root -quiet -no-progress -noI -noD -noF -noX -all-time 1600000000
        [ $package = libc ] || needs='runtime_dep: "libc-amd64-1-1"'
        echo "${needs:-}" > "$store/$package-amd64-1-1.meta.textproto"; needs=
      done
      """
    let made = try await ToolProcess.run("sh", ["-c", script, "sh", store.string], in: folder.path)
    try #require(made.status == 0, "\(made.errors)")
  }

  /// Runs `distri-mkimage build` into ``output``.
  func build(
    _ arguments: [String] = [], to output: FilePath? = nil, wrapper: [String] = [], environment: [String: String] = [:]
  ) async throws -> ToolProcess.Outcome {
    let words =
      wrapper + [ToolProcess.binaries.appending("distri-mkimage").string, "build", "--store", store.string]
      + arguments + ["-o", (output ?? self.output).string]
    return try await ToolProcess.run("/usr/bin/env", words, environment: environment)
  }
}

/// The smallest ELF file with a section `.modinfo`.
func module(depends: String, soft: String? = nil, others: [String] = []) -> [UInt8] {
  var info = Array("license=GPL\0depends=\(depends)\0".utf8)
  for text in others { info += Array("\(text)\0".utf8) }
  if let soft { info += Array("softdep=\(soft)\0".utf8) }
  let names = Array("\0.modinfo\0.shstrtab\0".utf8)
  func little(_ value: Int, _ count: Int) -> [UInt8] { (0..<count).map { UInt8(truncatingIfNeeded: value >> ($0 * 8)) } }
  func section(_ name: Int, _ offset: Int, _ count: Int) -> [UInt8] {
    little(name, 4) + little(1, 4) + little(0, 16) + little(offset, 8) + little(count, 8) + little(0, 24)
  }
  let table = 64 + info.count + names.count
  var header: [UInt8] = [0x7f, 0x45, 0x4c, 0x46, 2, 1, 1, 0] + little(0, 8)
  header += little(1, 2) + little(62, 2) + little(1, 4) + little(0, 16) + little(table, 8) + little(0, 4)
  header += little(64, 2) + little(0, 4) + little(64, 2) + little(3, 2) + little(2, 2)
  return header + info + names + section(0, 0, 0) + section(1, 64, info.count) + section(10, 64 + info.count, names.count)
}
