// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore
import SystemPackage
import TestSupport
import Testing

@testable import DistriFS

/// A package that brings these paths: a path, or `path -> target` of a link. Names are those of exchange directories, not of packages.
struct Member {
  let id: PackageID
  let index: PackageIndex

  init(_ name: String, _ paths: [String]) throws {
    id = try PackageID(parsing: name)
    let directory = try TemporaryDirectory()
    let path = directory.path.appending("image")
    var tree = PathTree(try paths.map { try PathTree.entry($0) })
    let file = try FileDescriptor.open(path, .readWrite, options: .create, permissions: FilePermissions(rawValue: 0o600))
    defer { try? file.close() }
    _ = try ImageWriter().write(&tree, to: file, path: path)
    index = try LocalStore(path: directory.path).index(
      of: name, image: try MappedFile(descriptor: file), try ImageIdentity(of: file))
  }
}

/// Empty files and links, in the places of a package that ``ExchangeSource/packages`` names.
private struct PathTree: FileTree {
  private var rest: ArraySlice<TreeEntry>

  init(_ entries: [TreeEntry]) { rest = entries[...] }

  static func entry(_ text: String) throws -> TreeEntry {
    let parts = text.split(separator: " -> ", maxSplits: 1).map(String.init)
    let isOutside = parts[0].hasPrefix("bin/") || parts[0].hasPrefix("debug/")
    let path = try TreePath(parsing: isOutside ? parts[0] : "out/" + parts[0])
    let kind = parts.count > 1 ? TreeEntry.Kind.symbolicLink(target: Array(parts[1].utf8)) : .regular(byteCount: 0)
    return TreeEntry(path: path, kind: kind, permissions: 0o644)
  }

  mutating func next() throws -> TreeEntry? { rest.popFirst() }
  mutating func readContents(into output: inout OutputRawSpan) throws {}
}

/// Views that follow each other.
struct Sequence {
  private(set) var view: View
  private var numbering = Numbering()

  init() { view = ViewBuilder.emptyView(ExchangeSource.packages, &numbering) }

  /// A view of the packages, made at once.
  init(_ members: [Member]) throws {
    self.init()
    try show(members)
  }

  /// Shows these packages and no others; what comes back is a new package.
  @discardableResult
  mutating func show(_ members: [Member], at time: Int64? = nil) throws -> [FileSystemChange] {
    let wanted = Set(members.map(\.id))
    let gone = try view.shown.filter { !wanted.contains(try $0.id) }
    let there = Set(view.packages)
    var come: [ViewBuilder.Arrival] = []
    for member in members where !there.contains(member.id) {
      let name = Array(member.id.description.utf8)
      let given = numbering.package(name, nil)
      let number = try #require(given)
      let identity = ImageIdentity(inode: 1, byteCount: 1, modificationTime: 0, nanoseconds: 0)
      come.append(.init(package: MountedPackage(number: number, name: IndexBytes(name), identity: identity), index: member.index))
    }
    let result = ViewBuilder.apply(
      removing: gone, adding: come, to: view, sources: ExchangeSource.packages, at: time, &numbering)
    var slots = view.slots
    for package in gone { slots[package.number] = nil }
    for arrival in come {
      slots[arrival.package.number] = .init(package: arrival.package, isShown: true)
    }
    view = View(
      file: view.file, changed: view.changed.merging(result.changed) { $1 }, slots: slots, unions: .none,
      nextPackage: numbering.nextPackage, nextDirectory: numbering.nextDirectory)
    return result.changes
  }

  /// Goes on with what a file of the view says.
  mutating func reload() throws {
    let bytes = ViewFile.bytes(of: view, .init(), sources: 7)
    view = try #require(ViewFile(try MappedFile(copying: bytes), sources: 7)).view()
  }

  /// All links: path → target.
  func links() throws -> [String: String] {
    var result: [String: String] = [:]
    var pending = [try #require(view.root)]
    while let directory = pending.popLast() {
      for index in 0..<directory.count {
        let entry = directory.entry(at: index)
        let name = directory.name(of: entry)
        #expect(directory.entry(named: name)?.hash == entry.hash)
        switch entry.kind {
        case .directory: pending.append(try #require(view.directory(numbered: entry.detail)))
        case .package: break
        case .link:
          let claim = directory.claim(at: entry.claims.lowerBound)
          let target = directory.target(of: entry, claim, package: try #require(view.package(numbered: claim.package)).name)
          #expect(target.count == Int(entry.detail))
          result[String(decoding: directory.path + Array("/".utf8) + name, as: UTF8.self)] = String(decoding: target, as: UTF8.self)
        }
      }
    }
    return result
  }

  func directory(_ path: String) throws -> ExchangeDirectory {
    var directory = try #require(view.root)
    for name in path.split(separator: "/") {
      guard let entry = directory.entry(named: Array(name.utf8)), entry.kind == .directory else {
        throw Errno.noSuchFileOrDirectory
      }
      directory = try #require(view.directory(numbered: entry.detail))
    }
    return directory
  }
}

@Suite struct ViewBuilderTests {
  @Test(arguments: [
    ("bin/nano", "bin/nano", "../nano-amd64-7.2-3/bin/nano"),
    ("lib/libz.so.1", "lib/libz.so.1", "../nano-amd64-7.2-3/out/lib/libz.so.1"),
    ("lib/pkgconfig/bash.pc", "lib/pkgconfig/bash.pc", "../../nano-amd64-7.2-3/out/lib/pkgconfig/bash.pc"),
    ("lib64/ld.so", "lib64/ld.so", "../nano-amd64-7.2-3/out/lib64/ld.so"),
    ("include/sys/x.h", "include/sys/x.h", "../../nano-amd64-7.2-3/out/include/sys/x.h"),
    ("share/man/man1/n.1", "share/man/man1/n.1", "../../../nano-amd64-7.2-3/out/share/man/man1/n.1"),
    ("share/glib-2.0/schemas/a", "share/glib-2.0/schemas/a", "../../../nano-amd64-7.2-3/out/share/glib-2.0/schemas/a"),
    (
      "lib/girepository-1.0/G.typelib", "lib/girepository-1.0/G.typelib",
      "../../nano-amd64-7.2-3/out/lib/girepository-1.0/G.typelib"
    ),
    ("gopath/src/a", "gopath/src/a", "../../nano-amd64-7.2-3/out/gopath/src/a"),
    ("debug/.build-id/ab/c.debug", "debug/.build-id/ab/c.debug", "../../../nano-amd64-7.2-3/debug/.build-id/ab/c.debug"),
    ("libexec/git", "libexec/git", "../nano-amd64-7.2-3/out/libexec/git"),
    ("games/chess", "games/chess", "../nano-amd64-7.2-3/out/games/chess"),
    ("opt/x/y", "opt/x/y", "../../nano-amd64-7.2-3/out/opt/x/y"),
    ("lib/libz.so -> libz.so.1", "lib/libz.so", "libz.so.1"),
    ("lib/systemd/system/default.target -> graphical.target", "lib/systemd/system/default.target", "graphical.target"),
    ("share/a/b -> ../c", "share/a/b", "../c"),
  ])
  func `what a package brings appears in its exchange directory`(path: String, name: String, target: String) throws {
    #expect(try Sequence([Member("nano-amd64-7.2-3", [path])]).links() == [name: target])
  }

  @Test func `all exchange directories are there from the start`() throws {
    let root = try #require(Sequence().view.root)
    #expect(
      (0..<root.count).map { String(decoding: root.name(of: root.entry(at: $0)), as: UTF8.self) }.sorted()
        == ["bin", "debug", "games", "gopath", "include", "lib", "lib64", "libexec", "opt", "share"])
  }

  @Test(arguments: [
    (["a-amd64-1-1", "b-amd64-1-1"], "a-amd64-1-1"), (["b-amd64-9-9", "a-amd64-1-1"], "a-amd64-1-1"),
    (["a-amd64-1-9", "a-amd64-1-10"], "a-amd64-1-10"), (["a-amd64-2-1", "a-amd64-1-2"], "a-amd64-1-2"),
    (["a-amd64-1", "a-amd64-1-1"], "a-amd64-1-1"), (["a-i686-1-9", "a-amd64-1-1"], "a-amd64-1-1"),
  ])
  func `the highest revision of a package wins, and the first package by name`(names: [String], winner: String) throws {
    let members = try names.map { try Member($0, ["bin/x"]) }
    #expect(try Sequence(members).links() == ["bin/x": "../\(winner)/bin/x"])
    var one = Sequence()
    for count in 1...members.count { try one.show(Array(members.reversed().prefix(count)), at: 1) }
    #expect(try one.links() == ["bin/x": "../\(winner)/bin/x"])
  }

  @Test func `a directory is never shadowed by a file`() throws {
    let file = try Member("a-amd64-1-1", ["share/doc", "share/x"])
    let folder = try Member("b-amd64-1-1", ["share/doc/b/copyright", "share/doc/b/changes"])
    let merged = try Sequence([file, folder]).links()
    #expect(merged.keys.sorted() == ["share/doc/b/changes", "share/doc/b/copyright", "share/x"])
    var sequence = try Sequence([file])
    let before = try sequence.links()
    try sequence.show([file, folder], at: 5)
    #expect(try sequence.links() == merged)
    try sequence.show([file], at: 6)
    #expect(try sequence.links() == before)
  }

  @Test func `when the winner goes, the next candidate takes its place`() throws {
    let old = try Member("nano-amd64-7.1-2", ["bin/nano", "bin/only-old"])
    let new = try Member("nano-amd64-7.2-10", ["bin/nano"])
    let other = try Member("zed-amd64-1-1", ["bin/nano"])
    var sequence = try Sequence([old, new, other])
    for (members, target) in [
      ([old, other], "nano-amd64-7.1-2"), ([other], "zed-amd64-1-1"), ([old, new, other], "nano-amd64-7.2-10"),
    ] {
      let changes = try sequence.show(members, at: 7)
      #expect(try sequence.links()["bin/nano"] == "../\(target)/bin/nano")
      #expect(try sequence.links() == Sequence(members).links())
      let bin = NodeCodec.directory(try sequence.directory("bin").number)
      #expect(changes.contains(.entry(try EntryName("nano"), in: bin)))
      try sequence.reload()
    }
  }

  @Test func `exactly the changed names are reported`() throws {
    let a = try Member("a-amd64-1-1", ["bin/a", "share/doc/a/x", "lib/same"])
    let b = try Member("b-amd64-1-1", ["bin/b", "share/doc/b/x", "lib/same"])
    var sequence = try Sequence([a])
    let names = try sequence.show([a, b], at: 9).compactMap { change -> String? in
      if case .entry(let name, _) = change { return name.description }
      return nil
    }
    // lib/same belongs to `a` before and after.
    #expect(names.sorted() == ["b", "b", "b-amd64-1-1"])
    #expect(try sequence.show([a, b], at: 10).isEmpty)
  }

  @Test func `numbers and untouched directories stay, times change with the contents only`() throws {
    let a = try Member("a-amd64-1-1", ["bin/a", "share/doc/a/x"])
    let b = try Member("b-amd64-1-1", ["bin/b"])
    var sequence = try Sequence([a])
    let (bin, doc) = (try sequence.directory("bin"), try sequence.directory("share/doc"))
    try sequence.show([a, b], at: 1234)
    #expect(try sequence.directory("share/doc").number == doc.number)
    #expect(try sequence.directory("bin").number == bin.number)
    #expect(try sequence.directory("bin").modificationTime == 1234)
    #expect(try sequence.directory("share").modificationTime == 0)
    try sequence.show([b], at: 2000)
    #expect(throws: Errno.noSuchFileOrDirectory) { try sequence.directory("share/doc") }
    try sequence.reload()
    try sequence.show([a, b], at: 3000)
    #expect(try sequence.directory("share/doc").number > doc.number)
    #expect(try sequence.directory("bin").number == bin.number)
  }

  @Test func `conflicts name the winner and the losers, versions of a package do not contend`() throws {
    let members = [
      try Member("a-amd64-1-1", ["bin/x", "share/doc", "lib/only-a"]), try Member("a-amd64-1-2", ["bin/x"]),
      try Member("b-amd64-1-1", ["bin/x", "share/doc/b"]), try Member("c-amd64-1-1", ["bin/x", "bin/y"]),
    ]
    let conflicts = try Sequence(members).view.conflicts
    #expect(conflicts.map(\.path.description) == ["bin/x", "share/doc"])
    #expect(conflicts[0].winner.description == "a-amd64-1-2")
    #expect(conflicts[0].losers.map(\.description) == ["b-amd64-1-1", "c-amd64-1-1"])
    #expect(conflicts[1].winner.description == "b-amd64-1-1")
    #expect(conflicts[1].losers.map(\.description) == ["a-amd64-1-1"])
  }

  @Test(arguments: [
    ("x", 0, true), ("../x", 0, false), ("../x", 1, true), ("a/../b", 0, true), ("a/../../b", 0, false), ("./x", 0, true),
    ("/x", 3, false), ("", 1, false), ("..", 1, true), ("..", 0, false), ("a//b/", 0, true),
  ])
  func `only links that stay inside the exchange directory are shown as they are`(target: String, depth: Int, stays: Bool) {
    #expect(ViewBuilder.staysInside(Array(target.utf8), depth: depth) == stays)
  }

  @Test func `a random sequence of arrivals and removals ends like a view made at once`() throws {
    var random = SystemRandomNumberGenerator()
    let paths = ["bin/a", "bin/b", "lib/a", "lib/a/b", "lib/a/c/d", "share/a", "share/a/b", "share/a/b/c", "opt/a -> b", "opt/b"]
    let members = try (1...12).map { index in
      let brought = paths.shuffled(using: &random).prefix(5).reduce(into: [String]()) { chosen, path in
        let isClear = chosen.allSatisfy { !$0.hasPrefix(path + "/") && !path.hasPrefix($0 + "/") }
        if isClear { chosen.append(path) }
      }
      return try Member("p\(index % 5)-amd64-1-\(index)", brought)
    }
    var sequence = Sequence()
    for step in 0..<60 {
      let shown = members.filter { _ in Bool.random(using: &random) }
      try sequence.show(shown, at: Int64(step))
      #expect(try sequence.links() == Sequence(shown).links())
      if step % 7 == 0 { try sequence.reload() }
    }
  }

  @Test func `the same packages give the same bytes, in whatever order they are found`() throws {
    let members = try ["b-amd64-1-1", "a-amd64-1-2", "c-amd64-1-1"].map {
      try Member($0, ["bin/x", "lib/\($0)/y", "share/z -> y"])
    }
    let first = ViewFile.bytes(of: try Sequence(members).view, .init(count: 1, sum: 2), sources: 3)
    let second = ViewFile.bytes(of: try Sequence(members).view, .init(count: 1, sum: 2), sources: 3)
    #expect(first == second)
  }
}
