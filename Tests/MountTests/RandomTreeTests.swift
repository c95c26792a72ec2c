// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriFS
import DistriStore
import FSTestSupport
import Foundation
import SystemPackage
import TestSupport
import Testing

extension MountTests {
  /// `DISTRI_RANDOM_TREES` trees (10 without it) from the seed `DISTRI_RANDOM_SEED` (1 without it) on.
  @Suite struct RandomTreeTests {
    private static func number(_ variable: String, otherwise: UInt64) -> UInt64 {
      ProcessInfo.processInfo.environment[variable].flatMap(UInt64.init) ?? otherwise
    }

    /// What other tools' images are like: every compression, block size, and way to pack, in combinations that follow from the number.
    private func mksquashfsOptions(_ number: UInt64) -> [String] {
      func choice<T>(_ values: [T], _ divisor: UInt64) -> T { values[Int(number / divisor % UInt64(values.count))] }
      let compression = ["gzip", "xz", "lzo", "lz4", "zstd"][Int(number % 5)]
      let blockSize = choice(["4K", "128K", "1M", "16K", "256K", "64K"], 1)
      return ["-comp", compression, "-b", blockSize]
        + choice([[], ["-no-fragments"], ["-always-use-fragments"]], 1) + choice([[], ["-no-exports"]], 1)
        + choice([[], ["-no-duplicates"]], 2) + choice([[], ["-no-xattrs"]], 7) + choice([[], ["-no-sparse"]], 3)
        + choice([[], [], ["-noI", "-noId", "-noX"], ["-noD", "-noF"], ["-noI", "-noD", "-noF", "-noX", "-noId"]], 5)
    }

    /// Ours: plain, and each compression that we write.
    private func writerOptions(_ number: UInt64) -> ImageWriter.Options {
      ImageWriter.Options(
        compression: [.none, .zstd(), .none, .lz4][Int(number % 4)], blockSize: [131_072, 4096, 1 << 20][Int(number / 2 % 3)])
    }

    private func addPackage(_ seed: UInt64, to store: TestStore) async throws {
      let tree = store.file("tree-\(seed)")
      let made = try await Script.run("random_tree.py", ["\(seed)", tree.string])
      if made.status != 0 { throw TestFailure("random_tree.py \(seed): \(made.errors)") }
      let package = "seed\(seed)-amd64-\(seed)-1"
      if seed % 2 == 0 {
        try await store.writeImage(package, of: tree, options: writerOptions(seed / 2))
      } else {
        try await store.makeImage(package, of: tree, options: mksquashfsOptions(seed / 2))
      }
      try store.publish(package)
      try await succeed("rm", ["-rf", tree.string])
    }

    @Test func `random trees look through our mount as through the kernel's`() async throws {
      let first = Self.number("DISTRI_RANDOM_SEED", otherwise: 1)
      var left = Self.number("DISTRI_RANDOM_TREES", otherwise: 10)
      var seed = first
      while left > 0 {
        let count = min(left, 20)
        let store = try TestStore()
        for number in seed..<(seed + count) { try await addPackage(number, to: store) }
        var options = MountOptions()
        options.honorsPrivileges = true
        try await withMount(of: try PackageFileSystem(store: store.local), at: store.mountPoint, options: options) { mount in
          let outcome = try await Script.run("packages.py", [store.path.string, mount.mountPoint.string, "\(count)"])
          #expect(
            outcome.status == 0,
            """
            \(outcome.output)\(outcome.errors)
            The number in a package's name is its seed: Tests/Compare/random_tree.py SEED DIR makes its tree again, \
            DISTRI_RANDOM_SEED=SEED DISTRI_RANDOM_TREES=1 swift test --filter RandomTreeTests its image.
            """)
          // Names of any bytes and lengths are merged into the exchange directories, too.
          let dangling = try await ToolProcess.run(
            "find", ["-L", mount.mountPoint.appending("lib").string, "-ignore_readdir_race"])
          #expect(dangling.status == 0 || dangling.errors.contains("loop"), "\(dangling.errors.suffix(2000))")
          let problems = try await onThread { try MountStatus(of: store.mountPoint) }.problems
          #expect(problems == [], "the view finds damage in sound images")
        }
        seed += count
        left -= count
      }
    }
  }
}
