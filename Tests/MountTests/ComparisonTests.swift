// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriFS
import DistriStore
import FSTestSupport
import Foundation
import SystemPackage
import TestSupport
import Testing

/// One after the other: they measure time, and share the kernel's mount table.
@Suite(.serialized) enum MountTests {}

extension MountTests {
  @Suite struct ComparisonTests {
    @Test func `a file system in memory looks through a mount as it does through the protocol`() async throws {
      let fileSystem = MemoryFileSystem()
      let folder = try fileSystem.add("folder", kind: .directory, permissions: 0o750, userID: 5, groupID: 6)
      let file = try fileSystem.add(
        "file", in: folder, permissions: 0o4755, userID: 1, groupID: 2, contents: Array("contents".utf8),
        extendedAttributes: [ExtendedAttribute(name: Array("user.a".utf8), value: [0, 1, 2])])
      try fileSystem.link(file, as: "hard")
      try fileSystem.add("link", kind: .symbolicLink, permissions: 0o777, contents: Array("a//b/".utf8))
      try fileSystem.add("empty", permissions: 0)
      try fileSystem.add("fifo", kind: .fifo)
      let mountPoint = try TestStore().mountPoint
      try FileManager.default.createDirectory(atPath: mountPoint.string, withIntermediateDirectories: true)
      defer { try? FileManager.default.removeItem(atPath: mountPoint.removingLastComponent().string) }
      try await withMount(of: fileSystem, at: mountPoint) { mount in
        let path = mount.mountPoint
        let seen = try await onThread { try TreeRecord.tree(at: path) }
        #expect(TreeRecord.differences(seen, try TreeRecord.tree(of: fileSystem)) == [])
        #expect(seen.count == 7)
        #expect(throws: Errno.readOnlyFileSystem) {
          try FileDescriptor.open(path.appending("file2"), .writeOnly, options: .create, permissions: .ownerRead)
        }
      }
      #expect(try TreeRecord.names(in: mountPoint) == [])
    }

    @Test(arguments: [
      ["-noI", "-noD", "-noF", "-no-fragments"], ["-comp", "zstd", "-b", "64K"], ["-comp", "xz"], ["-comp", "lz4"],
    ])
    func `a package looks through our mount as through the kernel's`(options: [String]) async throws {
      let store = try TestStore()
      let tree = store.file("tree")
      try SampleTree.make(at: tree)
      let image = try await store.makeImage("sample-amd64-1-1", of: tree, options: options)
      let kernel = store.file("kernel")
      try FileManager.default.createDirectory(atPath: kernel.string, withIntermediateDirectories: true)
      let mounted = try await ToolProcess.run("mount", ["-t", "squashfs", "-o", "loop,ro", image.string, kernel.string])
      try #require(mounted.status == 0, "\(mounted.errors)")
      let expected: TreeRecord.Tree
      do {
        expected = try await onThread { try TreeRecord.tree(at: kernel) }
      } catch {
        try await ToolProcess.run("umount", [kernel.string])
        throw error
      }
      try await ToolProcess.run("umount", [kernel.string])
      try store.publish("sample-amd64-1-1")

      let fileSystem = try PackageFileSystem(store: try store.local)
      var options = MountOptions()
      options.honorsPrivileges = true
      try await withMount(of: fileSystem, at: store.mountPoint, options: options) { mount in
        let path = mount.mountPoint.appending("sample-amd64-1-1")
        let seen = try await onThread { try TreeRecord.tree(at: path) }
        #expect(TreeRecord.differences(expected, seen) == [])
      }
      #expect(expected.count > 600)
    }
  }
}
