// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import Foundation
import SystemPackage
import TestSupport
import Testing

@testable import DistriStore

@Suite struct PartialFilesTests {
  private let digest: [UInt8] = (0..<32).map { $0 }

  private func fill(_ file: PartialFile, _ count: Int) throws {
    _ = try file.descriptor.writeAll(toAbsoluteOffset: 0, Array(repeating: 7, count: count))
  }

  @Test func `one writer at a time goes on with what is there`() throws {
    let folder = try TemporaryDirectory()
    let partials = PartialFiles(staging: folder.path)
    do {
      let file = try #require(try partials.open(digest, byteCount: 100))
      #expect(file.byteCount == 0)
      #expect(try partials.open(digest, byteCount: 100) == nil)
      partials.remove(digest)
      try fill(file, 60)
    }
    #expect(try partials.open(digest, byteCount: 100)?.byteCount == 60)
    // What is longer than it can become is of no use.
    #expect(try partials.open(digest, byteCount: 59)?.byteCount == 0)
    partials.remove(digest)
    #expect(try names(in: folder.path.appending("partial")) == [])
  }

  @Test func `what has another name is never written to`() throws {
    let folder = try TemporaryDirectory()
    let partials = PartialFiles(staging: folder.path)
    let other = folder.path.appending("other")
    do {
      let file = try #require(try partials.open(digest, byteCount: 100))
      try fill(file, 60)
      try file.give(other)
    }
    let again = try #require(try partials.open(digest, byteCount: 100))
    #expect(again.byteCount == 0)
    try fill(again, 10)
    #expect(try Data(contentsOf: URL(fileURLWithPath: other.string)).count == 60)
  }

  @Test func `what is old, or too much, goes, but nothing that somebody fills`() throws {
    let folder = try TemporaryDirectory()
    let partials = PartialFiles(staging: folder.path)
    let now: Int64 = 2_000_000_000
    func add(_ number: UInt8, age: Int64, byteCount: Int64) throws -> PartialFile {
      let file = try #require(try partials.open([number], byteCount: 1000))
      try file.descriptor.resize(to: byteCount)
      try DirectoryHandle(opening: folder.path.appending("partial"))
        .setModificationTime(of: EntryName([number].hexadecimal), to: now - age)
      return file
    }
    let filling = try add(1, age: PartialFiles.maximumAge + 1, byteCount: 1)
    for (number, age) in [(2, PartialFiles.maximumAge + 1), (3, 300), (4, 200), (5, 100)] as [(UInt8, Int64)] {
      _ = try add(number, age: age, byteCount: 1000)
    }
    try partials.prune(now: now, limit: 2500)
    #expect(try names(in: folder.path.appending("partial")) == ["01", "04", "05"])
    withExtendedLifetime(filling) {}
  }

  @Test func `transactions leave them alone, and the collector removes them`() async throws {
    let folder = try TemporaryDirectory()
    let store = try LocalStore(path: folder.path.appending("roimg"))
    try await store.transaction(making: wanting("a", time: 100)) { area in
      try stage("a-amd64-1-1", in: area)
      try fill(try #require(try area.partials.open(digest, byteCount: 100)), 60)
    }
    try await store.recover()
    let place = store.path.appending(".staging/partial")
    #expect(try names(in: place) == [digest.hexadecimal])
    _ = try await Collector(store, keeping: .init(count: 1)) { _ in PackageUsers(packages: []) }.collect()
    #expect(try names(in: place) == [])
  }
}
