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
  /// FORMATS section 4: «`runtime_union` directories show the union of the base's and all plug-ins' entries, inside `/ro/<base>/out/<dir>`».
  /// The plug-in says so in its metadata (section 2); what it adds are links to its own package.
  @Suite struct RuntimeUnionTests {
    private static let base = "app-amd64-1-1"
    private static let place = "app-amd64-1-1/out/lib/plugins"

    private func addBase(_ store: TestStore) async throws {
      try await store.add(
        Self.base, ["bin/app": "app", "out/lib/plugins/own": "base", "out/lib/plugins/sub/inner": "base", "out/lib/other": "other"])
    }

    private func makePlugin(_ package: String, _ files: [String], _ store: TestStore) async throws {
      try await store.makeImage(package, Dictionary(uniqueKeysWithValues: files.map { ("out/lib/plugins/\($0)", package) }))
    }

    private func publish(_ package: String, _ store: TestStore) throws {
      try store.publish(package, metadata: "version: \"1\"\nruntime_union { dir: \"lib/plugins\" pkg: \"\(Self.base)\" }\n")
    }

    private func target(_ path: FilePath) -> String? { try? FileManager.default.destinationOfSymbolicLink(atPath: path.string) }

    private func withView(_ store: TestStore, _ body: (FilePath) async throws -> Void) async throws {
      try await withMount(of: try PackageFileSystem(store: store.local), at: store.mountPoint) { try await body($0.mountPoint) }
    }

    @Test func `the base's directory shows the base's entries, and links to those of all plug-ins`() async throws {
      let store = try TestStore()
      try await addBase(store)
      for (package, files) in [("p-amd64-1-1", ["p.so"]), ("q-amd64-2-1", ["q.so", "data/x"])] {
        try await makePlugin(package, files, store)
        try publish(package, store)
      }
      try await withView(store) { root in
        let place = root.pushing(FilePath(Self.place))
        #expect(try await onThread { try TreeRecord.names(in: place) }.sorted() == ["data", "own", "p.so", "q.so", "sub"])
        #expect(target(place.appending("p.so")) == "../../../../p-amd64-1-1/out/lib/plugins/p.so")
        #expect(target(place.appending("q.so")) == "../../../../q-amd64-2-1/out/lib/plugins/q.so")
        for (path, contents) in [
          ("p.so", "p-amd64-1-1"), ("q.so", "q-amd64-2-1"), ("data/x", "q-amd64-2-1"), ("own", "base"), ("sub/inner", "base"),
        ] {
          let file = place.pushing(FilePath(path))
          let bytes = try await onThread { try? TreeRecord.bytes(of: file) }
          #expect(bytes.map { String(decoding: $0, as: UTF8.self) } == contents, "\(path)")
        }
        // Elsewhere the packages are as they were packed.
        #expect(try await onThread { try TreeRecord.names(in: root.appending("p-amd64-1-1/out/lib/plugins")) } == ["p.so"])
        #expect(
          try await onThread { try TreeRecord.names(in: root.appending("app-amd64-1-1/out/lib")) }.sorted() == ["other", "plugins"])
      }
    }

    @Test func `the base's own entries win, then the first plug-in by name`() async throws {
      let store = try TestStore()
      try await addBase(store)
      for package in ["z-amd64-1-1", "b-amd64-1-1"] {
        try await makePlugin(package, ["own", "shared"], store)
        try publish(package, store)
      }
      try await withView(store) { root in
        let place = root.pushing(FilePath(Self.place))
        let names = try await onThread { try TreeRecord.names(in: place) }
        #expect(names.sorted() == ["own", "shared", "sub"])
        #expect(try await onThread { try TreeRecord.bytes(of: place.appending("own")) } == Array("base".utf8))
        #expect(target(place.appending("shared")) == "../../../../b-amd64-1-1/out/lib/plugins/shared")
      }
    }

    @Test func `plug-ins that arrive and leave are seen while mounted, and by who has asked before`() async throws {
      let store = try TestStore()
      try await addBase(store)
      for package in ["p-amd64-1-1", "q-amd64-1-1"] { try await makePlugin(package, ["shared", "\(package.prefix(1)).so"], store) }
      try await withView(store) { root in
        let place = root.pushing(FilePath(Self.place))
        #expect(try await onThread { try TreeRecord.names(in: place) }.sorted() == ["own", "sub"])
        #expect(target(place.appending("p.so")) == nil)
        try publish("q-amd64-1-1", store)
        #expect(try await eventually { target(place.appending("q.so")) != nil }, "a plug-in that arrives is not shown")
        #expect(target(place.appending("shared")) == "../../../../q-amd64-1-1/out/lib/plugins/shared")
        try publish("p-amd64-1-1", store)
        #expect(try await eventually { target(place.appending("p.so")) != nil }, "a second plug-in that arrives is not shown")
        #expect(target(place.appending("shared")) == "../../../../p-amd64-1-1/out/lib/plugins/shared")
        #expect(try await onThread { try TreeRecord.names(in: place) }.sorted() == ["own", "p.so", "q.so", "shared", "sub"])
        try store.remove("p-amd64-1-1")
        #expect(try await eventually { target(place.appending("p.so")) == nil }, "a plug-in that leaves is still shown")
        #expect(
          target(place.appending("shared")) == "../../../../q-amd64-1-1/out/lib/plugins/shared", "the next plug-in takes its place")
        try store.remove("q-amd64-1-1")
        #expect(try await eventually { try TreeRecord.names(in: place).sorted() == ["own", "sub"] })
      }
    }

    @Test func `the view keeps the laws with unions, and a plug-in without its base harms nobody`() async throws {
      let store = try TestStore()
      try await makePlugin("p-amd64-1-1", ["p.so", "data/x"], store)
      try publish("p-amd64-1-1", store)
      let alone = try PackageFileSystem(store: store.local)
      #expect(try Conformance.violations(of: alone) == [])
      try await addBase(store)
      let both = try PackageFileSystem(store: store.local)
      #expect(try Conformance.violations(of: both) == [])
      try await withView(store) { root in
        let laws = try await onThread { try SystemCallLaws(at: root.string) }
        #expect(laws.violations == [])
      }
    }
  }
}
