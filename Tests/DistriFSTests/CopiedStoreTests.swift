// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import FSTestSupport
import Foundation
import SystemPackage
import TestSupport
import Testing

@testable import DistriFS
@testable import DistriStore

@Suite struct CopiedStoreTests {
  @Test func `a copy is given what its first mount would make`() async throws {
    let store = try TestStore()
    for index in 0..<5 {
      try await store.add("p\(index)-amd64-1-1", ["bin/x\(index)": "x", "out/share/p\(index)/y": "y", "out/lib/same": ""])
    }
    try await store.add("base-amd64-1-1", ["out/lib/plugins/own": "1"])
    try await store.makeImage("plug-amd64-1-1", ["out/lib/plugins/more": "2"])
    try store.publish(
      "plug-amd64-1-1", metadata: "version: \"1\"\nruntime_union { dir: \"lib/plugins\" pkg: \"base-amd64-1-1\" }\n")
    // Not all are copied.
    try await store.add("other-amd64-1-1", ["bin/x0": "other"])
    let packages = try store.local.packages().filter { $0.name != "other" }
    let copy = try TestStore()
    var inodes: [String: UInt64] = [:]
    for package in packages {
      for name in [package.imageFileName, "\(package).meta.textproto"] {
        let path = copy.path.appending(name).string
        try FileManager.default.copyItem(atPath: store.path.appending(name).string, toPath: path)
        try FileManager.default.setAttributes([.modificationDate: Date(timeIntervalSince1970: 1_600_000_000)], ofItemAtPath: path)
        inodes[name] = try #require(FileManager.default.attributesOfItem(atPath: path)[.systemFileNumber] as? UInt64)
      }
    }
    let copied = try CopiedStore(of: packages.reversed(), in: store.local)
    let indexes = try copied.indexes(inodes: inodes, modificationTime: 1_600_000_000)
    let names = copied.indexNames
    #expect(names.count == indexes.count && indexes.count == packages.count + 1)

    let first = try PackageFileSystem(store: copy.local)
    #expect(first.view.file == nil)
    try first.subscribe { _ in }.cancel()
    for (name, bytes) in zip(names, indexes) {
      #expect(try Data(contentsOf: URL(filePath: copy.path.appending(name).string)) == Data(bytes), "\(name)")
    }
    // As an image has them.
    try FileManager.default.removeItem(atPath: copy.path.appending(".index").string)
    try FileManager.default.createDirectory(atPath: copy.path.appending(".index").string, withIntermediateDirectories: false)
    for (name, bytes) in zip(names, indexes) {
      try Data(bytes).write(to: URL(filePath: copy.path.appending(name).string))
    }
    let second = try PackageFileSystem(store: copy.local)
    #expect(second.view.file != nil)
    #expect(second.view.changed.isEmpty)
    #expect(second.view.packages == packages)
    #expect(second.view.sharedEntries == first.view.sharedEntries)
  }

  @Test func `a package that is not there is said`() async throws {
    let store = try TestStore()
    try await store.add("a-amd64-1-1", ["bin/a": "a"])
    let missing = try CopiedStore(of: [PackageID(parsing: "b-amd64-1-1")], in: store.local)
    #expect(throws: StoreError.self) { try missing.indexes(inodes: [:], modificationTime: 1) }
  }
}
