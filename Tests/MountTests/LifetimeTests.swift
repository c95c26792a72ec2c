// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriFS
import FSTestSupport
import Foundation
import SystemPackage
import TestSupport
import Testing

extension MountTests {
  @Suite struct LifetimeTests {
    @Test func `the mount goes with the body, also when it throws`() async throws {
      struct Stop: Error {}
      let store = try TestStore()
      let fileSystem = MemoryFileSystem()
      try fileSystem.add("file")
      await #expect(throws: Stop.self) {
        try await withMount(of: fileSystem, at: store.mountPoint) { mount in
          #expect(try MountTable.current().entry(at: mount.mountPoint)?.isOurs == true)
          throw Stop()
        }
      }
      #expect(try MountTable.current().entry(at: Mount.canonical(store.mountPoint)) == nil)
      #expect(try TreeRecord.names(in: store.mountPoint) == [])
    }

    @Test func `the mount goes although it is in use, and what is open gives errors`() async throws {
      let store = try TestStore()
      let fileSystem = MemoryFileSystem()
      try fileSystem.add("file", contents: Array("contents".utf8))
      let file = try await withMount(of: fileSystem, at: store.mountPoint) { mount in
        let path = mount.mountPoint.appending("file")
        return try await onThread { try FileDescriptor.open(path, .readOnly) }
      }
      defer { try? file.close() }
      var status = stat()
      #expect(try MountTable.current().entry(at: Mount.canonical(store.mountPoint)) == nil)
      var byte: UInt8 = 0
      #expect(fstat(file.rawValue, &status) == 0 || errno == ENOTCONN || errno == ECONNABORTED)
      #expect(read(file.rawValue, &byte, 1) <= 0)
    }

    @Test func `somebody else can unmount it`() async throws {
      let store = try TestStore()
      try await withMount(of: MemoryFileSystem(), at: store.mountPoint) { mount in
        let before = mount.isUnmounted
        let path = mount.mountPoint
        try await onThread { try Mount.unmount(path) }
        await mount.waitUntilUnmounted()
        let after = mount.isUnmounted
        #expect(!before)
        #expect(after)
      }
      #expect(throws: MountError.notMounted(store.mountPoint)) { try Mount.unmount(store.mountPoint) }
    }

    @Test func `two views cannot be mounted on one directory, and a mount point must be a directory`() async throws {
      let store = try TestStore()
      try await withMount(of: MemoryFileSystem(), at: store.mountPoint) { _ in
        await #expect(throws: MountError.busy(store.mountPoint)) {
          try await withMount(of: MemoryFileSystem(), at: store.mountPoint) { _ in }
        }
      }
      let missing = store.file("missing")
      await #expect(throws: MountError.invalidMountPoint(missing, .noSuchFileOrDirectory)) {
        try await withMount(of: MemoryFileSystem(), at: missing) { _ in }
      }
      try Data().write(to: URL(fileURLWithPath: missing.string))
      await #expect(throws: MountError.invalidMountPoint(missing, .notDirectory)) {
        try await withMount(of: MemoryFileSystem(), at: missing) { _ in }
      }
    }

    @Test func `waiting for the end of a mount ends with the task`() async throws {
      let store = try TestStore()
      let fileSystem = MemoryFileSystem()
      let point = store.mountPoint
      let task = Task { try await withMount(of: fileSystem, at: point) { mount in await mount.waitUntilUnmounted() } }
      #expect(try await eventually { try MountTable.current().entry(at: Mount.canonical(point)) != nil })
      task.cancel()
      try await task.value
      #expect(try MountTable.current().entry(at: Mount.canonical(point)) == nil)
    }
  }
}
