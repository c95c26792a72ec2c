// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore
import FSTestSupport
import Foundation
import SystemPackage
import Testing

@testable import DistriFS

/// Indexes whose checksums are right and whose contents are not: a store may come from anywhere.
@Suite struct ForgedIndexTests {
  /// Changes bytes of one section of a file's, and makes its checksums right again.
  private func forge(_ path: FilePath, _ format: IndexFile.Format, _ random: inout SplitMix) throws {
    let url = URL(fileURLWithPath: path.string)
    let file = try #require(IndexFile(try MappedFile(copying: [UInt8](Data(contentsOf: url))), format))
    var sections = (0..<format.sectionCount).map { file.section($0).array }
    let filled = sections.indices.filter { !sections[$0].isEmpty }
    for _ in 0..<(1 + random.next() % 8) {
      let section = filled[Int(random.next() % UInt64(filled.count))]
      let place = Int(random.next() % UInt64(sections[section].count))
      let values: [UInt8] = [0, 1, 0x7f, 0x80, 0xff, UInt8(truncatingIfNeeded: random.next())]
      sections[section][place] = values[Int(random.next() % UInt64(values.count))]
    }
    try Data(IndexFile.bytes(format, binding: file.binding, sections: sections)).write(to: url)
  }

  /// Looks at everything, within bounds: what is answered does not matter, that there is an answer does.
  private func walk(_ fileSystem: PackageFileSystem) {
    var pending: [(NodeID, Int)] = [(.root, 0)]
    var count = 0
    while let (node, depth) = pending.popLast(), count < 4000 {
      count += 1
      _ = try? fileSystem.attributes(of: node)
      _ = try? fileSystem.extendedAttributes(of: node)
      var reply = ReplyBuffer()
      _ = try? fileSystem.symbolicLinkTarget(of: node, into: &reply)
      _ = try? fileSystem.read(node, at: 0, count: 5000, into: &reply)
      if depth < 8 {
        _ = try? fileSystem.entries(of: node, after: 0) { _, attributes, _ in
          pending.append((attributes.inode, depth + 1))
          return pending.count < 5000
        }
      }
    }
    _ = fileSystem.conflicts
    _ = fileSystem.capacity
    _ = fileSystem.problems
  }

  @Test(arguments: 0..<12 as Range<UInt64>) func `an index that was forged is no reason to crash or to go on without end`(
    seed: UInt64
  ) async throws {
    var random = SplitMix(seed)
    let store = try TestStore()
    let tree = store.file("tree")
    try SampleTree.make(at: tree)
    try await store.makeImage("sample-amd64-1-1", of: tree, options: [])
    try store.publish("sample-amd64-1-1")
    try await store.add("a-amd64-1-1", ["bin/hello": "a", "out/lib/deep/er": "a", "out/share/doc/a": "a"])
    let whole = try PackageFileSystem(store: store.local)
    try whole.subscribe { _ in }.cancel()
    let folder = store.path.appending(".index")
    for name in try FileManager.default.contentsOfDirectory(atPath: folder.string) {
      try forge(folder.appending(name), name.hasPrefix("view-") ? ViewFile.format : PackageIndex.format, &random)
    }
    let forged = try PackageFileSystem(store: store.local)
    walk(forged)
    try store.remove("a-amd64-1-1")
    try forged.refresh(at: 1)
    walk(forged)
    // And without the view: the package's index alone is forged.
    for name in try FileManager.default.contentsOfDirectory(atPath: folder.string) where name.hasPrefix("view-") {
      try FileManager.default.removeItem(atPath: folder.appending(name).string)
    }
    walk(try PackageFileSystem(store: store.local))
    // A selection that begins with the forged view of one.
    let only = [try PackageID(parsing: "sample-amd64-1-1")]
    _ = try PackageFileSystem(store: store.local, only: only)
    for name in try FileManager.default.contentsOfDirectory(atPath: folder.string) where name.hasPrefix("view-") {
      try forge(folder.appending(name), ViewFile.format, &random)
    }
    if let selected = try? PackageFileSystem(store: store.local, only: only) { walk(selected) }
  }
}

/// Numbers that follow from a seed (S. Vigna, «SplitMix64»).
struct SplitMix {
  private var state: UInt64

  init(_ seed: UInt64) { state = seed &* 0x9e37_79b9_7f4a_7c15 }

  mutating func next() -> UInt64 {
    state &+= 0x9e37_79b9_7f4a_7c15
    var word = state
    word = (word ^ (word >> 30)) &* 0xbf58_476d_1ce4_e5b9
    word = (word ^ (word >> 27)) &* 0x94d0_49bb_1331_11eb
    return word ^ (word >> 31)
  }
}
