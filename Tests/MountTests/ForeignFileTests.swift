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
  @Suite struct ForeignFileTests {
    private func read(_ path: FilePath) async throws -> String {
      String(decoding: try await onThread { try TreeRecord.bytes(of: path) }, as: UTF8.self)
    }

    private func exists(_ path: FilePath) -> Bool { access(path.string, F_OK) == 0 }

    private func status(_ root: FilePath) async throws -> MountStatus { try await onThread { try MountStatus(of: root) } }

    @Test func `files that are no images are named, and those beside them are shown`() async throws {
      let store = try TestStore()
      try await store.add("good-amd64-1-1", ["bin/good": "good"])
      try await store.makeImage("late-amd64-1-1", ["bin/late": "late"])
      let script = """
        cd "$1"
        for n in fifo socket folder dangling loop empty device; do echo 'version: "1"' > $n-amd64-1-1.meta.textproto; done
        mkfifo fifo-amd64-1-1.squashfs; mkdir folder-amd64-1-1.squashfs; ln -s nowhere dangling-amd64-1-1.squashfs
        ln -s loop-amd64-1-1.squashfs loop-amd64-1-1.squashfs; : > empty-amd64-1-1.squashfs; mknod device-amd64-1-1.squashfs c 1 5
        python3 -c 'import os, stat; os.mknod("socket-amd64-1-1.squashfs", stat.S_IFSOCK | 0o600)'
        echo x > 'odd name.squashfs'; echo x > -amd64-1-1.squashfs; cp ../late-amd64-1-1.image late-amd64-1-1.squashfs
        """
      try await succeed("bash", ["-ec", script, "sh", store.path.string])
      let daemon = try await FuseProcess(store)
      let root = daemon.mountPoint
      #expect(try await read(root.appending("bin/good")) == "good")
      // What cannot be an image is named, wherever that is: as a package that gives EIO, or as a file of the store that is not shown.
      let walk = try await ToolProcess.run("find", [root.string])
      #expect(walk.output.contains("/good-amd64-1-1/bin/good"))
      let said = try await status(root).problems.map { "\($0.subject): \($0.reason)" }.joined(separator: "\n")
      for name in ["fifo", "socket", "folder", "dangling", "loop", "empty", "device", "late"] {
        #expect(said.contains(name), "\(name)-amd64-1-1.squashfs is not named: \(said)")
      }
      // Metadata that comes after the image makes it a package.
      #expect(!exists(root.appending("bin/late")))
      try Data("version: \"1\"\n".utf8).write(
        to: URL(fileURLWithPath: store.path.appending("late-amd64-1-1.meta.textproto").string))
      let late = root.appending("bin/late")
      #expect(try await eventually { exists(late) }, "an image whose metadata comes late is not shown")
      #expect(try await !status(root).problems.contains { $0.reason.contains("late") })
      #expect(try await daemon.end() == 0)
    }
  }
}
