// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import Foundation
import SystemPackage
import TestSupport
import Testing

@testable import DistriStore

@Suite struct CollectorTests {
  /// A store in which `a` was installed in so many versions, each of which needs a `c` of its own.
  private func makeStore(_ path: FilePath, versions: Int) async throws -> LocalStore {
    let store = try LocalStore(path: path)
    for number in 1...versions {
      try await store.transaction(making: wanting("a", time: Int64(number * 100))) { area in
        try stage("a-amd64-1-\(number)", needs: ["c-amd64-1-\(number)"], in: area)
        try stage("c-amd64-1-\(number)", in: area)
      }
    }
    return store
  }

  private func collector(_ store: LocalStore, _ count: Int, since time: Int64 = .max, used: [PackageID] = []) -> Collector {
    Collector(store, keeping: .init(count: count, oldestTime: time)) { _ in PackageUsers(packages: Set(used)) }
  }

  @Test func `what no generation names goes, and a plan says so before`() async throws {
    let folder = try TemporaryDirectory()
    let store = try await makeStore(folder.path, versions: 5)
    try await add(["stray-amd64-1-1": []], needing: store)
    let plan = try await collector(store, 2).plan()
    #expect(plan.keptGenerations == [4, 5] && plan.removedGenerations == [1, 2, 3])
    #expect(
      plan.removals.map(\.package)
        == (try ids("a-amd64-1-1", "a-amd64-1-2", "a-amd64-1-3", "c-amd64-1-1", "c-amd64-1-2", "c-amd64-1-3", "stray-amd64-1-1")))
    #expect(plan.byteCount > 0)
    #expect(try store.packages().count == 11 && store.generations.numbers().count == 5)
    #expect(try await collector(store, 2).collect() == plan)
    #expect(try store.packages() == ids("a-amd64-1-4", "a-amd64-1-5", "c-amd64-1-4", "c-amd64-1-5"))
    #expect(try store.generations.numbers() == [4, 5])
    #expect(try Verifier(store).findings() == [])
    #expect(try await store.switchGeneration().number == 4)
    #expect(try await collector(store, 1).collect().removals == [])
    #expect(try await store.switchGeneration(to: 5).number == 5)
    #expect(try names(in: store.path.appending(".staging")) == ["lock"])
    #expect(try names(in: store.path.appending(".index")).count == 4)
  }

  @Test func `age and count each keep`() async throws {
    let folder = try TemporaryDirectory()
    let store = try await makeStore(folder.path, versions: 5)
    #expect(try await collector(store, 0).plan().keptGenerations == [5])
    #expect(try await collector(store, 1, since: 300).plan().keptGenerations == [3, 4, 5])
    try await store.switchGeneration(to: 2)
    #expect(try await collector(store, 1).plan().keptGenerations == [2, 5])
  }

  @Test func `pins, users and reservations keep packages and what they need`() async throws {
    let folder = try TemporaryDirectory()
    let store = try await makeStore(folder.path, versions: 6)
    try await store.makeGeneration { context in
      var selection = context.selection
      selection.pins = try ids("a-amd64-1-1")
      return GenerationChange(selection: selection, time: 1000, command: "pin")
    }
    let held = try await store.reserve(ids("a-amd64-1-3", "new-amd64-1-1"))
    #expect(held.missing == (try ids("new-amd64-1-1")))
    let report = try await collector(store, 1, used: ids("a-amd64-1-2")).collect()
    #expect(report.used == (try ids("a-amd64-1-2", "a-amd64-1-3", "c-amd64-1-2", "c-amd64-1-3")))
    #expect(
      try store.packages()
        == ids(
          "a-amd64-1-1", "a-amd64-1-2", "a-amd64-1-3", "a-amd64-1-6", "c-amd64-1-1", "c-amd64-1-2", "c-amd64-1-3", "c-amd64-1-6"))
    withExtendedLifetime(held) {}
  }

  @Test func `a store without generations keeps everything, and so does one that cannot be read`() async throws {
    let folder = try TemporaryDirectory()
    let store = try LocalStore(path: folder.path)
    try await add(["a-amd64-1-1": []], needing: store)
    await #expect(throws: StoreError.noGeneration(nil, in: store.path)) { try await collector(store, 1).collect() }
    try await store.makeGeneration(wanting("a", time: 5))
    try await add(["b-amd64-1-1": []], needing: store)
    try write(Array("distri-generation 9\nend\n".utf8), to: store.generations.path.appending("1"))
    await #expect(throws: StoreError.self) { try await collector(store, 1).collect() }
    #expect(try store.packages().count == 2)
  }

  @Test func `debug symbols and sources go with their package, others stay`() async throws {
    let folder = try TemporaryDirectory()
    let store = try LocalStore(path: folder.path)
    try await store.transaction(making: wanting("keep")) { area in
      for name in ["keep-amd64-1-1", "old-amd64-1-1", "old-tools-amd64-1-1", "keep-lib-amd64-1-1"] {
        let package = try PackageID(parsing: name)
        var tree = SampleTree(of: package)
        try area.stage(&tree, of: package)
        let source = name.hasPrefix("old") ? "old" : "keep"
        try area.stage(PackageMetadata(sourcePackage: source, version: "1-1"), of: package)
      }
    }
    for section in [LocalStore.Section.debug, .sources] {
      try await LocalStore(path: store.path, section: section).transaction { area in
        for name in ["keep-amd64-1-1", "old-amd64-1-1", "keep-lib-amd64-1-1", "unborn-amd64-1-1"] {
          var tree = SampleTree(Array(name.utf8))
          try area.stage(&tree, of: try PackageID(parsing: name))
        }
      }
    }
    _ = try await collector(store, 1).collect()
    #expect(try store.packages() == ids("keep-amd64-1-1"))
    for section in [LocalStore.Section.debug, .sources] {
      #expect(try LocalStore(path: store.path, section: section).packages() == ids("keep-amd64-1-1", "unborn-amd64-1-1"))
    }
  }

  // MARK: Users

  @Test func `a process that runs from a package, or has a file of it open, uses it`() async throws {
    let folder = try TemporaryDirectory()
    let all = try ids("cwd-amd64-1-1", "open-amd64-1-1", "exe-amd64-1-1", "image-amd64-1-1", "none-amd64-1-1", "gone-amd64-1-1")
    for package in all.map(\.description) {
      try FileManager.default.createDirectory(
        atPath: folder.path.appending("ro/\(package)/bin").string, withIntermediateDirectories: true)
    }
    let root = folder.path.appending("ro")
    try await shell(
      "cp /bin/sleep exe-amd64-1-1/bin/ && : > open-amd64-1-1/bin/f && : > image-amd64-1-1.squashfs && : > gone-amd64-1-1/bin/f",
      in: root)
    var process = try Worker(
      ["idle", root.string, "cwd-amd64-1-1/bin", "open-amd64-1-1/bin/f", "image-amd64-1-1.squashfs", "gone-amd64-1-1/bin/f"])
    let program = Process()
    program.executableURL = URL(fileURLWithPath: root.appending("exe-amd64-1-1/bin/sleep").string)
    program.arguments = ["60"]
    try program.run()
    defer { program.terminate() }
    var users = PackageUsers(of: all)
    let deadline = ContinuousClock.now + .seconds(30)
    while users.packages.count < 5, ContinuousClock.now < deadline { users = PackageUsers(of: all) }
    #expect(users.packages == Set(try ids("cwd-amd64-1-1", "open-amd64-1-1", "exe-amd64-1-1", "image-amd64-1-1", "gone-amd64-1-1")))
    let wasAlive = process.kill()
    #expect(wasAlive)
    #expect(PackageUsers(of: all).packages == Set(try ids("exe-amd64-1-1")))
  }

  @Test func `images that a server of a view has open are not in use by that`() async throws {
    let folder = try TemporaryDirectory()
    try await shell(
      """
      mkdir -p proc/1/fd proc/2/fd proc/3/fd proc/self sys/block/loop0/loop sys/block/sda
      ln -s /dev/fuse proc/1/fd/3; ln -s /roimg/a-amd64-1-1.squashfs proc/1/fd/4; ln -s /ro/b-amd64-1-1/bin/x proc/1/exe
      ln -s /roimg/c-amd64-1-1.squashfs proc/2/fd/4; printf '%s\\n' \
      '7f00-7f01 r--p 0 00:01 5    /roimg/d-amd64-1-1.squashfs (deleted)' '7f02-7f03 rw-p 0 00:00 0 ' > proc/2/maps
      printf '7f00-7f01 r--p 0 00:01 5    /roimg/d-amd64-1-1.squashfs\\n' > proc/1/maps
      echo /roimg/e-amd64-1-1.squashfs > sys/block/loop0/loop/backing_file
      echo '9 1 0:5 / / rw - overlay o rw,lowerdir=/ro/f-amd64-1-1/out:/x' > proc/self/mountinfo
      """, in: folder.path)
    let all = try ids("a-amd64-1-1", "b-amd64-1-1", "c-amd64-1-1", "d-amd64-1-1", "e-amd64-1-1", "f-amd64-1-1", "g-amd64-1-1")
    let users = PackageUsers(of: all, proc: folder.path.appending("proc"), sys: folder.path.appending("sys"))
    #expect(users.packages == Set(all[1...5]))
    #expect(users.unknownProcessCount == 0)
  }

  // MARK: Races

  @Test func `a collector in another process leaves alone what an unfinished transaction has reserved`() async throws {
    let folder = try TemporaryDirectory()
    let store = try LocalStore(path: folder.path)
    // The collector looks at all processes of the machine, which may use packages of other tests.
    let own = "own\(UInt32.random(in: 0 ... .max))"
    let needed = try PackageID(parsing: "lib\(own)-amd64-1-1")
    for number in 1...3 {
      try await store.transaction(making: wanting(own)) { area in
        try stage("\(own)-amd64-1-\(number)", needs: ["lib\(own)-amd64-1-\(number)"], in: area)
        try stage("lib\(own)-amd64-1-\(number)", in: area)
      }
    }
    try await store.transaction(making: wanting("b\(own)")) { area in
      #expect(try await store.reserve([needed], in: area) == [])
      try stage("b\(own)-amd64-1-1", needs: [needed.description], in: area)
      var other = try Worker(["collect", store.path.string, "1"])
      other.wait()
      let status = other.status
      #expect(status == 0)
      let left = try store.packages()
      #expect(left == (try ids("lib\(own)-amd64-1-1", "lib\(own)-amd64-1-3", "\(own)-amd64-1-3")))
    }
    #expect(try store.generations.current()?.selection.packages.contains(needed) == true)
    #expect(try Verifier(store).findings() == [])
  }

  @Test func `a reservation ends with its process`() async throws {
    let folder = try TemporaryDirectory()
    let store = try await makeStore(folder.path, versions: 3)
    var holder = try Worker(["reserve", store.path.string, "c-amd64-1-1"])
    let staging = store.path.appending(".staging").string
    let deadline = ContinuousClock.now + .seconds(30)
    while try !FileManager.default.subpathsOfDirectory(atPath: staging).contains(where: { $0.hasSuffix("/.reserved") }),
      ContinuousClock.now < deadline
    {}
    #expect(try await collector(store, 1).collect().used == ids("c-amd64-1-1"))
    let wasAlive = holder.kill()
    #expect(wasAlive)
    #expect(try await collector(store, 1).collect().removals.map(\.package) == ids("c-amd64-1-1"))
  }
}
