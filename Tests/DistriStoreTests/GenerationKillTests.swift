// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore
import Foundation
import SystemPackage
import TestSupport
import Testing

/// A folder in memory: what a kill leaves does not depend on the disk, and far more happens in the same time.
struct MemoryDirectory: ~Copyable {
  let path: FilePath

  init() throws {
    let base = FileManager.default.isWritableFile(atPath: "/dev/shm") ? "/dev/shm" : NSTemporaryDirectory()
    path = FilePath(base).appending("distri-test-\(UUID().uuidString)")
    try FileManager.default.createDirectory(atPath: path.string, withIntermediateDirectories: true)
  }

  deinit { try? FileManager.default.removeItem(atPath: path.string) }
}

/// Many processes that install, remove, roll back and collect in one store, and are killed.
@Suite struct GenerationKillTests {
  /// What holds at every moment, for whoever looks without a lock: a generation that is there after the store was listed has all of its packages.
  private func check(_ store: LocalStore) throws {
    for number in try store.generations.numbers() {
      let found = try? store.generations.generation(number)
      let present = Set(try store.packages())
      guard try store.generations.numbers().contains(number) else { continue }
      let generation = try #require(found, "generation \(number) cannot be read")
      let missing = generation.selection.packages.filter { !present.contains($0) }
      #expect(missing.isEmpty, "generation \(number) lost \(missing)")
    }
    // The first one has its file before it is current.
    if try store.generations.numbers().count > 1 { #expect(try store.generations.current() != nil) }
  }

  private func checkAtRest(_ store: LocalStore) async throws {
    try await store.recover()
    #expect(try Verifier(store).findings() == [])
    for package in try store.packages() {
      try Verifier(store).verify(package)
      #expect(try SampleTree.contents(of: try store.image(of: package)) == SampleTree.contents(of: package))
    }
    #expect(try names(in: store.path.appending(".staging")) == ["lock"])
  }

  @Test(.timeLimit(.minutes(3)), arguments: [1, 2] as [UInt64])
  func `whatever is killed when, the store is whole`(seed: UInt64) async throws {
    let folder = try MemoryDirectory()
    let store = try LocalStore(path: folder.path, patience: .seconds(300))
    try await add([:], to: store)
    var random = seed
    func next(_ limit: UInt64) -> UInt64 {
      random = random &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      return (random >> 33) % limit
    }
    let end = ContinuousClock.now + .seconds(15)
    var rounds = 0
    while ContinuousClock.now < end {
      rounds += 1
      var a = try Worker(["generations", store.path.string, "\(next(1 << 30))", "1000"])
      var b = try Worker(["generations", store.path.string, "\(next(1 << 30))", "1000"])
      var c = try Worker(["generations", store.path.string, "\(next(1 << 30))", "1000"])
      // Not to wait for something: the moments of the kills are to be any.
      for victim in 0..<3 {
        try await Task.sleep(for: .milliseconds(next(400)))
        try check(store)
        let wasAlive: Bool
        switch victim {
        case 0: wasAlive = a.kill()
        case 1: wasAlive = b.kill()
        default: wasAlive = c.kill()
        }
        #expect(wasAlive, "a worker ended by itself")
        try check(store)
      }
      if rounds % 4 == 0 { try await checkAtRest(store) }
    }
    try await checkAtRest(store)
    // It was not for nothing.
    let number = try #require(try store.generations.numbers().last)
    #expect(number >= 20 && rounds >= 5, "\(number) generations in \(rounds) rounds")
  }

  @Test(.timeLimit(.minutes(2))) func `processes that end by themselves do not disturb one another`() async throws {
    let folder = try MemoryDirectory()
    let store = try LocalStore(path: folder.path, patience: .seconds(300))
    try await add([:], to: store)
    var a = try Worker(["generations", store.path.string, "1", "60"])
    var b = try Worker(["generations", store.path.string, "2", "60"])
    var c = try Worker(["generations", store.path.string, "3", "60"])
    var isRunning = true
    while isRunning {
      try check(store)
      // Each is asked, so that it is known how each ended.
      let running = [a.isRunning(), b.isRunning(), c.isRunning()]
      isRunning = running.contains(true)
    }
    let statuses = [a.status, b.status, c.status]
    #expect(statuses == [0, 0, 0])
    try await checkAtRest(store)
  }
}
