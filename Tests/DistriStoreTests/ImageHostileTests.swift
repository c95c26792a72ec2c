// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore
import Foundation
import Glibc
import SystemPackage
import TestSupport
import Testing

/// The bytes of an image whose metadata is stored uncompressed, to be changed at places that have a name.
struct PatchableImage: Sendable {
  var bytes: [UInt8]

  func u64(_ offset: Int) -> UInt64 { number(offset, bytes: 8) }

  private func number(_ offset: Int, bytes count: Int) -> UInt64 {
    (0..<count).reduce(0) { $0 | UInt64(bytes[offset + $1]) << UInt64($1 * 8) }
  }

  mutating func set<T: FixedWidthInteger>(_ offset: Int, _ value: T) {
    for index in 0..<MemoryLayout<T>.size { bytes[offset + index] = UInt8(truncatingIfNeeded: value >> T(index * 8)) }
  }

  /// A byte of a metadata stream: `reference` as the format has them, `field` bytes further.
  private func metadata(table: UInt64, reference: UInt64, field: Int) -> Int {
    let offset = Int(reference & 0xffff) + field
    return Int(table + reference >> 16) + offset / 8192 * 8194 + 2 + offset % 8192
  }

  func inode(_ node: PackageImage.Node, field: Int) -> Int {
    metadata(table: u64(64), reference: node.reference, field: field)
  }

  /// Of a basic directory inode.
  func listing(_ node: PackageImage.Node, field: Int) -> Int {
    let (block, offset) = (number(inode(node, field: 16), bytes: 4), number(inode(node, field: 26), bytes: 2))
    return metadata(table: u64(72), reference: block << 16 | offset, field: field)
  }

  /// The first attribute set's descriptor.
  var attributeDescriptor: Int { Int(u64(Int(u64(56)) + 16)) + 2 }
  /// The first attribute.
  var attribute: Int { Int(u64(Int(u64(56)))) + 2 }
}

/// Images to attack, made once.
struct HostileFixtures: Sendable {
  let plain: PatchableImage
  let fragments: PatchableImage
  let compressed: PatchableImage

  static let shared = Task { try await HostileFixtures() }

  private init() async throws {
    let folder = try TemporaryDirectory()
    var generator = SeededGenerator(state: 3)
    let attributes = [
      ExtendedAttribute(name: Array("user.first".utf8), value: [1, 2, 3]),
      ExtendedAttribute(name: Array("user.second".utf8), value: generator.bytes(300)),
    ]
    var entries = [
      try ListTree.file("d/aa", [1]), try ListTree.file("d/bb", [2]), try ListTree.file("d/cc", [3]),
      try ListTree.entry("d/sub", .directory), try ListTree.file("file", generator.bytes(300_000)),
      try ListTree.entry("link", .symbolicLink(target: Array("d/aa".utf8))),
      try ListTree.file("linked", generator.bytes(5000)),
      try ListTree.entry("linked-again", .hardLink(to: try TreePath(parsing: "linked"))),
      try ListTree.entry("device", .blockDevice(major: 8, minor: 1)), try ListTree.file("x", [4]),
    ]
    entries[entries.count - 1].0.extendedAttributes = attributes
    for index in 0..<1200 {
      entries.append(try ListTree.file("big/\(index)-\(String(repeating: "name", count: 15))", [UInt8(index % 7)]))
    }
    let image = folder.path.appending("plain")
    try ImageWriter(options: .init(modificationTime: 1)).write(ListTree(entries), to: image)
    plain = PatchableImage(bytes: Array(try Data(contentsOf: URL(fileURLWithPath: image.string))))

    let source = folder.path.appending("source")
    try await run("unsquashfs", ["-no-progress", "-quiet", "-d", source.string, image.string])
    let text = [UInt8](repeating: UInt8(ascii: "a"), count: 1 << 20)
    try Data(text).write(to: URL(fileURLWithPath: source.appending("text").string))
    let common = ["-noappend", "-no-progress", "-quiet", "-mkfs-time", "1", "-all-time", "1"]
    for (name, options) in [("fragments", ["-noI", "-noX", "-noId", "-b", "1048576"]), ("compressed", [])] {
      try await run("mksquashfs", [source.string, folder.path.appending(name).string] + common + options)
    }
    func load(_ name: String) throws -> PatchableImage {
      PatchableImage(bytes: Array(try Data(contentsOf: URL(fileURLWithPath: folder.path.appending(name).string))))
    }
    fragments = try load("fragments")
    compressed = try load("compressed")
  }
}

/// Opens bytes as an image.
func withImage<R>(_ bytes: [UInt8], _ body: (PackageImage) throws -> R) throws -> R {
  let folder = try TemporaryDirectory()
  let path = folder.path.appending("image")
  try Data(bytes).write(to: URL(fileURLWithPath: path.string))
  return try body(try PackageImage(path: path))
}

/// Reads everything there is in an image that may be hostile, within bounds that an honest one of its size does not
/// reach.
func exhaust(_ image: PackageImage) -> (nodes: Int, failures: Int) {
  var visited: Set<PackageImage.Node> = [image.root]
  var pending = [image.root]
  var failures = 0
  func attempt(_ body: () throws -> Void) {
    do { try body() } catch is StoreError { failures += 1 } catch { Issue.record("not a StoreError: \(error)") }
  }
  while let node = pending.popLast(), visited.count < 20_000 {
    attempt {
      let attributes = try image.attributes(of: node)
      attempt { _ = try image.extendedAttributes(of: node) }
      switch attributes.kind {
      case .directory:
        // A position that no listing gave.
        try? image.forEachEntry(of: node, after: 0xc_0000_0010) { _, _ in true }
        for entry in try image.entries(of: node) {
          if visited.count % 16 == 0 { attempt { _ = try image.lookUp(entry.name, in: node) } }
          if visited.insert(entry.node).inserted { pending.append(entry.node) }
        }
      case .regular:
        attempt { _ = try image.storedRun(of: node) }
        for offset in [0, attributes.byteCount / 2, attributes.byteCount - min(attributes.byteCount, 4096)] {
          var buffer = [UInt8](repeating: 0, count: 300_000)
          buffer.withUnsafeMutableBytes { buffer in
            var span = OutputRawSpan(buffer: buffer, initializedCount: 0)
            do { try image.read(node, at: offset, into: &span) } catch { failures += 1 }
            _ = span.finalize(for: buffer)
          }
        }
      case .symbolicLink: _ = try image.symbolicLinkTarget(of: node)
      default: break
      }
    }
  }
  attempt {
    var tree = ImageTree(image)
    while try tree.next() != nil {}
  }
  return (visited.count, failures)
}

@Suite(.serialized) struct ImageMutationTests {
  enum Kind: CaseIterable { case plain, fragments, compressed }

  private func fixture(_ kind: Kind) async throws -> PatchableImage {
    let fixtures = try await HostileFixtures.shared.value
    return switch kind {
    case .plain: fixtures.plain
    case .fragments: fixtures.fragments
    case .compressed: fixtures.compressed
    }
  }

  private func peakMemory() -> Int {
    var usage = rusage()
    getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &usage)
    return usage.ru_maxrss * 1024
  }

  @Test(.timeLimit(.minutes(5)), arguments: Kind.allCases)
  func `hundreds of mutated images do no harm`(kind: Kind) async throws {
    let good = try await fixture(kind)
    let (nodes, failures) = try withImage(good.bytes, exhaust)
    #expect(nodes > 1200 && failures == 0)
    let before = peakMemory()
    var generator = SeededGenerator(state: UInt64(good.bytes.count))
    let tables = Int(good.u64(64))..<Int(good.u64(40))
    var refused = 0
    var damaged = 0
    for round in 0..<150 {
      var image = good.bytes
      for _ in 0..<Int.random(in: 1...6, using: &generator) {
        let place = round % 3 == 0 ? Int.random(in: 0..<96, using: &generator) : Int.random(in: tables, using: &generator)
        image[place] = [0, 0xff, 0x7f, 0x80, UInt8.random(in: 0...255, using: &generator)].randomElement(using: &generator) ?? 0
      }
      do { if try withImage(image, exhaust).failures > 0 { damaged += 1 } } catch is StoreError { refused += 1 }
    }
    #expect(refused > 10 && damaged > 30)
    #expect(peakMemory() - before < 512 << 20)
  }

  @Test(.timeLimit(.minutes(5)), arguments: Kind.allCases)
  func `a truncated image is refused`(kind: Kind) async throws {
    let good = try await fixture(kind)
    let used = Int(good.u64(40))
    var generator = SeededGenerator(state: 11)
    for count in [0, 1, 95, 96, 97, 4096, used - 1] + (0..<60).map({ _ in Int.random(in: 0..<used, using: &generator) }) {
      #expect(throws: StoreError.self) { try withImage(Array(good.bytes[..<count])) { _ in } }
      // The same with a superblock that agrees.
      var cut = PatchableImage(bytes: Array(good.bytes[..<count]))
      guard count >= 96 else { continue }
      cut.set(40, UInt64(count))
      do { #expect(try withImage(cut.bytes, exhaust).failures > 0) } catch is StoreError {}
    }
  }
}
