// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriFS
import DistriStore
import FSTestSupport
import Foundation
import Synchronization
import SystemPackage
import Testing

extension MountTests {
  @Suite struct LiveTests {
    private func target(_ path: FilePath) -> String? { try? FileManager.default.destinationOfSymbolicLink(atPath: path.string) }

    @Test func `a package that arrives is seen within a second`() async throws {
      let store = try TestStore()
      try await store.makeImage("a-amd64-1-1", ["bin/a": "a"])
      try await withMount(of: try PackageFileSystem(store: store.local), at: store.mountPoint) { mount in
        let root = mount.mountPoint
        var times: [Duration] = []
        // Other tests may keep the machine busy: the best of five tells what the view itself takes.
        for _ in 0..<5 {
          #expect(target(root.appending("bin/a")) == nil)
          let start = ContinuousClock.now
          try store.publish("a-amd64-1-1")
          #expect(try await eventually { target(root.appending("bin/a")) != nil })
          times.append(ContinuousClock.now - start)
          try FileManager.default.moveItem(
            atPath: store.path.appending("a-amd64-1-1.squashfs").string, toPath: store.file("a-amd64-1-1.image").string)
          #expect(try await eventually { target(root.appending("bin/a")) == nil })
        }
        #expect(try #require(times.min()) < .seconds(1))
      }
    }

    @Test func `a package that arrives is shown, and one that goes takes its links along`() async throws {
      let store = try TestStore()
      try await store.add("nano-amd64-7.1-1", ["bin/nano": "old", "out/share/doc/nano/x": "x"])
      try await store.makeImage("nano-amd64-7.2-2", ["bin/nano": "new", "bin/rnano": "new"])
      try await withMount(of: try PackageFileSystem(store: store.local), at: store.mountPoint) { mount in
        let root = mount.mountPoint
        // The kernel now remembers the old state, and what is absent.
        #expect(try await onThread { try TreeRecord.tree(at: root) }.keys.contains("bin/nano"))
        #expect(try await onThread { !FileManager.default.fileExists(atPath: root.appending("bin/rnano").string) })
        try store.publish("nano-amd64-7.2-2")
        #expect(try await eventually { target(root.appending("bin/nano")) == "../nano-amd64-7.2-2/bin/nano" })
        #expect(try await onThread { try TreeRecord.bytes(of: root.appending("bin/rnano")) } == Array("new".utf8))
        #expect(try await onThread { try TreeRecord.names(in: root.appending("bin")) }.sorted() == ["nano", "rnano"])
        #expect(try await onThread { try TreeRecord.names(in: root) }.filter { $0.hasPrefix("nano") }.count == 2)
        #expect(try await onThread { try TreeRecord.bytes(of: root.appending("nano-amd64-7.1-1/bin/nano")) } == Array("old".utf8))

        try store.remove("nano-amd64-7.2-2")
        #expect(try await eventually { target(root.appending("bin/nano")) == "../nano-amd64-7.1-1/bin/nano" })
        #expect(target(root.appending("bin/rnano")) == nil)
        #expect(try await onThread { try TreeRecord.names(in: root.appending("bin")) } == ["nano"])
        #expect(try await onThread { !FileManager.default.fileExists(atPath: root.appending("nano-amd64-7.2-2").string) })

        try store.remove("nano-amd64-7.1-1")
        #expect(try await eventually { try TreeRecord.names(in: root.appending("share")) == [] })
      }
    }

    @Test func `what is open of a package that goes can be read to its end`() async throws {
      let store = try TestStore()
      let text = String(repeating: "0123456789abcdef", count: 1 << 18)
      try await store.add("a-amd64-1-1", ["out/big": text], options: ["-noI", "-noD", "-noF", "-no-fragments"])
      try await withMount(of: try PackageFileSystem(store: store.local), at: store.mountPoint) { mount in
        let root = mount.mountPoint
        let file = try await onThread { try FileDescriptor.open(root.appending("a-amd64-1-1/out/big"), .readOnly) }
        defer { try? file.close() }
        try store.remove("a-amd64-1-1")
        #expect(try await eventually { try !TreeRecord.names(in: root).contains("a-amd64-1-1") })
        let bytes = try await onThread {
          var bytes: [UInt8] = []
          var buffer = [UInt8](repeating: 0, count: 1 << 20)
          while case let count = try buffer.withUnsafeMutableBytes({ try file.read(into: $0) }), count > 0 {
            bytes += buffer[..<count]
          }
          return bytes
        }
        #expect(bytes == Array(text.utf8))
      }
    }

    @Test func `many packages that arrive at once are all there in the end`() async throws {
      let store = try TestStore()
      for index in 0..<20 {
        try await store.makeImage("p\(index)-amd64-1-1", ["bin/p\(index)": "\(index)", "bin/all": "\(index)"])
      }
      try await withMount(of: try PackageFileSystem(store: store.local), at: store.mountPoint) { mount in
        let root = mount.mountPoint
        try await withThrowingTaskGroup(of: Void.self) { group in
          for index in 0..<20 { group.addTask { try store.publish("p\(index)-amd64-1-1") } }
          try await group.waitForAll()
        }
        #expect(try await eventually { try TreeRecord.names(in: root.appending("bin")).count == 21 })
        #expect(target(root.appending("bin/all")) == "../p0-amd64-1-1/bin/all")
        for index in stride(from: 0, to: 20, by: 2) { try store.remove("p\(index)-amd64-1-1") }
        #expect(try await eventually { try TreeRecord.names(in: root.appending("bin")).count == 11 })
        #expect(target(root.appending("bin/all")) == "../p1-amd64-1-1/bin/all")
      }
    }

    @Test func `a damaged package gives EIO, beside it others work, and the status names it`() async throws {
      let store = try TestStore()
      try await store.add("good-amd64-1-1", ["bin/good": "good"])
      try await store.makeImage("bad-amd64-1-1", ["bin/bad": "bad"])
      try Data(repeating: 0x41, count: 5000).write(to: URL(fileURLWithPath: store.file("bad-amd64-1-1.image").string))
      try store.publish("bad-amd64-1-1")
      try await withMount(of: try PackageFileSystem(store: store.local), at: store.mountPoint) { mount in
        let root = mount.mountPoint
        let failure = await #expect(throws: TreeRecord.Failure.self) {
          try await onThread { try TreeRecord.names(in: root.appending("bad-amd64-1-1")) }
        }
        #expect(failure?.errno == EIO)
        #expect(try await onThread { try TreeRecord.bytes(of: root.appending("bin/good")) } == Array("good".utf8))
        let status = try await onThread { try MountStatus(of: root) }
        #expect(status.packageCount == 2)
        #expect(status.problems.map(\.subject) == ["bad-amd64-1-1"])
        // Repaired: the new image is another file, and works at once.
        try store.remove("bad-amd64-1-1")
        try await store.add("bad-amd64-1-1", ["bin/bad": "bad"])
        #expect(try await eventually { target(root.appending("bin/bad")) != nil })
        #expect(try await onThread { try TreeRecord.bytes(of: root.appending("bin/bad")) } == Array("bad".utf8))
      }
    }

    @Test func `a change that a file system reports is seen at once`() async throws {
      let fileSystem = MemoryFileSystem()
      let old = try fileSystem.add("name", contents: Array("old".utf8))
      let new = try fileSystem.add("other", contents: Array("new file".utf8))
      let store = try TestStore()
      try await withMount(of: fileSystem, at: store.mountPoint) { mount in
        let path = mount.mountPoint.appending("name")
        #expect(try await onThread { try TreeRecord.bytes(of: path) } == Array("old".utf8))
        try await onThread { try fileSystem.replace("name", by: new) }
        #expect(try await onThread { try TreeRecord.bytes(of: path) } == Array("new file".utf8))
        try await onThread { try fileSystem.replace("name", by: nil) }
        #expect(try await onThread { !FileManager.default.fileExists(atPath: path.string) })
        // The kernel drops the file that has no name any more, and says so.
        #expect(try await eventually { fileSystem.forgottenLookups(of: old) > 0 })
      }
    }

    @Test func `a request that has to wait is answered when it is ready, and others meanwhile`() async throws {
      let fileSystem = MemoryFileSystem()
      let slow = try fileSystem.add("slow", contents: Array("slow".utf8))
      try fileSystem.add("fast", contents: Array("fast".utf8))
      let (gate, opener) = AsyncStream.makeStream(of: Void.self)
      fileSystem.delayReads(of: slow) { for await _ in gate {} }
      let store = try TestStore()
      try await withMount(of: fileSystem, at: store.mountPoint) { mount in
        let root = mount.mountPoint
        async let waiting = onThread { try TreeRecord.bytes(of: root.appending("slow")) }
        for _ in 0..<20 { #expect(try await onThread { try TreeRecord.bytes(of: root.appending("fast")) } == Array("fast".utf8)) }
        opener.finish()
        let answer = try await waiting
        #expect(answer == Array("slow".utf8))
      }
    }

    @Test func `a request that waits for something that fails gets its error`() async throws {
      let fileSystem = MemoryFileSystem()
      let slow = try fileSystem.add("slow", contents: Array("slow".utf8))
      let isBroken = Mutex(true)
      fileSystem.delayReads(of: slow) { if isBroken.withLock({ $0 }) { throw Errno.timedOut } }
      let store = try TestStore()
      try await withMount(of: fileSystem, at: store.mountPoint) { mount in
        let path = mount.mountPoint.appending("slow")
        await #expect(throws: Errno.timedOut) { try await onThread { try TreeRecord.bytes(of: path) } }
        isBroken.withLock { $0 = false }
        let answer = try await onThread { try TreeRecord.bytes(of: path) }
        #expect(answer == Array("slow".utf8))
      }
    }
  }
}
