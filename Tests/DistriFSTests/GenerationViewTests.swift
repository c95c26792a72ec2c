// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore
import FSTestSupport
import Foundation
import Synchronization
import SystemPackage
import Testing

@testable import DistriFS

/// What a view shows of a store that has generations.
@Suite struct GenerationViewTests {
  private func generation(_ number: UInt64, of packages: [PackageID]) -> Generation {
    var selection = Generation.Selection()
    selection.packages = packages
    return Generation(number: number, time: 1, command: "test", selection: selection)
  }

  /// Makes a generation current as a commit does: the file, then the link, by renaming.
  private func show(_ number: UInt64, of packages: [PackageID], in store: TestStore) throws {
    let folder = store.path.appending(".generations").string
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    try Data(generation(number, of: packages).text.utf8).write(to: URL(fileURLWithPath: "\(folder)/\(number)"))
    try switchTo(number, in: store)
  }

  private func switchTo(_ number: UInt64, in store: TestStore) throws {
    let folder = store.path.appending(".generations").string
    let link = store.file("link").string
    try FileManager.default.createSymbolicLink(atPath: link, withDestinationPath: "\(number)")
    guard rename(link, "\(folder)/current") == 0 else { throw Errno(rawValue: errno) }
  }

  private func makePackages(_ stores: [TestStore]) async throws -> [PackageID] {
    var all: [PackageID] = []
    for number in 0..<16 {
      let name = "p\(number % 8)-amd64-\(number / 8 + 1)-\(number / 8 + 1)"
      var files: [String: String] = [
        "bin/p\(number % 8)": "", "bin/common": "\(number)", "out/share/d\(number % 3)/f\(number)": "",
      ]
      files["out/lib/\(["x", "x/y", "x/y/z"][number % 3])"] = ""
      files["out/lib/link\(number % 4)"] = "->x"
      for store in stores { try await store.add(name, files) }
      all.append(try PackageID(parsing: name))
    }
    return all
  }

  @Test func `exchange directories show the generation, full names everything`() async throws {
    let store = try TestStore()
    let all = try await makePackages([store])
    try show(1, of: [all[0], all[1]], in: store)
    let fileSystem = try PackageFileSystem(store: store.local)
    let shown = try contents(fileSystem)
    #expect(shown["/bin/"]?.split(separator: " ").sorted() == ["common", "p0", "p1"])
    #expect(shown["/bin/p0"] == "symbolicLink 1 ../p0-amd64-1-1/bin/p0")
    #expect(fileSystem.view.packages == all.sorted())
    #expect(shown["/p7-amd64-2-2/bin/p7"] != nil)
    #expect(fileSystem.conflicts.map(\.path.description) == ["bin/common", "lib/x"])
    // The newer version that is not selected does not take the place of the older one.
    try switchTo(1, in: store)
    try show(2, of: [all[8], all[0], all[2]], in: store)
    try fileSystem.refresh(at: 5)
    let next = try contents(fileSystem)
    #expect(next["/bin/p0"] == "symbolicLink 1 ../p0-amd64-2-2/bin/p0")
    #expect(next["/bin/p1"] == nil && next["/p1-amd64-1-1/bin/p1"] != nil)
    try switchTo(1, in: store)
    try fileSystem.refresh(at: 6)
    #expect(try contents(fileSystem) == shown)
  }

  @Test(arguments: 0..<3 as Range<UInt64>)
  func `a view after any switches equals a fresh one, and the kernel hears of exactly what differs`(seed: UInt64) async throws {
    var random = SplitMix(seed)
    let store = try TestStore()
    let fresh = try TestStore()
    // Where this is a file, nothing can be kept.
    try Data().write(to: URL(fileURLWithPath: fresh.path.appending(".index").string))
    var all = try await makePackages([store, fresh])
    var fileSystem = try PackageFileSystem(store: store.local)
    let changes = Mutex<Set<FileSystemChange>>([])
    var before = try attributes(fileSystem)
    var numbers = 0
    for step in 0..<24 {
      changes.withLock { $0 = [] }
      switch random.next() % 6 {
      case 0 where step > 3:
        // A package comes, or goes.
        let name = "late\(step)-amd64-1-1"
        for store in [store, fresh] { try await store.add(name, ["bin/late": "", "out/lib/x/late\(step)": "", "bin/common": ""]) }
        all.append(try PackageID(parsing: name))
      case 1 where step > 3:
        let gone = all.remove(at: Int(random.next() % UInt64(all.count)))
        for store in [store, fresh] { try store.remove(gone.description) }
      case 2 where numbers > 1:
        let number = random.next() % UInt64(numbers) + 1
        for store in [store, fresh] { try switchTo(number, in: store) }
      default:
        numbers += 1
        let only = all.filter { _ in random.next() % 3 > 0 }
        for store in [store, fresh] { try show(UInt64(numbers), of: only, in: store) }
      }
      if random.next() % 4 == 0 {
        // Mounted anew, from what is kept of the last one.
        try fileSystem.subscribe { _ in }.cancel()
        fileSystem = try PackageFileSystem(store: store.local)
      } else {
        let key = fileSystem.following.withLock { following in
          following.subscribers[99] = { reported in changes.withLock { $0.formUnion(reported) } }
          return 99 as UInt64
        }
        try fileSystem.refresh(at: Int64(step))
        fileSystem.following.withLock { $0.subscribers[key] = nil }
        let after = try attributes(fileSystem)
        checkReports(changes.withLock { $0 }, from: before, to: after)
      }
      #expect(try contents(fileSystem) == contents(PackageFileSystem(store: fresh.local)), "step \(step)")
      #expect(try fileSystem.conflicts == PackageFileSystem(store: fresh.local).conflicts)
      before = try attributes(fileSystem)
    }
  }

  private struct Entry: Hashable {
    var directory: NodeID
    var name: EntryName
  }

  /// What the kernel may have cached of exchange directories: names and numbers.
  private func attributes(_ fileSystem: PackageFileSystem) throws -> [Entry: NodeID] {
    var result: [Entry: NodeID] = [:]
    var pending = [NodeID.root]
    while let directory = pending.popLast() {
      try fileSystem.entries(of: directory, after: 0) { name, attributes, _ in
        result[Entry(directory: directory, name: name)] = attributes.inode
        if attributes.kind == .directory, NodeCodec.packageNumber(of: attributes.inode) == nil { pending.append(attributes.inode) }
        return true
      }
    }
    return result
  }

  private func checkReports(_ changes: Set<FileSystemChange>, from before: [Entry: NodeID], to after: [Entry: NodeID]) {
    var reported: Set<Entry> = []
    for change in changes {
      if case .entry(let name, let directory) = change { reported.insert(Entry(directory: directory, name: name)) }
    }
    // Directories that are gone or new as a whole are covered by their own name.
    let old = Set(before.keys.map(\.directory))
    let new = Set(after.keys.map(\.directory))
    for entry in Set(before.keys).union(after.keys) where old.contains(entry.directory) && new.contains(entry.directory) {
      let differs = before[entry] != after[entry]
      #expect(differs == reported.contains(entry), "\(entry.name) in \(entry.directory.number)")
    }
  }

  @Test func `a live view follows a switch, and a first generation`() async throws {
    let store = try TestStore()
    let all = try await makePackages([store])
    let fileSystem = try PackageFileSystem(store: store.local)
    let subscription = try fileSystem.subscribe { _ in }
    defer { subscription.cancel() }
    @Sendable func bin() throws -> Set<String> {
      var names: Set<String> = []
      let bin = try fileSystem.lookUp(try EntryName("bin"), in: .root)
      try fileSystem.entries(of: bin.inode, after: 0) { name, _, _ in
        names.insert(name.description)
        return true
      }
      return names
    }
    #expect(try bin().count == 9)
    for number in 1...5 {
      try show(UInt64(number), of: [all[number]], in: store)
      #expect(try await eventually { try bin() == ["common", "p\(number)"] })
    }
    try switchTo(2, in: store)
    #expect(try await eventually { try bin() == ["common", "p2"] })
    // Without generations, all is shown again.
    try FileManager.default.removeItem(atPath: store.path.appending(".generations").string)
    try fileSystem.refresh(at: 9)
    #expect(try bin().count == 9)
    // Made anew, with a number that was there before.
    try show(2, of: [all[3]], in: store)
    #expect(try await eventually { try bin() == ["common", "p3"] })
  }

  @Test func `a server that dies after a switch is followed by one with the same numbers`() async throws {
    let store = try TestStore()
    let all = try await makePackages([store])
    try show(1, of: Array(all[0..<6]), in: store)
    let keeper = TestKeeper()
    let first = try PackageFileSystem(store: store.local, keeper: keeper)
    try first.subscribe { _ in }.cancel()
    try show(2, of: Array(all[4..<12]), in: store)
    try first.refresh(at: 1)
    try switchTo(1, in: store)
    try first.refresh(at: 2)
    try switchTo(2, in: store)
    try first.refresh(at: 3)
    let (before, shown) = (try attributes(first), try contents(first))
    // What it had kept is from before the switches.
    let second = try PackageFileSystem(store: store.local, keeper: TestKeeper(after: keeper))
    #expect(try attributes(second) == before)
    #expect(try contents(second) == shown)
    // One that follows a switch that the one before has not seen.
    try switchTo(1, in: store)
    let third = try PackageFileSystem(store: store.local, keeper: TestKeeper(after: keeper))
    #expect(try contents(third) == contents(PackageFileSystem(store: store.local)))
    for (entry, number) in try attributes(third) where NodeCodec.packageNumber(of: number) == nil {
      #expect(before[entry] == nil || before[entry] == number)
    }
    // The kernel has seen the other generation, and has to forget it.
    let reported = Mutex<Set<FileSystemChange>>([])
    let subscription = try third.subscribe { changes in reported.withLock { $0.formUnion(changes) } }
    let bin = FileSystemChange.entry(try EntryName("bin"), in: .root)
    #expect(try await eventually { reported.withLock { $0.contains(bin) } })
    subscription.cancel()
  }

  @Test func `a generation that cannot be read hides nothing, and is named`() async throws {
    let store = try TestStore()
    let all = try await makePackages([store])
    try show(1, of: [all[0]], in: store)
    let fileSystem = try PackageFileSystem(store: store.local)
    let bin = try fileSystem.lookUp(try EntryName("bin"), in: .root).inode
    for damage in ["", "distri-generation 2\nend\n", "distri-generation 1\nnumber 1\n"] {
      try Data(damage.utf8).write(to: URL(fileURLWithPath: store.path.appending(".generations/1").string))
      try fileSystem.refresh(at: 1)
      #expect((try? fileSystem.lookUp(try EntryName("p7"), in: bin)) != nil)
      #expect(fileSystem.problems.contains { $0.subject == "generation" })
    }
    try FileManager.default.removeItem(atPath: store.path.appending(".generations/1").string)
    try fileSystem.refresh(at: 1)
    #expect((try? fileSystem.lookUp(try EntryName("p7"), in: bin)) != nil)
    try show(2, of: [all[0], try PackageID(parsing: "absent-amd64-1-1")], in: store)
    try fileSystem.refresh(at: 1)
    #expect((try? fileSystem.lookUp(try EntryName("p7"), in: bin)) == nil)
    #expect(fileSystem.problems.isEmpty)
  }

  @Test func `plug-ins of packages that are not selected are not in unions`() async throws {
    let store = try TestStore()
    try await store.add("base-amd64-1-1", ["out/lib/gio/own": ""])
    for version in [1, 2] {
      try await store.makeImage("plug-amd64-\(version)-\(version)", ["out/lib/gio/plug\(version)": ""])
      try store.publish(
        "plug-amd64-\(version)-\(version)",
        metadata: "version: \"\(version)\"\nruntime_union: { dir: \"lib/gio\" pkg: \"base-amd64-1-1\" }\n")
    }
    let all = try ["base-amd64-1-1", "plug-amd64-1-1", "plug-amd64-2-2"].map { try PackageID(parsing: $0) }
    try show(1, of: [all[0], all[2]], in: store)
    try show(2, of: [all[0], all[1]], in: store)
    let fileSystem = try PackageFileSystem(store: store.local)
    #expect(try contents(fileSystem)["/base-amd64-1-1/out/lib/gio/"]?.split(separator: " ").sorted() == ["own", "plug1"])
    try switchTo(1, in: store)
    try fileSystem.refresh(at: 1)
    #expect(try contents(fileSystem)["/base-amd64-1-1/out/lib/gio/"]?.split(separator: " ").sorted() == ["own", "plug2"])
    try fileSystem.subscribe { _ in }.cancel()
    let again = try PackageFileSystem(store: store.local)
    #expect(try contents(again) == contents(fileSystem))
  }

  @Test func `a view of a selection does not care for generations`() async throws {
    let store = try TestStore()
    let all = try await makePackages([store])
    try show(1, of: [all[0]], in: store)
    let fileSystem = try PackageFileSystem(store: store.local, only: [all[5]])
    #expect(try contents(fileSystem)["/bin/"]?.split(separator: " ").sorted() == ["common", "p5"])
  }
}
