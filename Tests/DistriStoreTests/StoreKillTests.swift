// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore
import Glibc
import SystemPackage
import TestSupport
import Testing

/// A store-worker that was started; ended with the value at the latest.
struct Worker: ~Copyable {
  private let process: pid_t
  private(set) var status: Int32?

  init(_ arguments: [String]) throws {
    let program = ToolProcess.binaries.appending("store-worker").string
    var texts = ([program] + arguments).map { strdup($0) } + [nil]
    defer { texts.forEach { free($0) } }
    var process: pid_t = 0
    let result = posix_spawn(&process, program, nil, nil, &texts, environ)
    guard result == 0 else { throw Errno(rawValue: result) }
    self.process = process
  }

  /// SIGKILL; whether it was alive until then.
  mutating func kill() -> Bool {
    Glibc.kill(process, SIGKILL)
    wait()
    return status.map { $0 & 0x7f == SIGKILL } == true
  }

  /// Whether it has not ended yet.
  mutating func isRunning() -> Bool {
    var status: Int32 = 0
    if self.status == nil, waitpid(process, &status, WNOHANG) == process { self.status = status }
    return self.status == nil
  }

  mutating func wait() {
    var status: Int32 = 0
    if self.status == nil, waitpid(process, &status, 0) == process { self.status = status }
  }

  deinit {
    guard status == nil else { return }
    Glibc.kill(process, SIGKILL)
    var status: Int32 = 0
    waitpid(process, &status, 0)
  }
}

@Suite struct StoreKillTests {
  /// Every package that can be seen has both files, and both are whole.
  private func checkPackages(of store: LocalStore) throws -> [PackageID] {
    let packages = try store.packages()
    for package in packages where package.name != "live" {
      let contents = try SampleTree.contents(of: try store.image(of: package))
      #expect(contents == SampleTree.contents(of: package), "\(package)")
      #expect(try store.metadata(of: package).summary == "\(contents.count)")
    }
    return packages
  }

  /// What a store looks like when the next writer has recovered it; returns the newest revision.
  private func checkRecovered(_ store: LocalStore, live: String) throws -> UInt64 {
    let packages = try checkPackages(of: store)
    #expect(try store.defects().isEmpty)
    // A transaction's three packages appear together. Only old revisions are ever removed.
    let newest = packages.map(\.revision).max() ?? 0
    #expect(packages.filter { $0.revision == newest }.count % 3 == 0)
    let links = try TreeSnapshot(directory: store.path)
    for name in Set(packages.map(\.name)) {
      guard let last = packages.filter({ $0.name == name }).newest() else { continue }
      #expect(links["\(name)-amd64.meta.textproto"]?.entry.kind == .symbolicLink(target: Array(last.metadataFileName.utf8)))
    }
    #expect(try names(in: store.path.appending(".staging")).filter { !$0.hasPrefix(live) } == ["lock"])
    return newest
  }

  @Test(.timeLimit(.minutes(5))) func `a writer that is killed at any moment leaves whole packages only`() async throws {
    let folder = try TemporaryDirectory()
    let store = try LocalStore(path: folder.path)
    let live = try PackageID(parsing: "live-amd64-1-1")
    var (kills, abandoned, newest) = (0, 0, UInt64(0))
    try await store.transaction { area in
      try stage("live", of: live, in: area)
      let image = try bytes(of: area.imagePath(of: live))
      let own = try #require(area.directory.lastComponent).string
      // At least so many; more on a busy machine, where most kills come before the worker has done anything.
      while kills < 120 || abandoned < 10 || newest <= 10 {
        kills += 1
        var worker = try Worker(["write", store.path.string, "k"])
        // Not to wait for something: the moment of the kill is to be any.
        try await Task.sleep(for: .microseconds(Int.random(in: 0...80_000)))
        let wasAlive = worker.kill()
        #expect(wasAlive)
        let left = try names(in: store.path.appending(".staging")).filter {
          !$0.hasPrefix(own) && !$0.contains("/") && $0 != "lock"
        }
        abandoned += left.count
        #expect(try store.defects().allSatisfy { if case .metadataWithoutImage = $0 { true } else { false } })
        _ = try checkPackages(of: store)
        try await store.recover()
        newest = try checkRecovered(store, live: own)
        #expect(try bytes(of: area.imagePath(of: live)) == image)
      }
    }
    #expect(try store.contains(live))
  }

  @Test(.timeLimit(.minutes(2))) func `writers in several processes do not disturb one another, nor a reader`() async throws {
    let folder = try TemporaryDirectory()
    let store = try LocalStore(path: folder.path)
    try await add([:], to: store)
    var a = try Worker(["write", store.path.string, "a", "20"])
    var b = try Worker(["write", store.path.string, "b", "20"])
    var endless = try Worker(["write", store.path.string, "r"])
    var rounds = 0
    while a.isRunning() || b.isRunning() {
      rounds += 1
      for package in try store.packages() {
        do {
          let contents = try SampleTree.contents(of: try store.image(of: package))
          #expect(contents == SampleTree.contents(of: package), "\(package)")
          #expect(try store.metadata(of: package).summary == "\(contents.count)")
        } catch {
          // Only what is removed meanwhile may be missing, and only because it is removed.
          let isGone = try !store.packages().contains(package)
          #expect(package.name.hasPrefix("r") && isGone, "\(package): \(error)")
        }
      }
      #expect(try store.defects().allSatisfy { if case .imageWithoutMetadata = $0 { false } else { true } })
    }
    let wasAlive = endless.kill()
    let statuses = [a.status, b.status]
    #expect(wasAlive && statuses == [0, 0])
    #expect(rounds > 0)
    let packages = try store.packages()
    #expect(packages.filter { $0.name.hasPrefix("a") }.count == 60)
    #expect(packages.filter { $0.name.hasPrefix("b") }.count == 60)
  }

  @Test func `tasks of one process can fill areas at the same time`() async throws {
    let folder = try TemporaryDirectory()
    // Other tests keep the disk busy with fsync.
    let store = try LocalStore(path: folder.path, patience: .seconds(600))
    try await withThrowingTaskGroup(of: Void.self) { group in
      for index in 0..<16 { group.addTask { try await add(["p\(index)-amd64-1-1": "\(index)"], to: store) } }
      try await group.waitForAll()
    }
    #expect(try store.packages().count == 16)
    #expect(try names(in: store.path.appending(".staging")) == ["lock"])
  }

  @Test func `the next writer finishes what was decided and clears the rest`() async throws {
    let folder = try TemporaryDirectory()
    let store = try LocalStore(path: folder.path)
    try await add(["a-amd64-1-1": "a", "b-amd64-1-1": "b", "b-amd64-1-2": "b"], to: store)
    try await shell(
      """
      mkdir -p 7-1.commit 7-2.remove 7-3/deep/er 7-4
      cp ../a-amd64-1-1.squashfs 7-1.commit/a-amd64-1-2.squashfs
      echo 'version: "1-2"' > ../a-amd64-1-2.meta.textproto
      mv ../b-amd64-1-2.squashfs 7-2.remove/
      : > 7-3/c-amd64-1-1.squashfs; : > 7-3/deep/er/file; : > stray
      : > 7-4/c-amd64-1-1.squashfs
      """, in: store.path.appending(".staging"))
    let alive = try FileDescriptor.open(store.path.appending(".staging/7-4"), .readOnly, options: [.directory, .closeOnExec])
    #expect(flock(alive.rawValue, LOCK_EX | LOCK_NB) == 0)
    #expect(
      try store.defects() == [
        .metadataWithoutImage(try PackageID(parsing: "a-amd64-1-2")), .metadataWithoutImage(try PackageID(parsing: "b-amd64-1-2")),
      ])
    try await add([:], to: store)
    #expect(try store.packages().map(\.description) == ["a-amd64-1-1", "a-amd64-1-2", "b-amd64-1-1"])
    #expect(try store.defects().isEmpty)
    let snapshot = try TreeSnapshot(directory: store.path)
    #expect(snapshot["a-amd64.meta.textproto"]?.entry.kind == .symbolicLink(target: Array("a-amd64-1-2.meta.textproto".utf8)))
    #expect(snapshot["b-amd64.meta.textproto"]?.entry.kind == .symbolicLink(target: Array("b-amd64-1-1.meta.textproto".utf8)))
    #expect(try names(in: store.path.appending(".staging")) == ["7-4", "7-4/c-amd64-1-1.squashfs", "lock"])
    // Not by closing alone: a child that another test is about to start may have the descriptor, too.
    #expect(flock(alive.rawValue, LOCK_UN) == 0)
    try alive.close()
    try await store.recover()
    #expect(try names(in: store.path.appending(".staging")) == ["lock"])
  }

  @Test func `what a killed writer had decided comes before what is decided later`() async throws {
    let folder = try TemporaryDirectory()
    let store = try LocalStore(path: folder.path)
    let package = try PackageID(parsing: "a-amd64-1-1")
    let other = try TemporaryDirectory()
    try await add(["a-amd64-1-1": "first"], to: try LocalStore(path: other.path))
    await #expect(throws: StoreError.immutable(package, in: store.path)) {
      try await store.transaction { area in
        try stage("second", of: package, in: area)
        // While we stage, another writer decides, and dies.
        try await shell("mkdir .staging/7-1.commit && cp \(other.path)/a-amd64-1-1.* .staging/7-1.commit/", in: store.path)
      }
    }
    #expect(try SampleTree.contents(of: try store.image(of: package)) == Array("first".utf8))
  }
}
