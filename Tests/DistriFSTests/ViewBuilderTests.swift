// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore
import SystemPackage
import Testing

@testable import DistriFS

/// A package that brings these paths: a path, or `path -> target` of a relative link that stays inside, or `path/` of a directory.
func member(_ name: String, _ number: UInt32, _ paths: [String]) throws -> MountedPackage {
  MountedPackage(id: try PackageID(parsing: name), number: number, file: nil, contents: try contents(paths.map { $0[...] }))
}

private func contents(_ paths: [Substring]) throws -> ExchangeContents {
  var below: [String: [Substring]] = [:]
  var entries: [ExchangeContents.Entry] = []
  for path in paths where !path.isEmpty {
    let parts = path.split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false)
    if parts.count == 2, !parts[0].contains(" -> ") {
      below[String(parts[0]), default: []].append(parts[1])
    } else if let arrow = path.range(of: " -> ") {
      let target = Array(path[arrow.upperBound...].utf8)
      entries.append(.init(name: try EntryName(String(path[..<arrow.lowerBound])), content: .link(target: target)))
    } else {
      entries.append(.init(name: try EntryName(String(path)), content: .file))
    }
  }
  for (name, paths) in below { entries.append(.init(name: try EntryName(name), content: .directory(try contents(paths)))) }
  return ExchangeContents(entries.sorted { $0.name < $1.name })
}

/// All links of a view: path → target.
func links(_ view: View) throws -> [String: String] {
  var result: [String: String] = [:]
  var pending = [try #require(view.root)]
  while let directory = pending.popLast() {
    for entry in directory.entries {
      switch entry.content {
      case .directory(let number): pending.append(try #require(view.directory(numbered: number)))
      case .link:
        result[directory.path.appending(entry.name).description] = String(decoding: directory.target(of: entry), as: UTF8.self)
      }
    }
  }
  return result
}

@Suite struct ViewBuilderTests {
  private func view(_ members: [MountedPackage], after view: View? = nil, at time: Int64? = nil) -> (
    view: View, changes: [FileSystemChange]
  ) {
    ViewBuilder.view(of: members, sources: ExchangeSource.packages, after: view, at: time)
  }

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
    #expect(try links(view([member("nano-amd64-7.2-3", 1, [path])]).view) == [name: target])
  }

  @Test func `all exchange directories are there from the start`() throws {
    let root = try #require(view([]).view.root)
    #expect(
      root.entries.map(\.name.description)
        == ["bin", "debug", "games", "gopath", "include", "lib", "lib64", "libexec", "opt", "share"])
  }

  @Test(arguments: [
    (["a-amd64-1-1", "b-amd64-1-1"], "a-amd64-1-1"), (["b-amd64-9-9", "a-amd64-1-1"], "a-amd64-1-1"),
    (["a-amd64-1-9", "a-amd64-1-10"], "a-amd64-1-10"), (["a-amd64-2-1", "a-amd64-1-2"], "a-amd64-1-2"),
    (["a-amd64-1", "a-amd64-1-1"], "a-amd64-1-1"), (["a-i686-1-9", "a-amd64-1-1"], "a-amd64-1-1"),
  ])
  func `the highest revision of a package wins, and the first package by name`(names: [String], winner: String) throws {
    let members = try names.enumerated().map { try member($1, UInt32($0) + 1, ["bin/x"]) }
    #expect(try links(view(members).view) == ["bin/x": "../\(winner)/bin/x"])
    #expect(try links(view(members.reversed()).view) == ["bin/x": "../\(winner)/bin/x"])
  }

  @Test func `a directory is never shadowed by a file`() throws {
    let file = try member("a-amd64-1-1", 1, ["share/doc", "share/x"])
    let folder = try member("b-amd64-1-1", 2, ["share/doc/b/copyright", "share/doc/b/changes"])
    let merged = view([file, folder]).view
    #expect(try links(merged).keys.sorted() == ["share/doc/b/changes", "share/doc/b/copyright", "share/x"])
    let before = view([file])
    let after = view([file, folder], after: before.view, at: 5)
    #expect(try links(after.view) == links(merged))
    let back = view([file], after: after.view, at: 6)
    #expect(try links(back.view) == links(before.view))
  }

  @Test func `when the winner goes, the next candidate takes its place`() throws {
    let old = try member("nano-amd64-7.1-2", 1, ["bin/nano", "bin/only-old"])
    let new = try member("nano-amd64-7.2-10", 2, ["bin/nano"])
    let other = try member("zed-amd64-1-1", 3, ["bin/nano"])
    var current = view([old, new, other]).view
    for (members, target) in [
      ([old, other], "nano-amd64-7.1-2"), ([other], "zed-amd64-1-1"), ([old, new, other], "nano-amd64-7.2-10"),
    ] {
      let (next, changes) = view(members, after: current, at: 7)
      #expect(try links(next)["bin/nano"] == "../\(target)/bin/nano")
      #expect(try links(next) == links(view(members).view))
      let root = try #require(next.root)
      let bin = try #require(root.entry(named: try EntryName("bin")))
      #expect(changes.contains(.entry(try EntryName("nano"), in: root.inode(of: bin))))
      current = next
    }
  }

  @Test func `exactly the changed names are reported`() throws {
    let a = try member("a-amd64-1-1", 1, ["bin/a", "share/doc/a/x", "lib/same"])
    let b = try member("b-amd64-1-1", 2, ["bin/b", "share/doc/b/x", "lib/same"])
    let before = view([a]).view
    let (after, changes) = view([a, b], after: before, at: 9)
    let names = changes.compactMap { change -> String? in
      if case .entry(let name, _) = change { return name.description }
      return nil
    }
    // lib/same belongs to `a` before and after.
    #expect(names.sorted() == ["b", "b", "b-amd64-1-1"])
    #expect(view([a, b], after: after, at: 10).changes.isEmpty)
  }

  @Test func `numbers and untouched directories stay, times change with the contents only`() throws {
    let a = try member("a-amd64-1-1", 1, ["bin/a", "share/doc/a/x"])
    let b = try member("b-amd64-1-1", 2, ["bin/b"])
    let before = view([a]).view
    let after = view([a, b], after: before, at: 1234).view
    func directory(_ view: View, _ path: String) throws -> ExchangeDirectory {
      var directory = try #require(view.root)
      for name in path.split(separator: "/") {
        guard case .directory(let number)? = directory.entry(named: try EntryName(String(name)))?.content else {
          throw Errno.noSuchFileOrDirectory
        }
        directory = try #require(view.directory(numbered: number))
      }
      return directory
    }
    #expect(try directory(before, "share/doc") === directory(after, "share/doc"))
    let (old, new) = (try directory(before, "bin"), try directory(after, "bin"))
    #expect(old.inode == new.inode)
    #expect(new.modificationTime == 1234)
    #expect(try directory(after, "share").modificationTime == 0)
    let name = try EntryName("a")
    #expect(old.entry(named: name)?.number == new.entry(named: name)?.number)
    let gone = view([b], after: after, at: 2000).view
    let back = view([a, b], after: gone, at: 3000).view
    #expect(try directory(back, "bin").entry(named: name)?.number != new.entry(named: name)?.number)
    #expect(throws: Errno.noSuchFileOrDirectory) { try directory(gone, "share/doc") }
  }

  @Test func `conflicts name the winner and the losers, versions of a package do not contend`() throws {
    let members = [
      try member("a-amd64-1-1", 1, ["bin/x", "share/doc", "lib/only-a"]), try member("a-amd64-1-2", 2, ["bin/x"]),
      try member("b-amd64-1-1", 3, ["bin/x", "share/doc/b"]), try member("c-amd64-1-1", 4, ["bin/x", "bin/y"]),
    ]
    let conflicts = ViewBuilder.conflicts(of: members, sources: ExchangeSource.packages)
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
    #expect(ContentsReader.staysInside(Array(target.utf8), depth: depth) == stays)
  }

  @Test func `a random sequence of arrivals and removals ends like a view made at once`() throws {
    var random = SystemRandomNumberGenerator()
    let paths = ["bin/a", "bin/b", "lib/a", "lib/a/b", "lib/a/c/d", "share/a", "share/a/b", "share/a/b/c", "opt/a -> b", "opt/b"]
    let members = try (1...12).map { index in
      let brought = paths.shuffled(using: &random).prefix(5).reduce(into: [String]()) { chosen, path in
        let isClear = chosen.allSatisfy { !$0.hasPrefix(path + "/") && !path.hasPrefix($0 + "/") }
        if isClear { chosen.append(path) }
      }
      return try member("p\(index % 5)-amd64-1-\(index)", UInt32(index), brought)
    }
    var current = view([]).view
    for step in 0..<60 {
      let shown = members.filter { _ in Bool.random(using: &random) }
      current = view(shown, after: current, at: Int64(step)).view
      #expect(try links(current) == links(view(shown).view))
    }
  }
}
