// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore
import Glibc
import SystemPackage
import TestSupport
import Testing

/// Stages a package whose image holds one file.
func stage(_ contents: String, of package: PackageID, in area: borrowing StagingArea) throws {
  var tree = SampleTree(Array(contents.utf8))
  try area.stage(&tree, of: package)
  try area.stage(PackageMetadata(version: package.version), of: package)
}

/// Commits packages whose images hold one file each.
func add(_ packages: [String: String], to store: LocalStore) async throws {
  try await store.transaction { area in
    for (name, contents) in packages {
      try stage(contents, of: try PackageID(parsing: name), in: area)
    }
  }
}

/// The names in a directory.
func names(in directory: FilePath) throws -> [String] {
  var tree = try DirectoryTree(path: directory)
  return try TreeSnapshot(&tree).order.dropFirst().map(\.description)
}

@Suite struct LocalStoreTests {
  @Test func `what is staged appears when the transaction ends`() async throws {
    let folder = try TemporaryDirectory()
    let store = try LocalStore(path: folder.path.appending("new"))
    let nano = try PackageID(parsing: "nano-amd64-7.2-3")
    try await store.transaction { area in
      try stage("image", of: nano, in: area)
      try area.stage(PackageMetadata(sourcePackage: "nano", version: "7.2-3"), of: nano)
      try write(Array("left over".utf8), to: area.directory.appending("scratch"))
      #expect(try store.packages().isEmpty)
    }
    #expect(try store.packages() == [nano])
    #expect(try store.metadata(of: nano).sourcePackage == "nano")
    #expect(try SampleTree.contents(of: try store.image(of: nano)) == Array("image".utf8))
    #expect(
      try names(in: store.path) == [
        ".index", ".index/nano-amd64-7.2-3.index", ".staging", ".staging/lock", "nano-amd64-7.2-3.meta.textproto",
        "nano-amd64-7.2-3.squashfs", "nano-amd64.meta.textproto",
      ])
    #expect(try store.defects().isEmpty)
  }

  @Test func `a body that throws leaves nothing behind`() async throws {
    struct Failure: Error {}
    let folder = try TemporaryDirectory()
    let store = try LocalStore(path: folder.path)
    await #expect(throws: Failure.self) {
      try await store.transaction { area in
        try stage("a", of: try PackageID(parsing: "a-amd64-1-1"), in: area)
        throw Failure()
      }
    }
    #expect(try names(in: store.path) == [".staging", ".staging/lock"])
  }

  @Test func `half a package is refused`() async throws {
    let folder = try TemporaryDirectory()
    let store = try LocalStore(path: folder.path)
    let package = try PackageID(parsing: "a-amd64-1-1")
    await #expect(throws: StoreError.self) {
      try await store.transaction { area in
        var tree = SampleTree([1])
        try area.stage(&tree, of: package)
      }
    }
    await #expect(throws: StoreError.self) {
      try await store.transaction { area in try area.stage(PackageMetadata(), of: package) }
    }
    #expect(try names(in: store.path) == [".staging", ".staging/lock"])
  }

  @Test func `what is no image does not get into the store`() async throws {
    let folder = try TemporaryDirectory()
    let store = try LocalStore(path: folder.path)
    let package = try PackageID(parsing: "a-amd64-1-1")
    for bytes in [[], Array("<html>".utf8), Array(repeating: 0, count: 8192)] as [[UInt8]] {
      let error = await #expect(throws: StoreError.self) {
        try await store.transaction { area in
          try stage("other", of: try PackageID(parsing: "b-amd64-1-1"), in: area)
          try write(bytes, to: area.imagePath(of: package))
          try area.stage(PackageMetadata(), of: package)
        }
      }
      guard case .damagedImage = error else {
        Issue.record("\(String(describing: error))")
        continue
      }
    }
    #expect(try names(in: store.path) == [".staging", ".staging/lock"])
  }

  @Test func `a package never changes, but may be added again as it is`() async throws {
    let folder = try TemporaryDirectory()
    let store = try LocalStore(path: folder.path)
    let package = try PackageID(parsing: "a-amd64-1-1")
    try await add(["a-amd64-1-1": "one"], to: store)
    await #expect(throws: StoreError.immutable(package, in: store.path)) {
      try await add(["a-amd64-1-1": "two", "b-amd64-1-1": "b"], to: store)
    }
    #expect(try store.packages() == [package])
    try await add(["a-amd64-1-1": "one", "b-amd64-1-1": "b"], to: store)
    #expect(try store.packages().map(\.description) == ["a-amd64-1-1", "b-amd64-1-1"])
    #expect(try SampleTree.contents(of: try store.image(of: package)) == Array("one".utf8))
    #expect(try names(in: store.path.appending(".staging")) == ["lock"])
  }

  @Test func `the newest version is the highest revision as a number`() async throws {
    let folder = try TemporaryDirectory()
    let store = try LocalStore(path: folder.path)
    func link() async throws -> String {
      try await ToolProcess.run("readlink", ["\(store.path)/a-amd64.meta.textproto"]).output
    }
    try await add(["a-amd64-9-9": "", "a-i686-9-99": ""], to: store)
    #expect(try await link() == "a-amd64-9-9.meta.textproto\n")
    try await add(["a-amd64-1-10": ""], to: store)
    #expect(try await link() == "a-amd64-1-10.meta.textproto\n")
    try await add(["a-amd64-99-2": ""], to: store)
    #expect(try await link() == "a-amd64-1-10.meta.textproto\n")
    #expect(try store.resolve("a-amd64").description == "a-amd64-1-10")
    #expect(try store.resolve("a-amd64-9-9.squashfs").description == "a-amd64-9-9")
    #expect(throws: StoreError.notFound("b")) { try store.resolve("b") }
    #expect(throws: StoreError.notFound("a-amd64-1-11")) { try store.resolve("a-amd64-1-11") }
    #expect(throws: StoreError.self) { try store.resolve("../a") }

    try await store.remove([try PackageID(parsing: "a-amd64-1-10")])
    #expect(try await link() == "a-amd64-9-9.meta.textproto\n")
    try await store.remove(try store.packages().filter { $0.architecture == .amd64 })
    #expect(
      try names(in: store.path) == [
        ".index", ".index/a-i686-9-99.index", ".staging", ".staging/lock", "a-i686-9-99.meta.textproto", "a-i686-9-99.squashfs",
        "a-i686.meta.textproto",
      ])
    await #expect(throws: StoreError.notFound("a-amd64-9-9")) { try await store.remove([PackageID(parsing: "a-amd64-9-9")]) }
  }

  @Test func `metadata appears before any image, and an image goes before its metadata`() async throws {
    let folder = try TemporaryDirectory()
    let store = try LocalStore(path: folder.path)
    // Directories in the way of the second step stop a commit and a removal there.
    try await shell("mkdir a-amd64-1-1.squashfs", in: folder.path)
    await #expect(throws: StoreError.self) { try await add(["a-amd64-1-1": "a", "b-amd64-1-1": "b"], to: store) }
    let stopped = try names(in: store.path)
    #expect(stopped.contains("a-amd64-1-1.meta.textproto") && stopped.contains("b-amd64-1-1.meta.textproto"))
    #expect(!stopped.contains("b-amd64-1-1.squashfs") && !stopped.contains("b-amd64.meta.textproto"))
    // The commit was decided: the next writer completes it.
    try await shell("rmdir a-amd64-1-1.squashfs", in: folder.path)
    try await store.recover()
    #expect(try store.packages().map(\.description) == ["a-amd64-1-1", "b-amd64-1-1"])

    try await shell("rm a-amd64-1-1.meta.textproto && mkdir a-amd64-1-1.meta.textproto", in: folder.path)
    await #expect(throws: StoreError.self) { try await store.remove([try PackageID(parsing: "a-amd64-1-1")]) }
    #expect(try store.packages().map(\.description) == ["b-amd64-1-1"])
    try await shell("rmdir a-amd64-1-1.meta.textproto", in: folder.path)
    try await store.recover()
    #expect(try store.defects().isEmpty)
    #expect(try names(in: store.path.appending(".staging")) == ["lock"])
  }

  @Test func `foreign and broken files are reported and skipped`() async throws {
    let folder = try TemporaryDirectory()
    let store = try LocalStore(path: folder.path)
    try await add(["a-amd64-1-1": "a"], to: store)
    try await shell(
      """
      : > lonely-amd64-1-1.squashfs; : > orphan-amd64-1-1.meta.textproto; : > nonsense.squashfs; : > README; mkdir -p debug .index
      : > a-amd64-1-1.squashfs.gz; : > x-amd64-1-1.squashfs.squashfs; : > $'\\xff-amd64-1-1.squashfs'; echo '}' > a-amd64-1-1.meta.textproto
      """, in: folder.path)
    #expect(try store.packages().map(\.description) == ["a-amd64-1-1"])
    let defects = try store.defects()
    #expect(defects.contains(.imageWithoutMetadata(try PackageID(parsing: "lonely-amd64-1-1"))))
    #expect(defects.contains(.metadataWithoutImage(try PackageID(parsing: "orphan-amd64-1-1"))))
    #expect(defects.contains(.unknownFile("nonsense.squashfs")))
    #expect(defects.count == 5)
    #expect(throws: StoreError.self) { try store.metadata(of: try PackageID(parsing: "a-amd64-1-1")) }
    #expect(throws: StoreError.notFound("c-amd64-1-1")) { try store.metadata(of: try PackageID(parsing: "c-amd64-1-1")) }
    // What was never visible may be completed.
    try await add(["lonely-amd64-1-1": "whole"], to: store)
    #expect(try store.contains(try PackageID(parsing: "lonely-amd64-1-1")))
  }

  @Test func `debug and source packages need no metadata`() async throws {
    let folder = try TemporaryDirectory()
    let package = try PackageID(parsing: "a-amd64-1-1")
    for section in [LocalStore.Section.debug, .sources] {
      let store = try LocalStore(path: folder.path, section: section)
      #expect(try store.packages().isEmpty)
      try await store.transaction { area in
        var tree = SampleTree([1])
        try area.stage(&tree, of: package)
      }
      #expect(try store.packages() == [package])
      #expect(try store.metadata(of: package).version == "1-1")
      #expect(store.path == folder.path.appending(section == .debug ? "debug" : "src"))
      try await store.remove([package])
      #expect(try store.packages().isEmpty)
    }
    #expect(try LocalStore(path: folder.path).packages().isEmpty)
  }

  @Test func `an image that is in use is opened once`() async throws {
    let folder = try TemporaryDirectory()
    let store = try LocalStore(path: folder.path)
    let package = try PackageID(parsing: "a-amd64-1-1")
    try await add(["a-amd64-1-1": "one"], to: store)
    let first = try store.image(of: package)
    #expect(try store.image(of: package) === first)
    // Removed and added again under the same name: the new file, while the old one can still be read.
    try await store.remove([package])
    #expect(throws: StoreError.notFound("a-amd64-1-1")) { try store.image(of: package) }
    try await add(["a-amd64-1-1": "two"], to: store)
    let second = try store.image(of: package)
    #expect(second !== first)
    #expect(try SampleTree.contents(of: first) == Array("one".utf8))
    #expect(try SampleTree.contents(of: second) == Array("two".utf8))
  }

  @Test func `a store that another process writes to says who it is`() async throws {
    let folder = try TemporaryDirectory()
    let store = try LocalStore(path: folder.path)
    try await add(["a-amd64-1-1": "a"], to: store)
    let lock = try FileDescriptor.open(folder.path.appending(".staging/lock"), .readWrite)
    defer { try? lock.close() }
    #expect(flock(lock.rawValue, LOCK_EX | LOCK_NB) == 0)
    _ = try lock.writeAll(Array("4711\n".utf8))
    try lock.resize(to: 5)
    let impatient = try LocalStore(path: folder.path, patience: .zero)
    await #expect(throws: StoreError.locked(store.path, holder: 4711)) { try await add(["b-amd64-1-1": "b"], to: impatient) }
    // With patience it waits until the other is done.
    async let waiting: Void = add(["b-amd64-1-1": "b"], to: store)
    #expect(flock(lock.rawValue, LOCK_UN) == 0)
    try await waiting
    #expect(try store.packages().count == 2)
  }

  @Test func `a missing store cannot be listed, and a file is none`() throws {
    let folder = try TemporaryDirectory()
    let absent = try LocalStore(path: folder.path.appending("absent"))
    #expect(throws: StoreError.self) { try absent.packages() }
    try write([], to: folder.path.appending("file"))
    #expect(throws: StoreError.self) { try LocalStore(path: folder.path.appending("file")) }
  }
}
