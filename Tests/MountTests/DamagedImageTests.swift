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
  @Suite struct DamagedImageTests {
    private static let seed = ProcessInfo.processInfo.environment["DISTRI_RANDOM_SEED"] ?? "1"

    /// Images of every kind of table, compressed and not.
    private func baseImages(_ store: TestStore) async throws -> [String] {
      let tree = store.file("base")
      try SampleTree.make(at: tree)
      var images: [String] = []
      for (index, options) in [
        ["-noI", "-noId", "-noX", "-noD", "-noF", "-no-fragments"], ["-noI", "-noId", "-noX", "-b", "4K"], ["-comp", "gzip"],
        ["-comp", "zstd", "-b", "1M"], ["-comp", "xz"], ["-comp", "lz4"],
      ].enumerated() {
        images.append(try await store.makeImage("base\(index)-amd64-1-1", of: tree, options: options).string)
      }
      try await store.writeImage("own-amd64-1-1", of: tree, options: .init(modificationTime: 1))
      return images + [store.file("own-amd64-1-1.image").string]
    }

    /// How many requests the kernel still waits for.
    private func waiting(_ mountPoint: FilePath, _ store: TestStore) async throws -> String {
      var status = stat()
      guard stat(mountPoint.string, &status) == 0 else { throw Errno(rawValue: errno) }
      let control = store.file("control").string
      let number = "\(status.st_dev & 0xff | (status.st_dev >> 12) & 0xfff00)"
      let script = """
        mkdir "$1"; mount -t fusectl fusectl "$1" || exit 1
        # A request that is being answered at this moment does not count.
        for _ in $(seq 100); do waiting=$(cat "$1/$2/waiting"); [ "$waiting" = 0 ] && break; done
        echo "$waiting"; umount "$1"
        """
      return try await succeed("bash", ["-c", script, "sh", control, number])
    }

    @Test(.timeLimit(.minutes(5)))
    func `three hundred mutated images do no harm to the mount and to their neighbours`() async throws {
      let store = try TestStore()
      let text = String(repeating: "healthy ", count: 60_000)
      for (name, options) in [("a", ["-comp", "zstd"]), ("z", ["-noI", "-noD", "-noF", "-no-fragments"])] {
        try await store.add("\(name)-amd64-1-1", ["bin/\(name)": name, "out/share/\(name)/text": text], options: options)
      }
      let images = try await baseImages(store)
      let made = try await Script.run("damage.py", ["make", Self.seed, "300", store.path.string] + images)
      try #require(made.status == 0, "\(made.errors)")
      let daemon = try await FuseProcess(store)
      let root = daemon.mountPoint
      let hint = "the seed is \(Self.seed); Tests/Compare/damage.py makes the images again"

      async let walking = Script.run("damage.py", ["walk", root.string])
      async let reading = onThread {
        for _ in 0..<50 {
          for name in ["a", "z"] {
            for path in ["share/\(name)/text", "\(name)-amd64-1-1/out/share/\(name)/text"] {
              guard try TreeRecord.bytes(of: root.pushing(FilePath(path))) == Array(text.utf8) else { return path }
            }
          }
        }
        return ""
      }
      let (walk, wrong) = try await (walking, reading)
      #expect(walk.status == 0, "\(walk.errors)\n\(hint)")
      #expect(wrong == "", "\(wrong) has other bytes while its neighbours are damaged; \(hint)")
      #expect(daemon.isRunning, "the daemon has died; \(hint)")

      // Whatever gave EIO has a name in the status, and nothing else has.
      let failed = Set(walk.output.split(separator: "\n").filter { $0.hasSuffix("\tEIO") }.map { String($0.prefix { $0 != "\t" }) })
      let status = try await onThread { try MountStatus(of: root) }
      let named = Set(status.problems.map(\.subject))
      #expect(failed.count > 50, "only \(failed.count) images are damaged: the mutations hit nothing")
      #expect(failed.subtracting(named) == [], "these gave EIO, and the status does not name them; \(hint)")
      #expect(named.allSatisfy { $0.hasPrefix("m") }, "sound packages are named: \(named.filter { !$0.hasPrefix("m") })")
      #expect(status.packageCount == 302)
      #expect(try await waiting(root, store) == "0\n", "requests are unanswered")
      #expect(try await daemon.end() == 0, "the daemon does not end as it should; \(hint)")
    }
  }
}
