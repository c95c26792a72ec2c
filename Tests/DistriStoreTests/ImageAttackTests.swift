// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore
import SystemPackage
import TestSupport
import Testing

/// A well-known way to fool a reader: what is changed in a good image, and what then must be an error.
struct Attack: Sendable, CustomTestStringConvertible {
  enum Probe: Sendable { case open, attributes, entries, lookUp, read, run, target, extendedAttributes, tree }

  let testDescription: String
  let path: String
  let probe: Probe
  var usesFragments = false
  let patch: @Sendable (inout PatchableImage, PackageImage.Node) -> Void

  init(
    _ name: String, _ path: String, _ probe: Probe, usesFragments: Bool = false,
    _ patch: @escaping @Sendable (inout PatchableImage, PackageImage.Node) -> Void
  ) {
    testDescription = name
    self.path = path
    self.probe = probe
    self.usesFragments = usesFragments
    self.patch = patch
  }

  static let superblock: [Attack] = [
    Attack("another magic", "", .open) { image, _ in image.set(0, UInt32(0x7371_7367)) },
    Attack("another version", "", .open) { image, _ in image.set(28, UInt16(3)) },
    Attack("block size and its logarithm differ", "", .open) { image, _ in image.set(22, UInt16(16)) },
    Attack("block size 0", "", .open) { image, _ in image.set(12, UInt32(0)) },
    Attack("block size that is no power of two", "", .open) { image, _ in image.set(12, UInt32(131_073)) },
    Attack("block size of 2 GiB", "", .open) { image, _ in
      image.set(12, UInt32(1) << 31)
      image.set(22, UInt16(31))
    },
    Attack("longer than the file", "", .open) { image, _ in image.set(40, UInt64(image.bytes.count) + 1) },
    Attack("negative length", "", .open) { image, _ in image.set(40, UInt64.max) },
    Attack("inode table behind the directory table", "", .open) { image, _ in image.set(64, image.u64(72) + 1) },
    Attack("inode table at 0", "", .open) { image, _ in image.set(64, UInt64(0)) },
    Attack("owner table past the end", "", .open) { image, _ in image.set(48, image.u64(40) - 4) },
    Attack("owner table that wraps", "", .open) { image, _ in image.set(48, UInt64.max - 7) },
    Attack("no owners", "", .open) { image, _ in image.set(26, UInt16(0)) },
    Attack("four billion fragments", "", .open) { image, _ in
      image.set(16, UInt32.max)
      image.set(80, image.u64(48))
    },
    Attack("attribute table past the end", "", .open) { image, _ in image.set(56, image.u64(40) - 15) },
    Attack("unknown compression", "", .open) { image, _ in image.set(20, UInt16(7)) },
    Attack("root in the middle of nothing", "", .attributes) { image, _ in image.set(32, UInt64(0x7fff_ffff_0000)) },
    Attack("root at an offset past 8 KiB", "", .attributes) { image, _ in image.set(32, image.u64(32) | 0xffff) },
    Attack("root reference that wraps", "", .attributes) { image, _ in image.set(32, UInt64.max) },
    Attack("root that is a file", "", .entries) { image, node in image.set(image.inode(node, field: 0), UInt16(2)) },
  ]

  static let inodes: [Attack] = [
    Attack("inode number 0", "file", .attributes) { image, node in image.set(image.inode(node, field: 12), UInt32(0)) },
    Attack("inode number past the count", "file", .attributes) { image, node in
      image.set(image.inode(node, field: 12), UInt32.max)
    },
    Attack("unknown type", "file", .attributes) { image, node in image.set(image.inode(node, field: 0), UInt16(15)) },
    Attack("type 0", "file", .attributes) { image, node in image.set(image.inode(node, field: 0), UInt16(0)) },
    Attack("owner past the table", "file", .attributes) { image, node in image.set(image.inode(node, field: 4), UInt16.max) },
    Attack("group past the table", "file", .attributes) { image, node in image.set(image.inode(node, field: 6), UInt16(1)) },
    Attack("fragment past the table", "file", .read) { image, node in image.set(image.inode(node, field: 20), UInt32(0)) },
    Attack("size larger than the block list", "file", .read) { image, node in
      image.set(image.inode(node, field: 28), UInt32.max)
    },
    Attack("negative size", "linked", .attributes) { image, node in
      image.set(image.inode(node, field: 24), UInt64(bitPattern: -16))
    },
    Attack("more blocks than an image can list", "linked", .attributes) { image, node in
      image.set(image.inode(node, field: 24), UInt64(1) << 62)
    },
    Attack("contents past the end", "file", .read) { image, node in
      image.set(image.inode(node, field: 16), UInt32.max)
    },
    Attack("contents past the end as a run", "file", .run) { image, node in
      image.set(image.inode(node, field: 16), UInt32.max)
    },
    Attack("contents that wrap", "linked", .read) { image, node in
      image.set(image.inode(node, field: 16), UInt64.max - 100)
    },
    Attack("block larger than a block", "file", .read) { image, node in
      image.set(image.inode(node, field: 32), UInt32(1 << 24 | 131_073))
    },
    Attack("block with unknown bits", "file", .read) { image, node in
      image.set(image.inode(node, field: 32), UInt32(1 << 25 | 4096))
    },
    Attack("block shorter than its place", "file", .read) { image, node in
      image.set(image.inode(node, field: 32), UInt32(1 << 24 | 131_071))
    },
    Attack("block that does not decompress", "file", .read) { image, node in
      image.set(image.inode(node, field: 32), UInt32(4096))
    },
    Attack("target of 4 GiB", "link", .target) { image, node in image.set(image.inode(node, field: 20), UInt32.max) },
    Attack("empty target", "link", .target) { image, node in image.set(image.inode(node, field: 20), UInt32(0)) },
    Attack("target with NUL", "link", .target) { image, node in image.set(image.inode(node, field: 25), UInt8(0)) },
  ]

  static let directories: [Attack] = [
    Attack("listing past the table", "d", .entries) { image, node in
      image.set(image.inode(node, field: 16), UInt32.max)
    },
    Attack("listing at an offset past 8 KiB", "d", .entries) { image, node in
      image.set(image.inode(node, field: 26), UInt16(8193))
    },
    Attack("listing longer than the table", "d", .entries) { image, node in
      image.set(image.inode(node, field: 24), UInt16.max)
    },
    Attack("run longer than the listing", "d", .entries) { image, node in
      image.set(image.listing(node, field: 0), UInt32.max)
    },
    Attack("listing that ends within an entry", "d", .entries) { image, node in
      image.set(image.inode(node, field: 24), UInt16(12 + 10 + 5 + 3))
    },
    Attack("name longer than 255", "d", .entries) { image, node in image.set(image.listing(node, field: 18), UInt16(255)) },
    Attack("name of 64 KiB", "d", .entries) { image, node in image.set(image.listing(node, field: 18), UInt16.max) },
    Attack("name ..", "d", .entries) { image, node in image.set(image.listing(node, field: 20), UInt16(0x2e2e)) },
    Attack("name .", "d", .entries) { image, node in
      image.set(image.listing(node, field: 18), UInt16(0))
      image.set(image.listing(node, field: 20), UInt8(0x2e))
    },
    Attack("name with a slash", "d", .entries) { image, node in image.set(image.listing(node, field: 20), UInt8(0x2f)) },
    Attack("name with NUL", "d", .entries) { image, node in image.set(image.listing(node, field: 21), UInt8(0)) },
    Attack("a name twice", "d", .entries) { image, node in image.set(image.listing(node, field: 30), UInt16(0x6161)) },
    Attack("names out of order", "d", .entries) { image, node in image.set(image.listing(node, field: 20), UInt8(0x7a)) },
    Attack("unknown entry type", "d", .entries) { image, node in image.set(image.listing(node, field: 16), UInt16(99)) },
    Attack("directory that contains its root", "d", .tree) { image, node in
      let root = image.u64(32)
      image.set(image.listing(node, field: 4), UInt32(root >> 16))
      image.set(image.listing(node, field: 12), UInt16(root & 0xffff))
      image.set(image.listing(node, field: 16), UInt16(1))
    },
    Attack("index that points past its directory", "big", .lookUp) { image, node in
      image.set(image.inode(node, field: 40), UInt32.max)
    },
    Attack("index with a name of 64 KiB", "big", .lookUp) { image, node in
      image.set(image.inode(node, field: 48), UInt32(0xffff))
    },
    Attack("index into nowhere", "big", .lookUp) { image, node in
      image.set(image.inode(node, field: 32), UInt16(1))
      image.set(image.inode(node, field: 44), UInt32.max)
    },
    Attack("index longer than the inode table", "big", .lookUp) { image, node in
      image.set(image.inode(node, field: 32), UInt16.max)
      for entry in 0..<2000 where image.inode(node, field: 52 + entry * 4 + 4) < Int(image.u64(72)) {
        image.set(image.inode(node, field: 52 + entry * 4), UInt32(0))
      }
    },
  ]

  static let tables: [Attack] = [
    Attack("attributes past the table", "x", .extendedAttributes) { image, node in
      image.set(image.inode(node, field: 52), UInt32(1))
    },
    Attack("four billion attributes", "x", .extendedAttributes) { image, _ in
      image.set(image.attributeDescriptor + 8, UInt32.max)
    },
    Attack("attributes past the end", "x", .extendedAttributes) { image, _ in
      image.set(image.attributeDescriptor, UInt64.max)
    },
    Attack("attribute name of 64 KiB", "x", .extendedAttributes) { image, _ in image.set(image.attribute + 2, UInt16.max) },
    Attack("attribute of an unknown kind", "x", .extendedAttributes) { image, _ in image.set(image.attribute, UInt16(3)) },
    Attack("attribute of 4 GiB", "x", .extendedAttributes) { image, _ in
      image.set(image.attribute + 4 + 5, UInt32.max)
    },
    Attack("attribute elsewhere that is nowhere", "x", .extendedAttributes) { image, _ in
      image.set(image.attribute, UInt16(0x100))
      image.set(image.attribute + 4 + 5, UInt32(8))
      image.set(image.attribute + 4 + 5 + 4, UInt64.max)
    },
    Attack("attribute table that starts nowhere", "x", .extendedAttributes) { image, _ in
      image.set(Int(image.u64(56)), UInt64.max)
    },
    Attack("owner block past the end", "file", .attributes) { image, _ in image.set(Int(image.u64(48)), UInt64.max - 1) },
    Attack("metadata block longer than 8 KiB", "big", .entries) { image, _ in
      image.set(Int(image.u64(72)), UInt16(0xa001))
    },
    Attack("metadata block of 0 bytes", "big", .entries) { image, _ in image.set(Int(image.u64(72)), UInt16(0)) },
    Attack("metadata block that does not decompress", "big", .entries) { image, _ in
      image.set(Int(image.u64(72)), UInt16(0x1000))
    },
    Attack("metadata block that is short and not the last", "big", .entries) { image, _ in
      image.set(Int(image.u64(72)), UInt16(0x9fff))
    },
    Attack("fragment offset past its block", "linked", .read, usesFragments: true) { image, node in
      image.set(image.inode(node, field: 48), UInt32.max)
    },
    Attack("tail longer than its fragment", "linked", .read, usesFragments: true) { image, node in
      image.set(image.inode(node, field: 24), UInt64(1_000_000))
    },
    Attack("fragment past its table", "linked", .read, usesFragments: true) { image, node in
      image.set(image.inode(node, field: 44), UInt32(1))
    },
    Attack("fragment block past the end", "linked", .read, usesFragments: true) { image, _ in
      image.set(Int(image.u64(Int(image.u64(80)))) + 2, UInt64.max - 4)
    },
    Attack("fragment block larger than a block", "linked", .read, usesFragments: true) { image, _ in
      image.set(Int(image.u64(Int(image.u64(80)))) + 10, UInt32(1 << 24 | 0xff_ffff))
    },
    Attack("a block that decompresses to a megabyte instead of 4 KiB", "text", .read, usesFragments: true) { image, node in
      image.set(image.inode(node, field: 28), UInt32(4096))
    },
  ]
}

@Suite struct ImageAttackTests {
  private func probe(_ attack: Attack, _ image: PackageImage) throws {
    guard attack.probe != .open else { return }
    guard attack.probe != .tree else {
      var tree = ImageTree(image)
      while try tree.next() != nil {}
      return
    }
    let node = try #require(try image.node(at: try TreePath(parsing: attack.path)))
    switch attack.probe {
    case .open, .tree: break
    case .attributes: _ = try image.attributes(of: node)
    case .entries: _ = try image.entries(of: node)
    case .lookUp: _ = try image.lookUp(try EntryName("999-" + String(repeating: "name", count: 15)), in: node)
    case .read: _ = try image.contents(of: node, limit: 1 << 40)
    case .run: _ = try image.storedRun(of: node)
    case .target: _ = try image.symbolicLinkTarget(of: node)
    case .extendedAttributes: _ = try image.extendedAttributes(of: node)
    }
  }

  @Test(arguments: Attack.superblock + Attack.inodes + Attack.directories + Attack.tables)
  func `an attack is an error that names the place`(attack: Attack) async throws {
    let fixtures = try await HostileFixtures.shared.value
    var bytes = attack.usesFragments ? fixtures.fragments : fixtures.plain
    let node = try withImage(bytes.bytes) { image in
      try probe(attack, image)
      return try #require(try image.node(at: try TreePath(parsing: attack.path)))
    }
    attack.patch(&bytes, node)
    let error = #expect(throws: StoreError.self) { try withImage(bytes.bytes) { try probe(attack, $0) } }
    switch error {
    case .damagedImage(_, let place, let reason): #expect(!place.isEmpty && !reason.isEmpty)
    case .system(_, _, .notDirectory): #expect(attack.testDescription == "root that is a file")
    default: Issue.record("\(String(describing: error))")
    }
  }
}
