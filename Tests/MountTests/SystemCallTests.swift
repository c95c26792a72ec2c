// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import CTestCalls
import DistriFS
import DistriStore
import FSTestSupport
import Foundation
import SystemPackage
import TestSupport
import Testing

extension MountTests {
  /// The conformance suite through the kernel: the same laws for the kernel's own squashfs, a file system in memory, and packages.
  @Suite struct SystemCallTests {
    @discardableResult
    private func sampleImage(_ store: TestStore, _ options: [String] = ["-comp", "zstd"]) async throws -> FilePath {
      let tree = store.file("tree")
      if !FileManager.default.fileExists(atPath: tree.string) { try SampleTree.make(at: tree) }
      return try await store.makeImage("sample-amd64-1-1", of: tree, options: options)
    }

    private func laws(at path: FilePath, tooLong: Errno = .fileNameTooLong) async throws -> SystemCallLaws {
      try await onThread { try SystemCallLaws(at: path.string, tooLong: tooLong.rawValue) }
    }

    @Test func `the kernel's own squashfs keeps the laws of system calls`() async throws {
      let store = try TestStore()
      try await withKernelMount(of: try await sampleImage(store), at: store.file("kernel")) { path in
        let laws = try await laws(at: path, tooLong: .noSuchFileOrDirectory)
        #expect(laws.violations == [], "a law that the kernel's file system does not keep is none: correct SystemCallLaws")
        #expect(laws.fileCount > 600)
      }
    }

    @Test func `a file system in memory keeps the laws of system calls through a mount`() async throws {
      let fileSystem = MemoryFileSystem()
      let folder = try fileSystem.add("folder", kind: .directory, permissions: 0o750, userID: 5, groupID: 6)
      let value = [UInt8](repeating: 7, count: 300)
      let file = try fileSystem.add(
        "file", in: folder, permissions: 0o4755, contents: (0..<400_001).map { UInt8(truncatingIfNeeded: $0 &* 7 &+ $0 / 256) },
        extendedAttributes: [
          ExtendedAttribute(name: Array("user.a".utf8), value: value), ExtendedAttribute(name: Array("user.empty".utf8), value: []),
        ])
      try fileSystem.link(file, as: "hard")
      try fileSystem.add("link", kind: .symbolicLink, permissions: 0o777, contents: Array("a//b/".utf8))
      try fileSystem.add("long", kind: .symbolicLink, permissions: 0o777, contents: [UInt8](repeating: 120, count: 4095))
      try fileSystem.add("empty", permissions: 0)
      try fileSystem.add("fifo", kind: .fifo)
      let many = try fileSystem.add("many", kind: .directory, permissions: 0o755)
      try fileSystem.addMany(1000, in: many)
      let store = try TestStore()
      try await withMount(of: fileSystem, at: store.mountPoint) { mount in
        let laws = try await laws(at: mount.mountPoint)
        #expect(laws.violations == [])
        #expect(laws.fileCount == 1009)
      }
    }

    @Test(arguments: [["-comp", "zstd"], ["-noI", "-noD", "-noF", "-noX", "-no-fragments"], ["-comp", "gzip", "-b", "4K"]])
    func `packages and exchange directories keep the laws of system calls through a mount`(options: [String]) async throws {
      let store = try TestStore()
      try await sampleImage(store, options)
      try store.publish("sample-amd64-1-1")
      try await store.add("other-amd64-1-1", ["bin/other": "o", "out/lib/deep/er/other": "o", "out/share/doc/other/x": "x"])
      var options = MountOptions()
      options.honorsPrivileges = true
      try await withMount(of: try PackageFileSystem(store: store.local), at: store.mountPoint, options: options) { mount in
        let laws = try await laws(at: mount.mountPoint)
        #expect(laws.violations == [])
        #expect(laws.fileCount > 600)
      }
    }

    @Test func `the file systems behind the mounts keep the laws of the protocol`() async throws {
      let fileSystem = MemoryFileSystem()
      let folder = try fileSystem.add("folder", kind: .directory, permissions: 0o755)
      try fileSystem.add("file", in: folder, contents: [UInt8](repeating: 1, count: 10_000))
      try fileSystem.add("link", kind: .symbolicLink, contents: Array("folder".utf8))
      try fileSystem.add("fifo", kind: .fifo)
      #expect(try Conformance.violations(of: fileSystem) == [])
      let store = try TestStore()
      try await sampleImage(store)
      try store.publish("sample-amd64-1-1")
      #expect(try Conformance.violations(of: PackageFileSystem(store: store.local)) == [])
    }

    @Test func `an ordinary user may do what the modes say, as in the kernel's mount`() async throws {
      let store = try TestStore()
      let image = try await sampleImage(store)
      // All parents may be entered by everybody: a private /tmp would hide the difference.
      let script = """
        cd "$1" && find . -mindepth 1 | sort | while IFS= read -r path; do
          answer=
          for flag in r w x; do if test -$flag "$path"; then answer=$answer$flag; else answer=$answer-; fi; done
          echo "$answer $path"; done; find . 2>&1 >/dev/null | sed 's/.*\\(.\\.\\/.*\\)/\\1/'
        """
      func answers(in path: FilePath) async throws -> String {
        try await succeed(
          "setpriv", ["--reuid", "65534", "--regid", "65534", "--clear-groups", "sh", "-c", script, "sh", path.string])
      }
      for folder in [store.mountPoint.removingLastComponent(), image.removingLastComponent()] {
        try await succeed("chmod", ["755", folder.string])
      }
      let expected = try await withKernelMount(of: image, at: store.file("kernel")) { try await answers(in: $0) }
      try store.publish("sample-amd64-1-1")
      try await withMount(of: try PackageFileSystem(store: store.local), at: store.mountPoint) { mount in
        let seen = try await answers(in: mount.mountPoint.appending("sample-amd64-1-1"))
        #expect(seen == expected)
        #expect(seen.split(separator: "\n").count > 600)
      }
    }

    @Test func `statfs describes a full, read-only file system, and the mount allows what it was told to`() async throws {
      for isPrivileged in [false, true] {
        let store = try TestStore()
        try await store.add("a-amd64-1-1", ["bin/a": "a"])
        var options = MountOptions()
        options.honorsPrivileges = isPrivileged
        try await withMount(of: try PackageFileSystem(store: store.local), at: store.mountPoint, options: options) { mount in
          let path = mount.mountPoint
          let (fields, flags) = try await onThread {
            var fields = [UInt64](repeating: 0, count: 7)
            var more = statvfs()
            guard ctest_statfs(path.string, &fields) == 0, statvfs(path.string, &more) == 0 else { throw Errno(rawValue: errno) }
            return (fields, more.f_flag)
          }
          #expect(fields[0] == 0x6573_5546, "the type is not FUSE's")
          #expect(fields[1] == 4096 && fields[2] > 0)
          #expect(fields[3...5].allSatisfy { $0 == 0 }, "nothing can be written, and something is free")
          #expect(fields[6] == 255)
          #expect(flags & UInt(ST_RDONLY) != 0)
          #expect((flags & UInt(ST_NOSUID) == 0) == isPrivileged)
        }
      }
    }

    @Test func `links of the view lead where they say, from any directory`() async throws {
      let store = try TestStore()
      try await store.add(
        "a-amd64-1-1",
        ["bin/a": "program", "out/lib/x/y/z": "deep", "out/lib/x/y/alias": "->z", "out/share/doc/a/copyright": "free"])
      try await withMount(of: try PackageFileSystem(store: store.local), at: store.mountPoint) { mount in
        let root = mount.mountPoint
        let script =
          "cd \"$1\" && cat bin/a lib/x/y/z lib/x/y/alias && cd lib/x/y && cat z alias ../../../bin/a && realpath z && pwd -P"
        let output = try await succeed("sh", ["-c", script, "sh", root.string])
        #expect(output == "programdeepdeepdeepdeepprogram\(root)/a-amd64-1-1/out/lib/x/y/z\n\(root)/lib/x/y\n")
      }
    }
  }
}
