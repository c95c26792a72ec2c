// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore
import Foundation
import SystemPackage
import TestSupport
import Testing

@testable import DistriBuild

@Suite struct ImportLockTests {
  private func whole() throws -> DebianFixture {
    let fixture = try DebianFixture()
    try fixture.packageLibC()
    try fixture.packageLibrary()
    try fixture.packageTool()
    try fixture.publish()
    return fixture
  }

  @Test func `a change gives a package and all that need it the next revision, the others keep theirs`() async throws {
    let fixture = try whole()
    let first = try await fixture.importer(lock: .init(), updatesLock: true).run(["tool"])
    #expect(first.packages.map(\.revision) == [1, 1, 1])
    let again = try await fixture.importer(lock: first.lock, updatesLock: true).run(["tool"])
    #expect(again.lock == first.lock && again.made.isEmpty)

    try fixture.packageLibrary("1:1.0-3", answer: 43)
    try fixture.publish()
    let second = try await fixture.importer(lock: first.lock, updatesLock: true).run(["tool"])
    #expect(
      second.packages.map(\.description) == ["libanswer1-amd64-1.0-3-2", "libc6-amd64-2.36-9-1", "tool-amd64-3.4~rc1+b1-1-2"])
    #expect(second.made.map(\.name) == ["libanswer1", "tool"])
    #expect(try fixture.store.packages().count == 5)
    #expect(second.lock.entries["libc6"] == first.lock.entries["libc6"])
  }

  @Test func `a lock is taken by the byte, and what the archive has meanwhile does not matter while the debs are here`()
    async throws
  {
    let fixture = try whole()
    let first = try await fixture.importer(lock: .init(), updatesLock: true).run(["tool"])
    try fixture.packageLibrary("1:1.0-3", answer: 43)
    try fixture.publish()
    let locked = try await fixture.importer(lock: first.lock, store: "second").run(["tool"])
    #expect(locked.packages == first.packages && locked.lock == first.lock)
    for package in first.packages {
      let file = package.metadataFileName
      #expect(FileManager.default.contentsEqual(atPath: fixture.path("store/\(file)"), andPath: fixture.path("second/\(file)")))
    }
    #expect(
      FileManager.default.contentsEqual(
        atPath: fixture.path("store/\(first.packages[0]).squashfs"), andPath: fixture.path("second/\(first.packages[0]).squashfs")))
  }

  @Test func `a lock that the archive has outrun says what to do`() async throws {
    let fixture = try whole()
    let first = try await fixture.importer(lock: .init(), updatesLock: true).run(["tool"])
    try fixture.packageLibrary("1:1.0-3", answer: 43)
    try fixture.publish()
    try FileManager.default.removeItem(atPath: fixture.path("debs"))
    let error = await #expect(throws: BuildError.self) {
      try await fixture.importer(lock: first.lock, store: "second").run(["tool"])
    }
    #expect("\(try #require(error))".contains("--update-lock"))
  }

  @Test func `a deb that changed under its version is refused`() async throws {
    let fixture = try whole()
    let first = try await fixture.importer(lock: .init(), updatesLock: true).run(["tool"])
    try FileManager.default.removeItem(atPath: fixture.path("debs"))
    try fixture.packageLibrary(answer: 44)
    try fixture.publish()
    let error = await #expect(throws: BuildError.self) {
      try await fixture.importer(lock: first.lock, store: "second").run(["tool"])
    }
    #expect("\(try #require(error))".contains("SHA-256"))
    // A deb that was damaged on the disk is fetched anew.
    let updated = try await fixture.importer(lock: .init(), updatesLock: true, store: "third").run(["tool"])
    #expect(updated.made.count == 3)
    let deb = fixture.path("debs/libc6_2.36-9_amd64.deb")
    try Data("damaged".utf8).write(to: URL(filePath: deb))
    #expect(try await fixture.importer(store: "fourth").run(["tool"]).made.count == 3)
  }

  @Test func `a definition that changes changes the revision`() async throws {
    let fixture = try whole()
    let first = try await fixture.importer(lock: .init(), updatesLock: true).run(["tool"])
    let definition = #"package { name: "tool" debian: "tool" delete: "out/share/*" }"#
    let second = try await fixture.importer(definition, lock: first.lock, updatesLock: true).run(["tool"])
    #expect(second.packages.map(\.revision) == [1, 1, 2])
    // Without leave to update, another content than the lock's is refused.
    await #expect(throws: BuildError.self) { try await fixture.importer(definition, lock: first.lock, store: "s").run(["tool"]) }
    await #expect(throws: BuildError.self) { try await fixture.importer(lock: first.lock, store: "s").run(["libc6", "other"]) }
  }

  private static let digest = String(repeating: "a", count: 64)
  private static let text = """
    # What was made of which Debian packages. Written by distri-build import --update-lock.

    package nano-amd64-7.2-1+deb12u1-4
    digest abc
    needs glibc ncurses
    deb nano 7.2-1+deb12u1 amd64 \(digest)

    """

  @Test func `a lock reads back what it wrote`() throws {
    let lock = try ImportLock(bytes: Array(Self.text.utf8), path: "x.lock")
    #expect(lock.text == Self.text)
    #expect(lock.entries["nano"]?.package.revision == 4 && lock.entries["nano"]?.needs == ["glibc", "ncurses"])
    #expect(try ImportLock(path: "/no/such/lock").entries.isEmpty)
  }

  @Test(arguments: [
    ("deb a 1 amd64 \(digest)\n", 1), ("package nano\n", 1), ("package a-amd64-1\n", 1), ("package a-amd64-1-1\nfoo\n", 2),
    ("package a-amd64-1-1\ndigest x\ndeb a 1 amd64 short\n", 3), ("package a-amd64-1-1\ndigest x\ndeb ../a 1 amd64 \(digest)\n", 3),
    (text + text, 14),
  ])
  func `a damaged lock is an error with its line`(_ text: String, _ line: Int) {
    #expect {
      try ImportLock(bytes: Array(text.utf8), path: "x.lock")
    } throws: { error in
      guard case .invalidDefinition("x.lock", let found, 1, _) = error as? BuildError else { return false }
      return found == line || found == 1
    }
  }
}
