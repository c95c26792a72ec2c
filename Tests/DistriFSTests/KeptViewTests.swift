// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore
import FSTestSupport
import Foundation
import Synchronization
import SystemPackage
import Testing

@testable import DistriFS

/// Keeps descriptors as a supervisor does, within the test's process.
final class TestKeeper: DescriptorKeeper {
  let inherited: [String: FileDescriptor]
  private let kept = Mutex<[String: FileDescriptor]>([:])

  init(after keeper: TestKeeper? = nil) {
    inherited = keeper?.kept.withLock { $0 } ?? [:]
    kept.withLock { $0 = inherited }
  }

  var names: [String] { kept.withLock { $0.keys.sorted() } }

  func keep(_ descriptor: FileDescriptor, as name: String) {
    let copy = try? descriptor.duplicate()
    kept.withLock { $0[name] = copy }
  }

  func release(_ name: String) { kept.withLock { $0[name] = nil } }
}

@Suite struct KeptViewTests {
  /// All paths of a view and their numbers.
  private func numbers(_ fileSystem: PackageFileSystem) throws -> [String: UInt64] {
    var numbers: [String: UInt64] = [:]
    var pending: [(String, NodeID)] = [("", .root)]
    while let (path, directory) = pending.popLast() {
      numbers[path] = directory.number
      try fileSystem.entries(of: directory, after: 0) { name, attributes, _ in
        if attributes.kind == .directory { pending.append(("\(path)/\(name)", attributes.inode)) }
        numbers["\(path)/\(name)"] = attributes.inode.number
        return true
      }
    }
    return numbers
  }

  private func node(_ path: String, in fileSystem: PackageFileSystem) throws -> NodeID {
    var node = NodeID.root
    for name in path.split(separator: "/") { node = try fileSystem.lookUp(try EntryName(String(name)), in: node).inode }
    return node
  }

  private func contents(_ node: NodeID, in fileSystem: PackageFileSystem) throws -> String {
    var reply = ReplyBuffer()
    try fileSystem.read(node, at: 0, count: 100, into: &reply)
    return String(decoding: reply.bytes, as: UTF8.self)
  }

  private func follow(_ fileSystem: PackageFileSystem) throws -> (any ChangeSubscription, @Sendable () -> Set<FileSystemChange>) {
    let changes = Shared<Set<FileSystemChange>>([])
    let subscription = try fileSystem.subscribe { reported in changes.value.withLock { $0.formUnion(reported) } }
    return (subscription, { changes.value.withLock { $0 } })
  }

  private final class Shared<Value: Sendable>: Sendable {
    let value: Mutex<Value>
    init(_ value: Value) { self.value = Mutex(value) }
  }

  @Test func `numbers are the same in the next mount, and the index is used`() async throws {
    let store = try TestStore()
    for index in 0..<5 {
      try await store.add("p\(index)-amd64-1-1", ["bin/x\(index)": "x", "out/share/p\(index)/y": "y", "out/lib/same": ""])
    }
    let first = try PackageFileSystem(store: store.local)
    let before = try numbers(first)
    try follow(first).0.cancel()
    let files = try FileManager.default.contentsOfDirectory(atPath: store.path.appending(".index").string)
    #expect(files.count == 6)
    let second = try PackageFileSystem(store: store.local)
    #expect(second.view.file != nil)
    #expect(second.view.changed.isEmpty)
    #expect(try numbers(second) == before)
    // A package less, another one more: nothing that stays gets another number.
    try store.remove("p2-amd64-1-1")
    try await store.add("a-amd64-1-1", ["bin/a": "a"])
    let third = try numbers(try PackageFileSystem(store: store.local))
    for (path, number) in third where before[path] != nil { #expect(before[path] == number, "\(path)") }
    #expect(Set(third.values).count == third.count)
    let old = Set(before.values)
    for (path, number) in third where before[path] == nil { #expect(!old.contains(number), "\(path)") }
  }

  @Test func `what is derived can be deleted at any time`() async throws {
    let store = try TestStore()
    try await store.add("a-amd64-1-1", ["bin/a": "a"])
    let index = store.path.appending(".index").string
    let first = try PackageFileSystem(store: store.local)
    try FileManager.default.removeItem(atPath: index)
    #expect(try contents(node("a-amd64-1-1/bin/a", in: first), in: first) == "a")
    try follow(first).0.cancel()
    try FileManager.default.removeItem(atPath: index)
    let second = try PackageFileSystem(store: store.local)
    try await store.add("b-amd64-1-1", ["bin/b": "b"])
    try second.refresh(at: 1)
    #expect(try contents(node("b-amd64-1-1/bin/b", in: second), in: second) == "b")
  }

  @Test(arguments: [0, 9, 20, 70, 200, 300, 400, 600, 900, 1200, -1]) func `an index that is damaged is made anew`(place: Int)
    async throws
  {
    let store = try TestStore()
    try await store.add("a-amd64-1-1", ["bin/a": "a", "out/share/doc/a/b": "b"])
    let first = try PackageFileSystem(store: store.local)
    let before = try numbers(first)
    try follow(first).0.cancel()
    let folder = store.path.appending(".index")
    for name in try FileManager.default.contentsOfDirectory(atPath: folder.string) {
      let url = URL(fileURLWithPath: folder.appending(name).string)
      var bytes = try Data(contentsOf: url)
      if place < 0 { bytes.removeLast(17) } else { bytes[place % bytes.count] ^= 0x55 }
      try bytes.write(to: url)
    }
    let second = try PackageFileSystem(store: store.local)
    #expect(try numbers(second).keys.sorted() == before.keys.sorted())
    #expect(try contents(node("a-amd64-1-1/bin/a", in: second), in: second) == "a")
  }

  @Test func `a server that follows another one goes on with its numbers, and reports what may not have been heard`() async throws {
    let store = try TestStore()
    try await store.add("a-amd64-1-1", ["bin/a": "a", "out/lib/a/x": ""])
    let keeper = TestKeeper()
    let first = try PackageFileSystem(store: store.local, keeper: keeper)
    let before = try numbers(first)
    try follow(first).0.cancel()
    #expect(keeper.names == ["image/1/a-amd64-1-1", "numbers", "references", "view"])
    // Shown, but not kept before the server ends.
    try await store.add("b-amd64-1-1", ["bin/b": "b", "out/lib/b/x": ""])
    try first.refresh(at: 1)
    let changed = try numbers(first)
    let second = try PackageFileSystem(store: store.local, keeper: TestKeeper(after: keeper))
    #expect(try numbers(second) == changed)
    for (path, number) in before { #expect(changed[path] == number) }
    let (subscription, changes) = try follow(second)
    // By a thread of its own: answers must not wait for it.
    let deadline = ContinuousClock.now + .seconds(10)
    while changes().isEmpty && ContinuousClock.now < deadline { await Task.yield() }
    #expect(changes().contains(.entry(try EntryName("b-amd64-1-1"), in: .root)))
    #expect(changes().contains(.entry(try EntryName("b"), in: NodeID(try #require(changed["/bin"])))))
    #expect(!changes().contains(.entry(try EntryName("a-amd64-1-1"), in: .root)))
    subscription.cancel()
  }

  @Test func `what was shown after the view was kept, and has gone since, is reported by the next server`() async throws {
    let store = try TestStore()
    try await store.add("a-amd64-1-1", ["bin/a": "a"])
    let keeper = TestKeeper()
    let first = try PackageFileSystem(store: store.local, keeper: keeper)
    try follow(first).0.cancel()
    try await store.add("b-amd64-1-1", ["bin/b": "b"])
    try first.refresh(at: 1)
    let file = try node("b-amd64-1-1/bin/b", in: first)
    let bin = try node("bin", in: first)
    // The server is killed, and then the package goes.
    try store.remove("b-amd64-1-1")
    let second = try PackageFileSystem(store: store.local, keeper: TestKeeper(after: keeper))
    let (subscription, changes) = try follow(second)
    let deadline = ContinuousClock.now + .seconds(10)
    while changes().isEmpty && ContinuousClock.now < deadline { await Task.yield() }
    #expect(changes().isSuperset(of: [.entry(try EntryName("b-amd64-1-1"), in: .root), .entry(try EntryName("b"), in: bin)]))
    #expect(second.view.packages.map(\.description) == ["a-amd64-1-1"])
    #expect(try contents(file, in: second) == "b")
    subscription.cancel()
  }

  @Test func `files of a package that has gone are answered by the next server, until nobody uses them`() async throws {
    let store = try TestStore()
    try await store.add("a-amd64-1-1", ["bin/a": "a"])
    let keepers = [TestKeeper()]
    let first = try PackageFileSystem(store: store.local, keeper: keepers[0])
    let directory = try node("a-amd64-1-1", in: first)
    let folder = try first.lookUp(try EntryName("bin"), in: directory).inode
    let file = try first.lookUp(try EntryName("a"), in: folder).inode
    try store.remove("a-amd64-1-1")
    try first.refresh(at: 1)
    let next = TestKeeper(after: keepers[0])
    let second = try PackageFileSystem(store: store.local, keeper: next)
    #expect(second.view.packages == [])
    #expect(try contents(file, in: second) == "a")
    for node in [directory, folder, file] { second.forget(node, lookups: 1) }
    #expect(Conformance.errno { () throws(FileSystemFailure) in _ = try second.attributes(of: file) } == .staleNFSFileHandle)
    #expect(!next.names.contains("image/1/a-amd64-1-1"))
  }

  @Test func `a selection is shown by the next server although its packages have gone from the store`() async throws {
    let store = try TestStore()
    for name in ["a", "b"] { try await store.add("\(name)-amd64-1-1", ["bin/\(name)": name]) }
    let only = [try PackageID(parsing: "a-amd64-1-1")]
    let keeper = TestKeeper()
    let first = try PackageFileSystem(store: store.local, only: only, keeper: keeper)
    let before = try numbers(first)
    #expect(before["/bin/b"] == nil)
    try store.remove("a-amd64-1-1")
    let second = try PackageFileSystem(store: store.local, only: only, keeper: TestKeeper(after: keeper))
    #expect(try numbers(second) == before)
    #expect(try contents(node("a-amd64-1-1/bin/a", in: second), in: second) == "a")
  }

  @Test func `plug-ins of other packages appear in the directory of their base`() async throws {
    let store = try TestStore()
    try await store.add("base-amd64-1-1", ["out/lib/plugins/own": "own"])
    for (name, files) in [("first-amd64-1-1", ["own", "a", "both"]), ("second-amd64-1-1", ["b", "both"])] {
      try await store.makeImage(name, Dictionary(uniqueKeysWithValues: files.map { ("out/lib/plugins/\($0)", name) }))
      try store.publish(name)
      let text = "version: \"1\"\nruntime_union { dir: \"lib/plugins\" pkg: \"base-amd64-1-1\" }\n"
      try Data(text.utf8).write(to: URL(fileURLWithPath: store.path.appending("\(name).meta.textproto").string))
    }
    func shown(_ fileSystem: PackageFileSystem) throws -> [String: String] {
      let directory = try node("base-amd64-1-1/out/lib/plugins", in: fileSystem)
      var result: [String: String] = [:]
      try fileSystem.entries(of: directory, after: 0) { name, attributes, _ in
        var reply = ReplyBuffer()
        try? fileSystem.symbolicLinkTarget(of: attributes.inode, into: &reply)
        result[name.description] = String(decoding: reply.bytes, as: UTF8.self)
        return true
      }
      return result
    }
    let first = try PackageFileSystem(store: store.local)
    let all = [
      "own": "", "a": "../../../../first-amd64-1-1/out/lib/plugins/a", "both": "../../../../first-amd64-1-1/out/lib/plugins/both",
      "b": "../../../../second-amd64-1-1/out/lib/plugins/b",
    ]
    #expect(try shown(first) == all)
    #expect(try Conformance.violations(of: first) == [])
    let (subscription, changes) = try follow(first)
    try store.remove("first-amd64-1-1")
    try first.refresh(at: 1)
    let directory = try node("base-amd64-1-1/out/lib/plugins", in: first)
    #expect(changes().isSuperset(of: [.entry(try EntryName("a"), in: directory), .entry(try EntryName("both"), in: directory)]))
    let rest = [
      "own": "", "b": "../../../../second-amd64-1-1/out/lib/plugins/b", "both": "../../../../second-amd64-1-1/out/lib/plugins/both",
    ]
    #expect(try shown(first) == rest)
    subscription.cancel()
    #expect(try shown(try PackageFileSystem(store: store.local)) == rest)
  }

  @Test func `devices are there, or not, as asked for`() async throws {
    let store = try TestStore()
    let tree = store.file("tree")
    try SampleTree.make(at: tree)
    try await store.makeImage("sample-amd64-1-1", of: tree, options: [])
    try store.publish("sample-amd64-1-1")
    #expect(try numbers(PackageFileSystem(store: store.local)).keys.contains("/sample-amd64-1-1/out/null"))
    let without = try PackageFileSystem(store: store.local, showsDevices: false)
    #expect(try !numbers(without).keys.contains("/sample-amd64-1-1/out/null"))
    #expect(
      Conformance.errno { () throws(FileSystemFailure) in
        do { _ = try without.lookUp(try EntryName("null"), in: try node("sample-amd64-1-1/out", in: without)) } catch {
          throw error as? FileSystemFailure ?? .errno(.ioError)
        }
      } == .noSuchFileOrDirectory)
    #expect(try Conformance.violations(of: without) == [])
  }
}
