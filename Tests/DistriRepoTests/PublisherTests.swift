// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriRepo
import DistriStore
import Foundation
import SystemPackage
import TestSupport
import Testing

@Suite struct PublisherTests {
  private func index(_ repository: FilePath) throws -> RepositoryIndex {
    try RepositoryIndex(serialized: try contents(of: repository.appending("pkg/meta.binaryproto")), subject: "index")
  }

  @Test func `a repository has the original's layout and tells what it holds`() async throws {
    let scene = try await Scene([
      try PackageFixture(
        "a-amd64-2.0-9", files: ["out/lib/gio/x.so": [1], "out/lib/link@": Array("nowhere".utf8), "out/secret": [1]]),
      try PackageFixture("a-amd64-1.0-10"),
    ])
    #expect(
      try names(in: scene.repository.appending("pkg")) == [
        "a-amd64-1.0-10.meta.textproto", "a-amd64-1.0-10.squashfs", "a-amd64-1.0-10.squashfs.tree", "a-amd64-2.0-9.meta.textproto",
        "a-amd64-2.0-9.squashfs", "a-amd64-2.0-9.squashfs.tree", "a-amd64.meta.textproto", "meta.binaryproto",
      ])
    let link = scene.repository.appending("pkg/a-amd64.meta.textproto").string
    #expect(try FileManager.default.destinationOfSymbolicLink(atPath: link) == "a-amd64-1.0-10.meta.textproto")
    let entry = try #require(try index(scene.repository).packages.first)
    #expect(entry.id.description == "a-amd64-2.0-9")
    #expect(
      entry.wellKnownPaths == ["bin/a", "out/lib/gio/x.so", "out/lib/liba.so.1", "out/lib/link", "out/share/doc/a/README"])
    let image = scene.store.path.appending("a-amd64-2.0-9.squashfs")
    let sum = String(decoding: try run("sha256sum", [image.string]).prefix(64), as: UTF8.self)
    #expect(try bytes(ofHexadecimal: sum.utf8) == entry.image?.sha256)
    #expect(entry.image?.byteCount == UInt64(try contents(of: image).count))
  }

  @Test func `the same store gives the same bytes`() async throws {
    let scene = try await Scene(try smallSet())
    let first = try contents(of: scene.repository.appending("pkg/meta.binaryproto"))
    let again = try await Publisher(store: scene.store.path, output: scene.repository).publish()
    #expect(again.first?.newPackages == [])
    #expect(try contents(of: scene.repository.appending("pkg/meta.binaryproto")) == first)
    let other = scene.directory.path.appending("other")
    _ = try await Publisher(store: scene.store.path, output: other, maximumTasks: 1).publish()
    #expect(try contents(of: other.appending("pkg/meta.binaryproto")) == first)
    let linked = try run("stat", ["-c", "%h", scene.store.path.appending("nano-amd64-7.2-2.squashfs").string])
    #expect(String(decoding: linked, as: UTF8.self) == "3\n")
  }

  @Test func `what was added is published, what changed is hashed again`() async throws {
    let scene = try await Scene([try PackageFixture("a-amd64-1-1")])
    let before = try index(scene.repository)
    _ = try await LocalStore.make(at: scene.store.path, [try PackageFixture("b-amd64-1-1")])
    let metadata = scene.store.path.appending("a-amd64-1-1.meta.textproto")
    try FileManager.default.removeItem(atPath: metadata.string)
    try write(Array("version: \"1-1\"\nsummary: \"new\"\n".utf8), to: metadata)
    let report = try await Publisher(store: scene.store.path, output: scene.repository).publish()
    #expect(report.first?.newPackages.map(\.description) == ["b-amd64-1-1"])
    let after = try index(scene.repository)
    #expect(after.packages.map(\.id.name) == ["a", "b"])
    #expect(after.packages[0].image == before.packages[0].image)
    #expect(after.packages[0].metadata != before.packages[0].metadata)
    let repository = try await Repository(at: scene.repository.string, transport: FileTransport(), options: .unsigned)
    #expect(try await repository.metadata(of: after.packages[0].id).summary == "new")
  }

  @Test func `each image has its tree, which is made once, and again when it is lost or the image is another one`() async throws {
    let scene = try await Scene([try PackageFixture("a-amd64-1-1", byteCount: 300_000), try PackageFixture("b-amd64-1-1")])
    let path = scene.repository.appending("pkg/a-amd64-1-1.squashfs")
    let file = FilePath(path.string + ".tree")
    func publish() async throws -> RepositoryIndex.Package {
      _ = try await Publisher(store: scene.store.path, output: scene.repository).publish()
      return try #require(try index(scene.repository).packages.first)
    }
    func isRight(_ entry: RepositoryIndex.Package) throws -> Bool {
      let image = try contents(of: path)
      let tree = try BlockTree(
        try contents(of: file), byteCount: UInt64(image.count), root: try #require(entry.treeRoot), file: file.string)
      return stride(from: 0, to: image.count, by: 65_536).allSatisfy { tree.proves(image[$0...].prefix(65_536), of: $0 / 65_536) }
    }
    let first = try #require(try index(scene.repository).packages.first)
    #expect(try isRight(first))
    #expect(first.imageTime == 1_700_000_000)
    let inode = try run("stat", ["-c", "%i", file.string])
    #expect(try await publish() == first)
    #expect(try run("stat", ["-c", "%i", file.string]) == inode)
    for damage in [nil, Array("".utf8)] {
      try FileManager.default.removeItem(atPath: file.string)
      if let damage { try write(damage, to: file) }
      #expect(try await publish() == first)
      #expect(try isRight(first))
    }
    // A repository that was published before there were trees.
    var old = try index(scene.repository)
    for number in old.packages.indices { (old.packages[number].treeRoot, old.packages[number].imageTime) = (nil, nil) }
    try write(try old.serialized(), to: scene.repository.appending("pkg/meta.binaryproto"))
    try FileManager.default.removeItem(atPath: file.string)
    #expect(try await publish() == first)
    #expect(try isRight(first))
  }

  @Test func `another file system gets copies, once`() async throws {
    let scene = try await Scene([try PackageFixture("a-amd64-1-1", byteCount: 3_000_000)])
    // A tmpfs; the temporary directory's file system would only be linked to.
    let other = FilePath("/dev/shm/distri-test-\(UUID().uuidString)")
    defer { try? FileManager.default.removeItem(atPath: other.string) }
    let reports = try await Publisher(store: scene.store.path, output: other).publish()
    #expect(reports.first?.newPackages.count == 1)
    let image = other.appending("pkg/a-amd64-1-1.squashfs")
    #expect(try contents(of: image) == (try contents(of: scene.store.path.appending("a-amd64-1-1.squashfs"))))
    let inode = try run("stat", ["-c", "%i", image.string])
    _ = try await Publisher(store: scene.store.path, output: other).publish()
    #expect(try run("stat", ["-c", "%i", image.string]) == inode)
  }

  @Test func `leftovers of a killed publisher go, and a second publisher at the same time is refused`() async throws {
    let scene = try await Scene([try PackageFixture("a-amd64-1-1")])
    let section = scene.repository.appending("pkg")
    try write([1], to: section.appending(".publishing-meta.binaryproto"))
    _ = try await Publisher(store: scene.store.path, output: scene.repository).publish()
    #expect(try names(in: section).contains { $0.hasPrefix(".") } == false)
    let holder = try FileDescriptor.open(section, .readOnly)
    defer { try? holder.close() }
    #expect(flock(holder.rawValue, LOCK_EX | LOCK_NB) == 0)
    let error = try await failure(StoreError.self) {
      try await Publisher(store: scene.store.path, output: scene.repository).publish()
    }
    #expect(error == .locked(section, holder: nil))
  }

  @Test func `a reader sees whole repositories while one is published again and again`() async throws {
    let scene = try await Scene([try PackageFixture("p-amd64-0-1")])
    let (store, root) = (scene.store, scene.repository)
    let reader = Task {
      var seen: [Int] = []
      while seen.last != 12 {
        let repository = try await Repository(at: root.string, transport: FileTransport(), options: .unsigned)
        for package in repository.packages() {
          let directory = try TemporaryDirectory()
          let files = StagedFiles(image: directory.path.appending("i"), metadata: directory.path.appending("m"))
          try await repository.fetch(package, to: files)
        }
        seen.append(repository.packages().count)
      }
      return seen
    }
    for number in 2...12 {
      _ = try await LocalStore.make(at: store.path, [try PackageFixture("p-amd64-0-\(number)")])
      _ = try await Publisher(store: store.path, output: root).publish()
    }
    let seen = try await reader.value
    #expect(seen == seen.sorted())
  }

  @Test func `a damaged image is not published`() async throws {
    let scene = try await Scene([try PackageFixture("a-amd64-1-1"), try PackageFixture("b-amd64-1-1")])
    let before = try contents(of: scene.repository.appending("pkg/meta.binaryproto"))
    let image = scene.store.path.appending("c-amd64-1-1.squashfs")
    try write(noise(9000), to: image)
    try write([], to: scene.store.path.appending("c-amd64-1-1.meta.textproto"))
    let error = try await failure(StoreError.self) {
      try await Publisher(store: scene.store.path, output: scene.repository).publish()
    }
    guard case .damagedImage = error else { throw error }
    #expect(try contents(of: scene.repository.appending("pkg/meta.binaryproto")) == before)
  }
}
