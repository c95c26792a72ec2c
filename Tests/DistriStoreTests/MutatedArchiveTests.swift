// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore
import SystemPackage
import TestSupport
import Testing

@Suite struct MutatedArchiveTests {
  /// The same numbers for the same seed on every machine.
  struct Generator: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
      state &+= 0x9e37_79b9_7f4a_7c15
      var z = state
      z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
      z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
      return z ^ (z >> 31)
    }
  }

  /// Flips, overwrites, removes or repeats bytes; most often near the start, where headers are.
  static func mutate(_ bytes: [UInt8], seed: UInt64) -> [UInt8] {
    var generator = Generator(state: seed)
    var result = bytes
    for _ in 0..<Int.random(in: 1...8, using: &generator) where !result.isEmpty {
      let reach = Bool.random(using: &generator) ? min(result.count, 1024) : result.count
      let at = Int.random(in: 0..<reach, using: &generator)
      let count = min(Int.random(in: 1...64, using: &generator), result.count - at)
      switch Int.random(in: 0..<6, using: &generator) {
      case 0: result[at] ^= 1 << UInt8.random(in: 0..<8, using: &generator)
      case 1: result[at] = UInt8.random(in: .min ... .max, using: &generator)
      case 2: result.replaceSubrange(at..<(at + count), with: repeatElement(0xff, count: count))
      case 3: result.removeSubrange(at..<(at + count))
      case 4: result.insert(contentsOf: Array(result[at..<(at + count)]), at: at)
      default: if generator.next() % 4 == 0 { result.removeSubrange(at...) } else { result[at] = UInt8(ascii: "7") }
      }
    }
    return result
  }

  static let archives = [
    "gnu.tar": "tar --format=gnu -S -cf gnu.tar -C tree .",
    "pax.tar": "tar --format=pax --xattrs --xattrs-include='*' -S -cf pax.tar -C tree .",
    "tree.tar.gz": "tar -czf tree.tar.gz -C tree .", "tree.tar.xz": "tar -cJf tree.tar.xz -C tree .",
    "tree.tar.zst": "tar --zstd -cf tree.tar.zst -C tree .", "tree.tar.bz2": "tar -cjf tree.tar.bz2 -C tree .",
    "tree.zip": "(cd tree && zip -q -r -y ../tree.zip dir big empty)",
    "tree.cpio": "(cd tree && rm dir/sub/b && find dir big empty | cpio --quiet -o -H newc > ../tree.cpio)",
    "none.deb": "dpkg-deb -Znone -b deb none.deb", "xz.deb": "dpkg-deb -Zxz -b deb xz.deb",
    "zstd.deb": "dpkg-deb -Zzstd -b deb zstd.deb",
  ]

  @Test(.timeLimit(.minutes(3)), arguments: Array(archives.keys).sorted())
  func `a mutated archive neither crashes, hangs, escapes nor fills the memory`(name: String) async throws {
    let folder = try TemporaryDirectory()
    try await shell(ArchiveTreeTests.plain, in: folder.path)
    try await shell(ArchiveTreeTests.rich + "\nhead -c 3000 /bin/true > big", in: folder.path)
    try await shell(DebianArchiveTests.package, in: folder.path)
    try await shell("\(try #require(Self.archives[name])) && mkdir out mutated", in: folder.path)
    let original = try bytes(of: folder.path.appending(name))
    var arguments = ["extract", folder.path.appending("out").string, folder.path.appending(name).string]
    for seed in 0..<60 as Range<UInt64> {
      let mutated = folder.path.appending("mutated").appending("\(seed)-\(name)")
      try write(Self.mutate(original, seed: seed &* 977 &+ UInt64(name.utf8.count)), to: mutated)
      arguments.append(mutated.string)
    }
    let before = try await shellOutput("ls -A1 \(folder.path)")
    let outcome = try await ToolProcess.run(
      "store-worker", arguments, environment: ["SWIFT_BACKTRACE": "enable=no"], in: folder.path)
    #expect(outcome.status == 0, "\(outcome.errors)")
    let lines = outcome.output.split(separator: "\n")
    #expect(lines.count == 62)
    #expect(lines.first == "whole")
    #expect(lines.allSatisfy { !$0.hasPrefix("untyped") }, "\(lines.filter { $0.hasPrefix("untyped") })")
    #expect(lines.filter { $0.hasPrefix("error") }.count > 5)
    let peak = try #require(lines.last?.split(separator: " ").dropFirst().first.flatMap { Int($0) })
    #expect(peak < 200_000, "peak memory \(peak) KiB")
    #expect(try await shellOutput("ls -A1 \(folder.path)") == before)
  }

  private func shellOutput(_ script: String) async throws -> String {
    try await ToolProcess.run("/bin/sh", ["-c", script]).output
  }
}
