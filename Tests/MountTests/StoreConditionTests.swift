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
  /// Stores as they are in life: read-only, half written, without what is derived, with files that are no images.
  @Suite struct StoreConditionTests {
    private func read(_ path: FilePath) async throws -> String {
      String(decoding: try await onThread { try TreeRecord.bytes(of: path) }, as: UTF8.self)
    }

    private func exists(_ path: FilePath) -> Bool { access(path.string, F_OK) == 0 }

    private func status(_ root: FilePath) async throws -> MountStatus { try await onThread { try MountStatus(of: root) } }

    @Test func `a store on a read-only medium is shown, and nothing is written`() async throws {
      let store = try TestStore()
      for name in ["a", "b"] { try await store.add("\(name)-amd64-1-1", ["bin/\(name)": name, "out/lib/\(name).so": name]) }
      let path = store.path.string
      try await succeed("mount", ["--bind", path, path])
      try await succeed("mount", ["-o", "remount,bind,ro", path])
      do {
        let daemon = try await FuseProcess(store)
        #expect(try await read(daemon.mountPoint.appending("bin/a")) == "a")
        #expect(try await onThread { try TreeRecord.tree(at: daemon.mountPoint) }.keys.contains("b-amd64-1-1/out/lib/b.so"))
        #expect(try await status(daemon.mountPoint).problems == [])
        #expect(try await daemon.end() == 0)
        try await succeed("umount", [path])
      } catch {
        _ = try? await ToolProcess.run("umount", ["-l", path])
        throw error
      }
      let names = try FileManager.default.contentsOfDirectory(atPath: path)
      #expect(
        names.sorted() == [
          "a-amd64-1-1.meta.textproto", "a-amd64-1-1.squashfs", "b-amd64-1-1.meta.textproto", "b-amd64-1-1.squashfs",
        ])
    }

    @Test func `what is derived may be deleted at any time, and be anything when the view starts`() async throws {
      let store = try TestStore()
      for name in ["a", "b", "c"] { try await store.add("\(name)-amd64-1-1", ["bin/\(name)": name, "out/lib/\(name).so": name]) }
      try await store.makeImage("d-amd64-1-1", ["bin/d": "d"])
      let index = store.path.appending(".index")
      func check(_ daemon: FuseProcess, _ names: [String]) async throws {
        for name in names {
          #expect(try await read(daemon.mountPoint.appending("bin/\(name)")) == name)
          #expect(try await read(daemon.mountPoint.appending("\(name)-amd64-1-1/bin/\(name)")) == name)
        }
        #expect(try await onThread { try TreeRecord.names(in: daemon.mountPoint.appending("bin")) }.sorted() == names)
        #expect(try await status(daemon.mountPoint).problems == [])
      }
      var daemon = try await FuseProcess(store)
      try await check(daemon, ["a", "b", "c"])
      try await succeed("rm", ["-rf", index.string])
      try await succeed("bash", ["-c", "echo 2 > /proc/sys/vm/drop_caches"])
      try await check(daemon, ["a", "b", "c"])
      try store.publish("d-amd64-1-1")
      let arrived = daemon.mountPoint.appending("bin/d")
      #expect(try await eventually { exists(arrived) })
      try await check(daemon, ["a", "b", "c", "d"])
      #expect(try await daemon.end() == 0)

      // Damaged, cut, of other images, no files at all: the images decide.
      let damages = [
        "for f in \"$1\"/*; do printf 'garbage' > \"$f\"; done",
        "for f in \"$1\"/*; do truncate -s 0 \"$f\"; done",
        "for f in \"$1\"/*; do truncate -s -1 \"$f\" 2>/dev/null || true; done",
        "for f in \"$1\"/*; do head -c 4096 /dev/urandom | dd of=\"$f\" conv=notrunc status=none; done",
        "for f in \"$1\"/*; do s=$(stat -c %s \"$f\"); head -c 200 /dev/urandom | dd of=\"$f\" bs=1 seek=$((s / 2)) conv=notrunc status=none; done",
        "set -- \"$1\"/*; [ -e \"$1\" ] && cat \"$1\" > \"${@: -1}\" || true",
        "rm -rf \"$1\"; ln -s /nowhere \"$1\"", "rm -rf \"$1\"; echo file > \"$1\"", "rm -rf \"$1\"; mkdir -m 000 \"$1\"",
        "rm -rf \"$1\"; mkdir \"$1\"; for n in a b c d; do mkfifo \"$1/$n-amd64-1-1.index\"; done",
      ]
      for damage in damages {
        try await succeed("bash", ["-c", "shopt -s nullglob; \(damage)", "sh", index.string])
        daemon = try await FuseProcess(store)
        try await check(daemon, ["a", "b", "c", "d"])
        #expect(try await daemon.end() == 0, "after «\(damage)»")
      }
    }

    @Test func `an image that shrinks, or is overwritten, while it is shown harms nobody else`() async throws {
      let store = try TestStore()
      let text = String(repeating: "0123456789abcdef", count: 1 << 17)
      try await store.add("good-amd64-1-1", ["out/share/good": text])
      for (name, options) in [
        ("plain", ["-noI", "-noId", "-noX", "-noD", "-noF", "-no-fragments"]), ("packed", ["-comp", "zstd"]),
      ] {
        try await store.add(
          "\(name)-amd64-1-1", ["bin/\(name)": name, "out/share/\(name)": text, "out/d/e/f": "f"], options: options)
      }
      let daemon = try await FuseProcess(store)
      let root = daemon.mountPoint
      #expect(try await onThread { try TreeRecord.tree(at: root) }.count > 10)
      for damage in ["truncate -s 4096", "truncate -s 0", "dd if=/dev/urandom bs=1M count=1 status=none conv=notrunc of="] {
        for name in ["plain", "packed"] {
          let image = store.path.appending("\(name)-amd64-1-1.squashfs").string
          try await succeed("bash", ["-c", damage.hasSuffix("=") ? damage + image : "\(damage) \(image)"])
          // Any answer will do, and there has to be one.
          let used = try await ToolProcess.run(
            "timeout",
            [
              "20", "bash", "-c", "find \"$1\" -type f -exec cat {} + >/dev/null; ls -lR \"$1\"", "sh",
              root.appending("\(name)-amd64-1-1").string,
            ])
          #expect(used.status != 124, "a request is not answered after «\(damage)» of \(name)")
          #expect(daemon.isRunning, "the daemon died of «\(damage)» of \(name)")
          try await succeed("bash", ["-c", "echo 3 > /proc/sys/vm/drop_caches"])
          #expect(try await read(root.appending("share/good")) == text)
        }
      }
      #expect(try await daemon.end() == 0)
    }
  }
}
