// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import FSTestSupport
import Foundation
import SystemPackage
import TestSupport
import Testing

extension MountTests {
  /// What is shown of a store: all, some packages, a section; and who wins.
  @Suite struct SelectionTests {
    private func names(_ path: FilePath) async throws -> [String] { try await onThread { try TreeRecord.names(in: path) }.sorted() }

    private func target(_ path: FilePath) -> String? { try? FileManager.default.destinationOfSymbolicLink(atPath: path.string) }

    @Test func `--packages shows these and what they need, in the exchange directories, too`() async throws {
      let store = try TestStore()
      for name in ["app", "lib", "other"] {
        try await store.makeImage("\(name)-amd64-1-1", ["bin/\(name)": name, "out/lib/\(name).so": name])
      }
      try store.publish("app-amd64-1-1", metadata: "runtime_dep: \"lib-amd64-1-1\"\nversion: \"1-1\"\n")
      for name in ["lib", "other"] { try store.publish("\(name)-amd64-1-1") }
      let daemon = try await FuseProcess(store, ["--packages", "app"])
      #expect(try await names(daemon.mountPoint.appending("bin")) == ["app", "lib"])
      #expect(try await names(daemon.mountPoint.appending("lib")) == ["app.so", "lib.so"])
      #expect(try await names(daemon.mountPoint).filter { $0.contains("amd64") } == ["app-amd64-1-1", "lib-amd64-1-1"])
      // What arrives is none of them.
      try await store.add("new-amd64-1-1", ["bin/new": "new"])
      #expect(
        try await !eventually(within: .milliseconds(300)) { access(daemon.mountPoint.appending("bin/new").string, F_OK) == 0 })
      #expect(try await daemon.end() == 0)
    }

    @Test(arguments: ["debug", "src"])
    func `a section is shown with its packages, without metadata, and follows changes`(section: String) async throws {
      let store = try TestStore()
      try await store.add("a-amd64-1-1", ["bin/a": "a"])
      let folder = store.path.appending(section).string
      try await succeed("mkdir", ["-p", folder])
      for name in ["a", "b"] {
        try await store.makeImage(
          "\(name)-amd64-1-1", ["debug/.build-id/ab/\(name).debug": name, "configure": "x", "out/lib/no": "no"])
      }
      func add(_ name: String) async throws {
        try await succeed("mv", [store.file("\(name)-amd64-1-1.image").string, "\(folder)/\(name)-amd64-1-1.squashfs"])
      }
      try await add("a")
      let daemon = try await FuseProcess(store, ["--section", section], waitingFor: "a-amd64-1-1")
      let root = daemon.mountPoint
      let file = root.appending("a-amd64-1-1/debug/.build-id/ab/a.debug")
      #expect(try await onThread { try TreeRecord.bytes(of: file) } == Array("a".utf8))
      try await add("b")
      #expect(try await eventually { access(root.appending("b-amd64-1-1/configure").string, F_OK) == 0 })
      // The tree of a source feeds nothing; a debug package its files by build id.
      let exchange = try await names(root).filter { !$0.contains("amd64") }
      if section == "src" {
        #expect(exchange == [])
      } else {
        #expect(try await names(root.appending("debug/.build-id/ab")) == ["a.debug", "b.debug"])
      }
      #expect(try await daemon.end() == 0)
    }

    @Test func `conflicts name the winner that the mount shows, and all versions and packages take over in order`() async throws {
      let store = try TestStore()
      for name in ["a-amd64-1-1", "a-amd64-1-10", "a-amd64-1-9", "b-amd64-1-1", "c-amd64-1-1"] {
        try await store.add(name, ["bin/x": name, "out/share/doc/\(name)": name])
      }
      let daemon = try await FuseProcess(store)
      let link = daemon.mountPoint.appending("bin/x")
      let conflicts = try await succeed("distri-fuse", ["conflicts", store.path.string])
      let lines = conflicts.split(separator: "\n").map { $0.split(separator: "\t").map(String.init) }
      // Versions of one package are no conflict: the highest revision wins.
      #expect(lines == [["bin/x", "a-amd64-1-10", "b-amd64-1-1", "c-amd64-1-1"]])
      let order = ["a-amd64-1-10", "a-amd64-1-9", "a-amd64-1-1", "b-amd64-1-1", "c-amd64-1-1"]
      for (index, package) in order.enumerated() {
        #expect(try await eventually { target(link) == "../\(package)/bin/x" }, "\(package) does not take over")
        #expect(try await onThread { try TreeRecord.bytes(of: link) } == Array(package.utf8))
        if index == order.count - 1 { #expect(try await succeed("distri-fuse", ["conflicts", store.path.string]) == "") }
        try store.remove(package)
      }
      #expect(try await eventually { target(link) == nil })
      #expect(try await daemon.end() == 0)
    }

    @Test func `a directory that a package brings is not hidden by another's file, also when they come and go`() async throws {
      let store = try TestStore()
      try await store.add("a-amd64-1-1", ["out/lib/x": "file"])
      try await store.makeImage("b-amd64-1-1", ["out/lib/x/y": "y"])
      let daemon = try await FuseProcess(store)
      let path = daemon.mountPoint.appending("lib/x")
      #expect(target(path) == "../a-amd64-1-1/out/lib/x")
      for _ in 0..<3 {
        try store.publish("b-amd64-1-1")
        #expect(
          try await eventually { target(path.appending("y")) == "../../b-amd64-1-1/out/lib/x/y" }, "the directory does not win")
        #expect(try await names(path) == ["y"])
        try await store.makeImage("b-amd64-1-1", ["out/lib/x/y": "y"])
        try store.remove("b-amd64-1-1")
        #expect(try await eventually { target(path) == "../a-amd64-1-1/out/lib/x" }, "the file does not come back")
      }
      #expect(try await daemon.end() == 0)
    }
  }
}
