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
  /// A mount of a store whose generations change, as programs see it.
  @Suite struct GenerationMountTests {
    private func want(_ query: String) -> GenerationMaker {
      { context in
        var selection = context.selection
        selection.want(try PackageQuery(parsing: query))
        selection = try selection.resolved(with: Array(context.packages)) { package throws(StoreError) in
          try context.metadata(of: package)
        }
        return GenerationChange(selection: selection, time: 1, command: "test")
      }
    }

    private func target(_ path: FilePath) -> String? { try? FileManager.default.destinationOfSymbolicLink(atPath: path.string) }

    @Test func `a mount shows another generation at once, and a program goes on with what it has`() async throws {
      let files = try TestStore()
      try await files.add("nano-amd64-1-1", ["bin/nano": "one", "out/share/doc/nano/old": "1"])
      try await files.makeImage("nano-amd64-2-2", ["bin/nano": "two", "out/share/doc/nano/new": "2"])
      let store = try files.local
      try await withMount(of: try PackageFileSystem(store: store), at: files.mountPoint) { mount in
        let root = mount.mountPoint
        #expect(target(root.appending("bin/nano")) == "../nano-amd64-1-1/bin/nano")
        try await store.makeGeneration(want("nano"))
        let open = try await onThread { try FileDescriptor.open(root.appending("bin/nano"), .readOnly) }
        defer { try? open.close() }
        // A newer version that is only there changes nothing.
        try files.publish("nano-amd64-2-2")
        #expect(try await eventually { try TreeRecord.names(in: root).contains("nano-amd64-2-2") })
        #expect(target(root.appending("bin/nano")) == "../nano-amd64-1-1/bin/nano")
        #expect(try await onThread { try TreeRecord.names(in: root.appending("share/doc/nano")) } == ["old"])
        #expect(target(root.appending("share/doc/nano/new")) == nil)
        for _ in 0..<5 {
          try await store.makeGeneration(want("nano"))
          #expect(try await eventually { try TreeRecord.bytes(of: root.appending("bin/nano")) == Array("two".utf8) })
          #expect(target(root.appending("bin/nano")) == "../nano-amd64-2-2/bin/nano")
          #expect(try await onThread { try TreeRecord.names(in: root.appending("share/doc/nano")) } == ["new"])
          try await store.switchGeneration(to: 1)
          #expect(try await eventually { try TreeRecord.bytes(of: root.appending("bin/nano")) == Array("one".utf8) })
          #expect(target(root.appending("share/doc/nano/new")) == nil)
          #expect(try await onThread { try TreeRecord.bytes(of: root.appending("share/doc/nano/old")) } == Array("1".utf8))
        }
        #expect(try await onThread { try TreeRecord.names(in: root) }.filter { $0.hasPrefix("nano") }.count == 2)
      }
    }

    @Test func `a collector leaves alone what runs from the mount, and what serves it is no reason to`() async throws {
      let files = try TestStore()
      let own = "own\(UInt32.random(in: 0 ... .max))"
      let tree = files.file("tree")
      try FileManager.default.createDirectory(atPath: tree.appending("bin").string, withIntermediateDirectories: true)
      try FileManager.default.copyItem(atPath: "/bin/sleep", toPath: tree.appending("bin/\(own)").string)
      let store = try files.local
      for number in 1...3 {
        try await files.makeImage("\(own)-amd64-\(number)-\(number)", of: tree)
        try files.publish("\(own)-amd64-\(number)-\(number)")
        try await store.makeGeneration(want(own))
      }
      try await withMount(of: try PackageFileSystem(store: store), at: files.mountPoint) { mount in
        let root = mount.mountPoint
        // The mount has opened all of them.
        for number in 1...3 {
          _ = try await onThread { try TreeRecord.names(in: root.appending("\(own)-amd64-\(number)-\(number)/bin")) }
        }
        let process = Process()
        process.executableURL = URL(fileURLWithPath: root.appending("\(own)-amd64-1-1/bin/\(own)").string)
        process.arguments = ["100"]
        try await onThread { try process.run() }
        let report = try await Collector(store, keeping: .init(count: 1)).collect()
        #expect(report.removals.map(\.package.description) == ["\(own)-amd64-2-2"])
        #expect(report.used.map(\.description) == ["\(own)-amd64-1-1"])
        // Other signals may be blocked in children of a mount.
        kill(process.processIdentifier, SIGKILL)
        // It ends when it is scheduled; then its package has no use.
        let deadline = ContinuousClock.now + .seconds(30)
        while try store.packages().count > 1, ContinuousClock.now < deadline {
          _ = try await Collector(store, keeping: .init(count: 1)).collect()
        }
        #expect(try store.packages().map(\.description) == ["\(own)-amd64-3-3"])
        #expect(try await eventually { try TreeRecord.names(in: root).filter { $0.hasPrefix("own") }.count == 1 })
      }
    }
  }
}
