// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore
import FSTestSupport
import Foundation
import SystemPackage
import Testing

@testable import DistriFS

@Suite struct PackageFileSystemTests {
  private func path(_ path: String, in fileSystem: PackageFileSystem) throws -> Attributes {
    var attributes = try fileSystem.attributes(of: .root)
    for name in path.split(separator: "/") { attributes = try fileSystem.lookUp(try EntryName(String(name)), in: attributes.inode) }
    return attributes
  }

  @Test func `it keeps the laws of a file system`() async throws {
    let store = try TestStore()
    let tree = store.file("tree")
    try SampleTree.make(at: tree)
    try await store.makeImage("sample-amd64-1-1", of: tree, options: ["-comp", "zstd"])
    try store.publish("sample-amd64-1-1")
    try await store.add("plain-amd64-1-1", ["out/lib/a": "a", "bin/b": "b"], options: ["-noI", "-noD", "-noF", "-no-fragments"])
    let fileSystem = try PackageFileSystem(store: store.local)
    #expect(try Conformance.violations(of: fileSystem) == [])
    #expect(try Conformance.violations(of: MemoryFileSystem()) == [])
  }

  @Test func `a file that lies uncompressed in the image is answered from the mapping`() async throws {
    let store = try TestStore()
    let text = String(repeating: "0123456789", count: 50_000)
    try await store.add("a-amd64-1-1", ["out/big": text], options: ["-noI", "-noD", "-noF", "-no-fragments"])
    let fileSystem = try PackageFileSystem(store: store.local)
    let file = try path("a-amd64-1-1/out/big", in: fileSystem)
    var reply = ReplyBuffer()
    try fileSystem.read(file.inode, at: 10, count: 100_000, into: &reply)
    let isMapped = reply.isMapped
    let bytes = reply.bytes
    #expect(isMapped)
    #expect(bytes == Array(text.utf8.dropFirst(10).prefix(100_000)))
  }

  @Test func `a damaged image fails alone, and is named`() async throws {
    let store = try TestStore()
    try await store.add("good-amd64-1-1", ["out/lib/a": "a"])
    try await store.makeImage("bad-amd64-1-1", ["out/lib/b": "b"])
    try Data("hsqs and then nothing that makes sense".utf8).write(
      to: URL(fileURLWithPath: store.file("bad-amd64-1-1.image").string))
    try store.publish("bad-amd64-1-1")
    try Data().write(to: URL(fileURLWithPath: store.path.appending("lonely-amd64-1-1.squashfs").string))
    let fileSystem = try PackageFileSystem(store: store.local)
    let bad = try path("bad-amd64-1-1", in: fileSystem)
    #expect(bad.kind == .directory)
    #expect(
      Conformance.errno { () throws(FileSystemFailure) in try fileSystem.entries(of: bad.inode, after: 0) { _, _, _ in true } }
        == .ioError)
    #expect(try path("good-amd64-1-1/out/lib/a", in: fileSystem).byteCount == 1)
    #expect(try path("lib/a", in: fileSystem).kind == .symbolicLink)
    #expect(fileSystem.problems.map(\.subject).sorted() == ["bad-amd64-1-1", "store"])
    #expect(fileSystem.view.packages.map(\.description) == ["bad-amd64-1-1", "good-amd64-1-1"])
  }

  @Test func `a subset shows only the packages that were asked for, and the place of the one that is being built`() async throws {
    let store = try TestStore()
    for name in ["a", "b", "c"] { try await store.add("\(name)-amd64-1-1", ["bin/\(name)": name]) }
    let own = try PackageID(parsing: "own-amd64-1-1")
    let fileSystem = try PackageFileSystem(
      store: store.local, only: [PackageID(parsing: "a-amd64-1-1"), PackageID(parsing: "c-amd64-1-1")], reserving: own)
    #expect(fileSystem.view.packages.map(\.description) == ["a-amd64-1-1", "c-amd64-1-1", "own-amd64-1-1"])
    let place = try path("own-amd64-1-1", in: fileSystem)
    #expect(place.kind == .directory)
    var names: [String] = []
    try fileSystem.entries(of: place.inode, after: 0) { name, _, _ in
      names.append("\(name)")
      return true
    }
    #expect(names == [])
    try fileSystem.entries(of: try path("bin", in: fileSystem).inode, after: 0) { name, _, _ in
      names.append("\(name)")
      return true
    }
    #expect(names == ["a", "c"])
    #expect(throws: StoreError.notFound("z-amd64-1-1")) {
      try PackageFileSystem(store: store.local, only: [PackageID(parsing: "z-amd64-1-1")])
    }
  }

  @Test func `an image that replaces another of the same name is a new package`() async throws {
    let store = try TestStore()
    try await store.add("a-amd64-1-1", ["bin/x": "one"])
    let fileSystem = try PackageFileSystem(store: store.local)
    let before = try path("a-amd64-1-1/bin/x", in: fileSystem)
    try await store.add("a-amd64-1-1", ["bin/x": "three"])
    try fileSystem.refresh(at: 1)
    let after = try path("a-amd64-1-1/bin/x", in: fileSystem)
    #expect(before.inode != after.inode)
    #expect(after.byteCount == 5)
    // Who has the old file open goes on with the old contents.
    var reply = ReplyBuffer()
    try fileSystem.read(before.inode, at: 0, count: 10, into: &reply)
    let bytes = reply.bytes
    #expect(bytes == Array("one".utf8))
  }

  @Test func `a package that has gone is closed with its last user`() async throws {
    let store = try TestStore()
    try await store.add("a-amd64-1-1", ["bin/x": "x"])
    let fileSystem = try PackageFileSystem(store: store.local)
    let directory = try path("a-amd64-1-1", in: fileSystem)
    let folder = try fileSystem.lookUp(try EntryName("bin"), in: directory.inode)
    weak let package = fileSystem.view.shown.first
    try store.remove("a-amd64-1-1")
    try fileSystem.refresh(at: 1)
    #expect(fileSystem.view.packages == [])
    #expect(package != nil)
    fileSystem.forget(directory.inode, lookups: 1)
    #expect(try fileSystem.attributes(of: folder.inode).kind == .directory)
    fileSystem.forget(folder.inode, lookups: 1)
    #expect(package == nil)
    #expect(
      Conformance.errno { () throws(FileSystemFailure) in _ = try fileSystem.attributes(of: folder.inode) } == .staleNFSFileHandle)
  }

  @Test func `a listing goes on where it was although packages come and go meanwhile`() async throws {
    let store = try TestStore()
    for index in 0..<6 { try await store.add("p\(index)-amd64-1-1", ["bin/x\(index)": ""]) }
    let fileSystem = try PackageFileSystem(store: store.local)
    let bin = try path("bin", in: fileSystem).inode
    var names: [String] = []
    var cookie: UInt64 = 0
    try fileSystem.entries(of: bin, after: 0) { name, _, position in
      if names.count == 3 { return false }
      names.append("\(name)")
      cookie = position
      return true
    }
    try store.remove("p0-amd64-1-1")
    try await store.add("a-amd64-1-1", ["bin/a": ""])
    try fileSystem.refresh(at: 1)
    try fileSystem.entries(of: bin, after: cookie) { name, _, _ in
      names.append("\(name)")
      return true
    }
    // Those that were there all the time, once each; the new one where its place is.
    #expect(Set(names).count == names.count)
    #expect(Set(names).isSuperset(of: ["x1", "x2", "x3", "x4", "x5"]))
  }
}
