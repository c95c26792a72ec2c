// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore
import Foundation
import SystemPackage
import TestSupport
import Testing

@testable import DistriBuild

/// A package's tree made by hand; ELF files are compiled.
private struct Sketch {
  let id: PackageID
  var tree = PackageTree()

  init(_ name: String, _ files: [String: String] = [:], programs: [String] = [], links: [String: String] = [:]) throws {
    id = try PackageID(parsing: name)
    for (path, text) in files { tree.insertFile(try TreePath(parsing: path), Array(text.utf8)) }
    for path in programs { tree.insertFile(try TreePath(parsing: path), Array("program".utf8), permissions: 0o755) }
    for (path, target) in links { tree.insertLink(try TreePath(parsing: path), to: target) }
  }

  mutating func compile(_ path: String, _ options: [String], in directory: FilePath) throws {
    let result = directory.appending(path.replacingOccurrences(of: "/", with: "_"))
    let process = Process()
    process.executableURL = URL(filePath: "/usr/bin/gcc")
    process.arguments =
      ["-x", "c", "/dev/null", "-shared", "-nostdlib", "-Wl,--no-as-needed", "-o", result.string, "-L", directory.string] + options
    try process.run()
    process.waitUntilExit()
    try #require(process.terminationStatus == 0)
    tree.insertFile(try TreePath(parsing: path), Array(try Data(contentsOf: URL(filePath: result.string))), permissions: 0o755)
  }

  func link(_ path: String) throws -> String? {
    guard case .symbolicLink(let target) = tree.kind(of: try TreePath(parsing: path)) else { return nil }
    return String(decoding: target, as: UTF8.self)
  }

  func isWrapper(_ path: String) throws -> Bool { tree.kind(of: try TreePath(parsing: path)) == .file }

  /// The environment that a wrapper sets, as text of its payload.
  func payload(_ path: String) throws -> String {
    let node = try #require(tree[try TreePath(parsing: path)])
    let bytes = try tree.contents(of: node, limit: 1 << 16).dropFirst(176 + WrapperCode.amd64.count)
    return String(decoding: bytes, as: UTF8.self).replacingOccurrences(of: "\0", with: "|")
  }
}

@Suite struct LibraryFarmTests {
  private func set(_ sketches: Sketch...) throws -> PackageSet {
    var set = PackageSet()
    for sketch in sketches { try set.insert(sketch.id, sketch.tree) }
    return set
  }

  private func links(of sketch: Sketch, _ others: PackageSet, optional: Set<String> = []) throws -> [String: String] {
    let farm = try LibraryFarm(
      of: sketch.id, tree: sketch.tree, objects: try LibraryFarm.objects(in: sketch.tree), dependencies: others, optional: optional)
    var result = sketch.tree
    farm.insert(into: &result)
    return try Dictionary(
      uniqueKeysWithValues: result.names(in: PackageLayout.lib).map { name in
        guard case .symbolicLink(let target) = result.kind(of: PackageLayout.lib.appending(name)) else { throw CancellationError() }
        return (name.description, String(decoding: target, as: UTF8.self))
      })
  }

  @Test func `each library comes from where the loader would find it, own ones first`() throws {
    let directory = try TemporaryDirectory()
    var own = try Sketch("own-amd64-1-1")
    let folder = directory.path
    for name in ["libdep.so.1", "libboth.so.2", "libhidden.so", "libplugged.so"] {
      try own.compile("scratch/\(name)", ["-Wl,-soname,\(name)"], in: folder)
      try FileManager.default.moveItem(atPath: folder.appending("scratch_\(name)").string, toPath: folder.appending(name).string)
    }
    own.tree.remove(try TreePath(parsing: "scratch"))
    let libraries = ["-l:libdep.so.1", "-l:libboth.so.2", "-l:libhidden.so"]
    try own.compile("out/bin/program", libraries + ["-Wl,-rpath,$ORIGIN/../lib/own"], in: folder)
    try own.compile("out/lib/modules/plugin.so", ["-l:libplugged.so"], in: folder)
    try own.compile("out/lib/own/libhidden.so", [], in: folder)
    try own.compile("out/lib/far/away/libplugged.so", [], in: folder)
    try own.compile("out/lib64/libboth.so.2", [], in: folder)
    var dep = try Sketch("dep-amd64-3-9", ["out/lib/x86_64-linux-gnu/libboth.so.2": ""])
    dep.tree.insertLink(try TreePath(parsing: "out/lib/libdep.so.1"), to: "libdep.so.1.2")
    let older = try Sketch("dep-amd64-3-8", ["out/lib/libdep.so.1": ""])
    let others = try set(older, dep)
    #expect(
      try links(of: own, others) == [
        "libdep.so.1": "/ro/dep-amd64-3-9/out/lib/libdep.so.1", "libboth.so.2": "/ro/own-amd64-1-1/out/lib64/libboth.so.2",
        "libhidden.so": "/ro/own-amd64-1-1/out/lib/own/libhidden.so",
        "libplugged.so": "/ro/own-amd64-1-1/out/lib/far/away/libplugged.so",
      ])
    let farm = try LibraryFarm(
      of: own.id, tree: own.tree, objects: try LibraryFarm.objects(in: own.tree), dependencies: others)
    #expect(farm.runtimeDependencies == [dep.id])
  }

  @Test func `a library of a package that was asked for goes before one that came along`() throws {
    let directory = try TemporaryDirectory()
    var own = try Sketch("own-amd64-1-1")
    try own.compile("scratch/libdep.so.1", ["-Wl,-soname,libdep.so.1"], in: directory.path)
    try FileManager.default.moveItem(
      atPath: directory.path.appending("scratch_libdep.so.1").string, toPath: directory.path.appending("libdep.so.1").string)
    own.tree.remove(try TreePath(parsing: "scratch"))
    try own.compile("out/bin/program", ["-l:libdep.so.1"], in: directory.path)
    for named in ["a-amd64-1-1", "b-amd64-1-1", "b-amd64-1-2"] {
      for order in [["a-amd64-1-1", "b-amd64-1-1", "b-amd64-1-2"], ["b-amd64-1-2", "b-amd64-1-1", "a-amd64-1-1"]] {
        var others = PackageSet()
        for package in order {
          let other = try Sketch(package, ["out/lib/libdep.so.1": ""])
          try others.insert(other.id, other.tree, isNamed: package == named)
        }
        #expect(try links(of: own, others) == ["libdep.so.1": "/ro/\(named)/out/lib/libdep.so.1"])
        #expect(others.packages.first?.description == named)
      }
    }
  }

  @Test func `two libraries of one name go to the files that mean them`() throws {
    let directory = try TemporaryDirectory()
    var own = try Sketch("own-amd64-1-1")
    try own.compile("out/lib/a/libx.so", ["-Wl,-soname,libx.so"], in: directory.path)
    try FileManager.default.moveItem(
      atPath: directory.path.appending("out_lib_a_libx.so").string, toPath: directory.path.appending("libx.so").string)
    try own.compile("out/lib/b/libx.so", ["-Wl,-soname,libx.so"], in: directory.path)
    try own.compile("out/bin/first", ["-lx", "-Wl,-rpath,/usr/lib/a"], in: directory.path)
    try own.compile("out/bin/second", ["-lx", "-Wl,-rpath,/usr/lib/b"], in: directory.path)
    let farm = try LibraryFarm(
      of: own.id, tree: own.tree, objects: try LibraryFarm.objects(in: own.tree), dependencies: PackageSet())
    #expect(farm.links.values.map(\.inView) == ["/ro/own-amd64-1-1/out/lib/a/libx.so"])
    #expect(farm.directoriesBeforeFarm == [try TreePath(parsing: "out/bin/second"): ["/ro/own-amd64-1-1/out/lib/b"]])
  }

  @Test func `a library beside another of its name makes its package a dependency, too`() throws {
    let directory = try TemporaryDirectory()
    var others: [Sketch] = []
    for name in ["a", "b"] {
      var other = try Sketch("lib\(name)-amd64-1-1")
      try other.compile("out/lib/\(name)/libx.so", ["-Wl,-soname,libx.so"], in: directory.path)
      others.append(other)
    }
    try FileManager.default.moveItem(
      atPath: directory.path.appending("out_lib_a_libx.so").string, toPath: directory.path.appending("libx.so").string)
    var own = try Sketch("own-amd64-1-1")
    try own.compile("out/bin/first", ["-lx", "-Wl,-rpath,/ro/liba-amd64-1-1/out/lib/a"], in: directory.path)
    try own.compile("out/bin/second", ["-lx", "-Wl,-rpath,/ro/libb-amd64-1-1/out/lib/b"], in: directory.path)
    let farm = try LibraryFarm(
      of: own.id, tree: own.tree, objects: try LibraryFarm.objects(in: own.tree), dependencies: try set(others[0], others[1]))
    #expect(farm.runtimeDependencies.map(\.name).sorted() == ["liba", "libb"])
    #expect(farm.reasons.reasons(for: others[1].id) == ["library libx.so of out/bin/second"])
  }

  @Test func `a missing library is an error that names file and library`() throws {
    let directory = try TemporaryDirectory()
    var own = try Sketch("own-amd64-1-1")
    try own.compile("x/libgone.so", ["-Wl,-soname,libgone.so"], in: directory.path)
    try FileManager.default.moveItem(
      atPath: directory.path.appending("x_libgone.so").string, toPath: directory.path.appending("libgone.so").string)
    own.tree.remove(try TreePath(parsing: "x"))
    try own.compile("out/lib/libuser.so", ["-lgone"], in: directory.path)
    let sketch = own
    #expect(throws: BuildError.missingDependency("libgone.so", of: "own-amd64-1-1: out/lib/libuser.so")) {
      try links(of: sketch, PackageSet())
    }
    #expect(try links(of: sketch, PackageSet(), optional: ["libgone.so"]).isEmpty)
  }

  @Test func `debug symbols and object files need no library`() throws {
    let directory = try TemporaryDirectory()
    var own = try Sketch("own-amd64-1-1", ["out/lib/broken.txt": "text"])
    try own.compile("out/lib/debug/x.so", [], in: directory.path)
    try own.compile("out/lib/fine.so", [], in: directory.path)
    own.tree.insertFile(
      try TreePath(parsing: "out/lib/module.ko"),
      [0x7f, 0x45, 0x4c, 0x46, 2, 1, 1] + Array(repeating: 0, count: 9) + [1, 0] + Array(repeating: 0, count: 46))
    #expect(try LibraryFarm.objects(in: own.tree).map(\.path.description) == ["out/lib/fine.so"])
  }
}

@Suite struct WrappersTests {
  private func wrapped(_ sketch: Sketch, _ closure: [Sketch] = [], libraries: [String] = []) throws -> Sketch {
    var set = PackageSet(), result = sketch
    for other in closure { try set.insert(other.id, other.tree) }
    let names = try libraries.map { try EntryName($0) }
    try Wrappers(of: sketch.id, tree: sketch.tree, closure: set, libraries: names).insert(into: &result.tree)
    return result
  }

  @Test func `programs without anything to set are links, and links among them stay links`() throws {
    let sketch = try Sketch(
      "own-amd64-1-1", ["out/bin/no-program": "text"],
      programs: ["out/bin/a1", "out/sbin/b", "out/sbin/a1", "out/lib/own/hidden", "out/bin/bash"],
      links: [
        "out/bin/a": "a1", "out/sbin/c": "../bin/a1", "out/bin/d": "../lib/own/hidden", "out/bin/dangling": "nothing",
        "out/bin/sh": "bash",
        "out/bin/elsewhere": "/ro/other-amd64-1-1/out/bin/x", "out/bin/round": "round2", "out/bin/round2": "round",
      ])
    let result = try wrapped(sketch)
    let expected = [
      "bin/a1": "../out/bin/a1", "bin/a": "a1", "bin/b": "../out/sbin/b", "bin/c": "a1", "bin/d": "../out/bin/d", "bin/sh": "bash",
      "bin/bash": "../out/bin/bash", "bin/elsewhere": "../out/bin/elsewhere",
    ]
    #expect(result.tree.names(in: PackageLayout.bin).map(\.description) == expected.keys.map { "\($0.dropFirst(4))" }.sorted())
    for (path, target) in expected { #expect(try result.link(path) == target, "\(path)") }
  }

  @Test func `a definition's own wrapper stays`() throws {
    let result = try wrapped(try Sketch("own-amd64-1-1", ["bin/a": "mine"], programs: ["out/bin/a"]))
    #expect(try result.tree.contents(of: #require(result.tree[try TreePath(parsing: "bin/a")]), limit: 10) == Array("mine".utf8))
  }

  @Test func `perl finds its modules, and scripts those of their closure`() throws {
    let perl = try Sketch(
      "perl-amd64-5.36-1", ["out/share/perl/5.36.0/strict.pm": "", "out/lib/x86_64-linux-gnu/perl-base/x.pm": ""],
      programs: ["out/bin/perl"], links: ["out/share/perl/5.36": "5.36.0"])
    let wrapped = try wrapped(perl)
    #expect(
      try wrapped.payload("bin/perl")
        == "k/ro/perl-amd64-5.36-1/out/bin/perl|PERL5LIB||/ro/perl-amd64-5.36-1/out/lib/x86_64-linux-gnu/perl-base:/ro/perl-amd64-5.36-1/out/share/perl/5.36.0|||"
    )
    var script = try Sketch("script-amd64-1-1", ["out/share/perl5/Own.pm": ""], programs: ["out/bin/elf"])
    script.tree.insertFile(
      try TreePath(parsing: "out/bin/s"), Array("#!/ro/perl-amd64-5.36-1/bin/perl -w\n".utf8), permissions: 0o755)
    let module = try Sketch("module-amd64-1-1", ["out/lib/perl5/M.pm": ""])
    let result = try self.wrapped(script, [perl, module])
    #expect(
      try result.payload("bin/s")
        == "k/ro/script-amd64-1-1/out/bin/s|PERL5LIB|/ro/script-amd64-1-1/out/share/perl5:/ro/module-amd64-1-1/out/lib/perl5||||")
    #expect(try result.link("bin/elf") == "../out/bin/elf")
  }

  @Test func `python sees its own directory, its scripts the modules of their closure`() throws {
    let python = try Sketch(
      "python3-amd64-3.11-1", ["out/lib/python3/dist-packages/x.py": ""], programs: ["out/bin/python3.11"],
      links: ["out/bin/python3": "python3.11"])
    let interpreter = try wrapped(python)
    #expect(try interpreter.payload("bin/python3.11") == "d/ro/python3-amd64-3.11-1/out/bin/python3.11||")
    #expect(try interpreter.link("bin/python3") == "python3.11")
    var script = try Sketch("script-amd64-1-1", ["out/lib/python3.11/site-packages/own.py": ""])
    script.tree.insertFile(try TreePath(parsing: "out/bin/s"), Array("#!/usr/bin/env python3\n".utf8), permissions: 0o755)
    let result = try wrapped(script, [python])
    #expect(
      try result.payload("bin/s")
        == "k/ro/script-amd64-1-1/out/bin/s|PYTHONPATH|/ro/script-amd64-1-1/out/lib/python3.11/site-packages||||")
  }

  @Test func `what a program is linked to decides what it is shown`() throws {
    let ncurses = try Sketch("ncurses-amd64-6.4-1", ["out/share/terminfo/x/xterm": "", "out/lib/terminfo/v/vt100": ""])
    let file = try Sketch("file-amd64-5-1", ["out/share/misc/magic.mgc": ""])
    let icons = try Sketch("icons-amd64-1-1", ["out/share/icons/x": ""])
    let program = try Sketch("own-amd64-1-1", programs: ["out/bin/p"])
    let closure = [ncurses, file, icons]
    #expect(try wrapped(program, closure).link("bin/p") != nil)
    #expect(
      try wrapped(program, closure, libraries: ["libtinfo.so.6"]).payload("bin/p")
        == "k/ro/own-amd64-1-1/out/bin/p|TERMINFO_DIRS|/ro/ncurses-amd64-6.4-1/out/share/terminfo:/ro/ncurses-amd64-6.4-1/out/lib/terminfo||||"
    )
    #expect(
      try wrapped(program, closure, libraries: ["libmagic.so.1"]).payload("bin/p")
        == "k/ro/own-amd64-1-1/out/bin/p|MAGIC|/ro/file-amd64-5-1/out/share/misc/magic.mgc||||")
    #expect(
      try wrapped(program, closure, libraries: ["libgio-2.0.so.0"]).payload("bin/p")
        == "k/ro/own-amd64-1-1/out/bin/p|XDG_DATA_DIRS|/ro/icons-amd64-1-1/out/share||/usr/local/share:/usr/share||")
  }
}

@Suite struct RuntimeDependencyTests {
  @Test func `scripts, links and pkg-config modules name packages`() throws {
    var sketch = try Sketch(
      "own-amd64-1-1", ["out/lib/pkgconfig/own.pc": "Name: x\nRequires: a >= 1.2, b\nRequires.private: c\nLibs: -lz\n"],
      links: ["out/lib/x": "/ro/linked-amd64-1-1/out/x", "out/lib/y": "/ro/own-amd64-1-1/out/y", "out/lib/z": "../z"])
    sketch.tree.insertFile(try TreePath(parsing: "out/bin/s"), Array("#!/ro/shell-amd64-1-1/bin/sh\n".utf8), permissions: 0o755)
    sketch.tree.insertFile(try TreePath(parsing: "out/share/s"), Array("#!/ro/unused-amd64-1-1/bin/sh\n".utf8), permissions: 0o644)
    let found = RuntimeDependencies(of: sketch.id, tree: sketch.tree)
    #expect(try found.interpreters(of: []).packages.map(\.name) == ["shell"])
    #expect(found.linkTargets().packages.map(\.name) == ["linked"])
    var set = PackageSet()
    for (package, module) in [("libab-amd64-1-1", "out/lib/pkgconfig/a.pc"), ("libc-amd64-1-1", "out/share/pkgconfig/c.pc")] {
      let other = try Sketch(package, [module: ""])
      try set.insert(other.id, other.tree)
    }
    #expect(try found.pkgConfigRequirements(in: set).packages.map(\.name).sorted() == ["libab", "libc"])
  }

  @Test func `the closure leaves the package itself out`() async throws {
    let own = try PackageID(parsing: "own-amd64-1-1"), a = try PackageID(parsing: "a-amd64-1-1"),
      b = try PackageID(parsing: "b-amd64-1-1")
    let closure = try await RuntimeDependencies.closure(of: [b], without: own) { package in
      PackageMetadata(runtimeDependencies: package == b ? [a, own] : [])
    }
    #expect(closure == [a, b])
  }
}

@Suite struct PackageTreeTests {
  @Test func `a hard link that sorts before its file changes roles with it`() throws {
    let directory = try TemporaryDirectory()
    var tree = PackageTree(modificationTime: 1)
    tree.insertFile(try TreePath(parsing: "z/file"), Array("contents".utf8))
    for path in ["a/link", "zz/link"] {
      tree.insert(
        .init(
          entry: TreeEntry(
            path: try TreePath(parsing: path), kind: .hardLink(to: try TreePath(parsing: "z/file")), permissions: 0o644)))
    }
    let path = directory.path.appending("image")
    let file = try FileDescriptor.open(path, .readWrite, options: [.create], permissions: .ownerReadWrite)
    var stream = tree.stream()
    _ = try ImageWriter().write(&stream, to: file, path: path)
    try file.close()
    let image = try PackageImage(path: path)
    let inodes = try ["a/link", "z/file", "zz/link"].map { name in
      let node = try #require(try image.node(at: TreePath(parsing: name)))
      #expect(try image.contents(of: node, limit: 100) == Array("contents".utf8))
      return try image.attributes(of: node).inodeNumber
    }
    #expect(Set(inodes).count == 1)
  }
}
