// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore
import Foundation
import SystemPackage
import TestSupport
import Testing

@testable import distri_mkimage

@Suite struct ModuleInfoTests {
  @Test func `dependencies and soft dependencies are read from the module`() throws {
    let info = try ModuleInfo(module(depends: "virtio-ring,crc16", soft: "pre: crc32c post: other pre: b-c"), name: "x.ko")
    #expect(info.dependencies == ["virtio_ring", "crc16"])
    #expect(info.wishes == ["crc32c", "b_c"])
    #expect(try ModuleInfo(module(depends: ""), name: "x.ko") == ModuleInfo(module(depends: "", soft: "post: x"), name: "y.ko"))
  }

  @Test func `no damage to a module makes reading it fail otherwise than with its name`() throws {
    let whole = module(depends: "virtio", soft: "pre: crc32c")
    for count in 0..<whole.count {
      #expect(throws: MkimageError.self) { try ModuleInfo(Array(whole[..<count]), name: "cut.ko") }
    }
    for index in whole.indices {
      for value: UInt8 in [0, 1, 0x7f, 0x80, 0xff] {
        var damaged = whole
        damaged[index] = value
        do throws(MkimageError) {
          _ = try ModuleInfo(damaged, name: "damaged.ko")
        } catch {
          #expect("\(error)".contains("damaged.ko"))
        }
      }
    }
  }
}

@Suite struct KernelPackageTests {
  @Test func `modules come after what they need, and what is built in does not come`() async throws {
    let images = try await ImageStore.make()
    let image = try PackageImage(path: images.store.appending("linux-image-amd64-6.1-1.squashfs"))
    let kernel = try #require(try KernelPackage(image))
    #expect(kernel.release == "6.1.0-test")
    #expect(try kernel.kernelImage() == Array("kernel".utf8))
    let order = try kernel.loadOrder(of: ["virtio-pci", "ext4", "virtio_blk"], wishes: ["crc32c_generic"])
    #expect(order.map(\.name) == ["virtio", "virtio_ring", "virtio_pci", "virtio_blk"])
    for (name, reason) in [("absent", "the image needs it"), ("lonely", "lonely needs it"), ("broken", "ELF")] {
      let error = #expect(throws: MkimageError.self) { try kernel.loadOrder(of: [name]) }
      #expect("\(try #require(error))".contains(reason))
    }
    #expect(try KernelPackage(PackageImage(path: images.store.appending("base-amd64-1-1.squashfs"))) == nil)
    let host = DriverSet.host(modaliases: ["pci:v00001AF4d00001001sv00001AF4sd00000002bc01sc00i00", "pci:v00008086d00001237"])
    #expect(
      try host.modules(of: kernel, always: ["fuse"], wished: ["absent"]).map(\.name) == [
        "fuse", "virtio", "virtio_ring", "virtio_pci",
      ])
    #expect(try DriverSet.host(modaliases: []).modules(of: kernel, always: ["fuse"], wished: []).map(\.name) == ["fuse"])
  }

  @Test(arguments: [("xz", ".xz"), ("zstd", ".zst"), ("gzip", ".gz")])
  func `a compressed module is unpacked`(program: String, ending: String) async throws {
    let folder = try TemporaryDirectory()
    let file = folder.path.appending("m.ko").string
    try Data(module(depends: "a")).write(to: URL(filePath: file))
    let packed = try await ToolProcess.run(program, ["-q", file])
    try #require(packed.status == 0, "\(packed.errors)")
    let bytes = [UInt8](try Data(contentsOf: URL(filePath: file + ending)))
    #expect(try KernelPackage.decompressed(bytes, name: "m.ko" + ending) == module(depends: "a"))
    #expect(throws: StoreError.self) { try KernelPackage.decompressed(Array(bytes.dropLast(9)), name: "m.ko" + ending) }
    #expect(try KernelPackage.decompressed(bytes, name: "m.ko") == bytes)
  }
}

@Suite struct CpioTests {
  private func contents(_ folder: FilePath) throws -> Contents {
    var contents = Contents()
    let big = folder.appending("big")
    try Data((0..<2_500_001).map { UInt8(truncatingIfNeeded: $0 &* 31) }).write(to: URL(filePath: big.string))
    try contents.addFile(TreePath(parsing: "bin/big"), big.asSource(), permissions: 0o755)
    for count in 0...5 { try contents.addFile(TreePath(parsing: "etc/\(count)"), .bytes([UInt8](repeating: 65, count: count))) }
    try contents.addLink(TreePath(parsing: "lib64/ld.so"), to: "/lib/ld.so")
    try contents.add(
      TreePath(parsing: "dev/console"), Contents.Node(kind: .characterDevice(major: 5, minor: 1), permissions: 0o600))
    return contents
  }

  @Test func `cpio unpacks what was packed`() async throws {
    let folder = try TemporaryDirectory()
    let planned = try contents(folder.path)
    let path = folder.path.appending("archive")
    for _ in 0..<2 {
      let file = try FileDescriptor.open(path, .writeOnly, options: [.create, .truncate], permissions: .ownerReadWrite)
      try CpioArchive(contents: planned, time: 315_532_800).write(to: file)
      try file.close()
    }
    let target = folder.path.appending("unpacked")
    try FileManager.default.createDirectory(atPath: target.string, withIntermediateDirectories: false)
    let unpacked = try await ToolProcess.run("sh", ["-c", "cpio -idm --quiet < \"$1\"", "sh", path.string], in: target)
    #expect(unpacked.status == 0 && unpacked.errors.isEmpty, "\(unpacked.errors)")
    for (path, node) in planned.entries {
      var attributes = stat()
      let place = target.appending("\(path)").string
      #expect(lstat(place, &attributes) == 0)
      // Only of files does cpio itself restore the time here.
      if case .regular = node.kind { #expect(attributes.st_mtim.tv_sec == 315_532_800) }
      switch node.kind {
      case .directory: #expect(attributes.st_mode == S_IFDIR | 0o755)
      case .symbolicLink(let to):
        #expect(try FileManager.default.destinationOfSymbolicLink(atPath: place) == String(decoding: to, as: UTF8.self))
      case .characterDevice:
        #expect(attributes.st_mode == S_IFCHR | 0o600)
        #expect(attributes.st_rdev == 5 << 8 | 1)
      case .regular(.bytes(let bytes)): #expect(FileManager.default.contents(atPath: place) == Data(bytes))
      case .regular(.file(let source, _)):
        #expect(attributes.st_mode == S_IFREG | 0o755)
        #expect(FileManager.default.contentsEqual(atPath: place, andPath: source.string))
      }
    }
  }

  @Test func `a file that shrinks is an error, not a shorter archive`() throws {
    let folder = try TemporaryDirectory()
    let planned = try contents(folder.path)
    try Data([1, 2, 3]).write(to: URL(filePath: folder.path.appending("big").string))
    let file = try FileDescriptor.open(folder.path.appending("x"), .writeOnly, options: .create, permissions: .ownerReadWrite)
    defer { try? file.close() }
    #expect(throws: MkimageError.self) { try CpioArchive(contents: planned, time: 0).write(to: file) }
  }
}

@Suite struct ContentsTests {
  @Test func `parents come before what they hold, and the first of two files stays`() throws {
    var contents = Contents()
    try contents.addFile(TreePath(parsing: "a/b/c"), "1")
    try contents.addFile(TreePath(parsing: "a-b"), "2")
    let isNew = try contents.add(TreePath(parsing: "a/b/c"), Contents.Node(kind: .directory, permissions: 0))
    #expect(!isNew)
    #expect(contents.entries.map(\.path.description) == ["a", "a/b", "a/b/c", "a-b"])
    #expect(throws: MkimageError.self) { try contents.addFile(TreePath(parsing: "a-b/x"), "") }
  }

  @Test func `the identifier depends on every part of the contents and on nothing else`() throws {
    let changes: [(inout Contents) throws -> Void] = [
      { _ in }, { try $0.addDirectory(TreePath(parsing: "b")) },
      { try $0.addDirectory(TreePath(parsing: "b"), permissions: 0o700) },
      { try $0.addLink(TreePath(parsing: "b"), to: "c") }, { try $0.addFile(TreePath(parsing: "b"), "c") },
      { try $0.addFile(TreePath(parsing: "b"), "d") }, { try $0.addFile(TreePath(parsing: "b"), "d", groupID: 1) },
    ]
    func identifiers(salt: String) throws -> [[UInt8]] {
      try changes.map { change in
        var contents = Contents()
        try contents.addFile(TreePath(parsing: "a"), "1")
        try change(&contents)
        return contents.identifier(salt: salt)
      }
    }
    let one = try identifiers(salt: "one")
    #expect(try identifiers(salt: "one") == one)
    #expect(Set(try identifiers(salt: "two") + one).count == 2 * changes.count)
    #expect(text(ofUUID: one[0]).wholeMatch(of: /[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}/) != nil)
  }
}

@Suite struct MachineTests {
  @Test func `the last whole report of a machine counts`() {
    #expect(VirtualMachine.status(in: []) == nil)
    #expect(VirtualMachine.status(in: Array("exit 0\n".utf8)) == 0)
    #expect(VirtualMachine.status(in: Array("exit 1\nnoise\nexit 42\n".utf8)) == 42)
    #expect(VirtualMachine.status(in: Array("exit 0".utf8)) == nil)
    #expect(VirtualMachine.status(in: Array("exit 300\n".utf8)) == nil)
    #expect(VirtualMachine.status(in: Array("exit -1\n".utf8)) == nil)
  }

  @Test(arguments: [("1", 1), ("512M", 512 << 20), ("8G", 8 << 30), ("3K", 3 << 10)] as [(String, UInt64)])
  func `sizes are read as people write them`(text: String, value: UInt64) {
    #expect(ByteCount(argument: text)?.value == value)
  }

  @Test(arguments: ["", "0", "M", "-1", "1.5G", "99999999999T", "1 G", "512m"])
  func `what is no size is refused`(text: String) { #expect(ByteCount(argument: text) == nil) }
}
