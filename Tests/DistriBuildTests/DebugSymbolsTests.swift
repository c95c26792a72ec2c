// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore
import Foundation
import SystemPackage
import TestSupport
import Testing

@testable import DistriBuild

/// Runs a program of the host.
private func run(_ program: String, _ arguments: [String]) throws {
  let process = Process()
  process.executableURL = URL(filePath: "/usr/bin/\(program)")
  process.arguments = arguments
  try process.run()
  process.waitUntilExit()
  try #require(process.terminationStatus == 0, "\(program) \(arguments)")
}

private func write(_ text: String, to path: String) throws {
  try FileManager.default.createDirectory(
    atPath: (path as NSString).deletingLastPathComponent, withIntermediateDirectories: true)
  try Data(text.utf8).write(to: URL(filePath: path))
}

/// A program of two files and a header, one of them generated, as they lie in a folder.
private func makeSources(in folder: FilePath) throws {
  try write("#include \"../include/value.h\"\n", to: "\(folder)/source/src/main.c")
  try write(
    "static int helper(void) { return 1; }\nvoid _start(void) { helper(); for (;;) {} }\n", to: "\(folder)/source/include/value.h")
  try write("int generated(void) { return 2; }\n", to: "\(folder)/build/gen/table.c")
}

private func compile(_ folder: FilePath, _ options: [String], to result: String) throws {
  try run(
    "gcc",
    [
      "-nostdlib", "-static", "-Wl,--build-id=sha1", "-o", result, "\(folder)/source/src/main.c", "\(folder)/build/gen/table.c",
      "-ffile-prefix-map=\(folder)/source=/usr/src/sample-amd64-1-1", "-ffile-prefix-map=\(folder)/build=/build",
    ] + options)
}

@Suite struct DebugLineReaderTests {
  @Test(arguments: ["-gdwarf-5", "-gdwarf-4", "-gdwarf-2", "-gdwarf64"])
  func `all source files of a program are named, in every version of the format`(option: String) throws {
    let folder = try TemporaryDirectory()
    try makeSources(in: folder.path)
    let program = "\(folder.path)/program"
    try compile(folder.path, option == "-gdwarf64" ? ["-g", option] : [option], to: program)
    #expect(try ELFSections(path: FilePath(program)).hasDebugInformation)
    let names = try DebugLineReader(path: FilePath(program)).fileNames()
    #expect(names.contains("/usr/src/sample-amd64-1-1/src/main.c"))
    #expect(names.contains { $0.hasSuffix("include/value.h") && $0.hasPrefix("/usr/src/sample-amd64-1-1/src/") })
    #expect(names.contains("/build/gen/table.c"))
  }

  @Test func `a program without symbols has none, and damage is no trap`() throws {
    let folder = try TemporaryDirectory()
    try makeSources(in: folder.path)
    let program = FilePath("\(folder.path)/program")
    try compile(folder.path, [], to: program.string)
    #expect(try !ELFSections(path: program).hasDebugInformation)
    #expect(try DebugLineReader(path: program).fileNames().isEmpty)
    try compile(folder.path, ["-g"], to: program.string)
    let bytes = Array(try Data(contentsOf: URL(filePath: program.string)))
    let cut = folder.path.appending("cut")
    for count in stride(from: 0, to: bytes.count, by: 97) {
      try Data(bytes.prefix(count)).write(to: URL(filePath: cut.string))
      _ = try DebugLineReader(path: cut).fileNames()
    }
    // Whatever a byte of the line programs says, reading ends.
    let section = try #require(try ELFSections(path: program)[".debug_line"])
    let lines = Array(bytes[Int(section.offset)..<Int(section.offset + section.byteCount)])
    for index in lines.indices {
      for value: UInt8 in [0, 0x7f, 0xff] {
        var damaged = lines
        damaged[index] = value
        _ = DebugLineReader(lines: damaged, lineTexts: [], texts: []).fileNames()
      }
    }
  }
}

/// Builds by a script that compiles on the host; symbols are split by the host's binutils, in the sandbox's place.
private final class SymbolBench {
  let bench: Bench
  let package: PackageID

  /// - Parameter options: of the compiler; nil for a package without programs.
  init(_ options: [String]?) async throws {
    package = try PackageID(parsing: "sample-amd64-1-1")
    @Sendable func outside(_ path: String, _ destination: String, _ plan: SandboxPlan) -> String {
      for case .bind(let from, "/dest/debug", _, _) in plan.operations where path.hasPrefix("/dest/debug/") {
        return from.string + path.dropFirst("/dest/debug".count)
      }
      return path.replacingOccurrences(of: "/dest/tmp/", with: destination + "/")
    }
    func tool(_ name: String) -> ScriptedSandbox.Program {
      { arguments, destination, plan in
        let words = arguments.dropFirst().map { word -> String in
          guard let equals = word.firstIndex(of: "="), word.hasPrefix("--") else { return outside(word, destination, plan) }
          return word[...equals] + outside(String(word[word.index(after: equals)...]), destination, plan)
        }
        try run(name, words)
        return 0
      }
    }
    let install: ScriptedSandbox.Program = { _, destination, plan in
      let prefix = "\(destination)/ro/sample-amd64-1-1/out"
      try write("data\n", to: "\(prefix)/share/data")
      guard let options else { return 0 }
      func place(_ inside: FilePath) throws -> FilePath {
        try #require(
          plan.operations.compactMap { operation in
            if case .bind(let from, inside, _, _) = operation { from } else { nil }
          }.last)
      }
      let source = try place("/usr/src/sample-amd64-1-1"), build = try place("/build")
      #expect(source.removingLastComponent() == build.removingLastComponent())
      try makeSources(in: source.removingLastComponent())
      try write("", to: "\(prefix)/bin/program")
      try compile(source.removingLastComponent(), options, to: "\(prefix)/bin/program")
      try write("object", to: "\(build)/left-over.o")
      return 0
    }
    bench = try Bench(programs: ["install": install, "objcopy": tool("objcopy"), "strip": tool("strip")])
    try await bench.add("binutils-amd64-1-1", ["out/bin/strip"])
  }

  func build(_ rest: String = "") async throws {
    let text = "source: \"empty://\" version: \"1-1\" build_step: { argv: \"install\" } dep: \"binutils\" \(rest)"
    #expect(try await bench.build(text) == [package])
  }

  func section(_ section: LocalStore.Section) throws -> LocalStore { try LocalStore(path: bench.store.path, section: section) }
}

@Suite struct DebugSymbolsTests {
  @Test func `symbols become a package by build id, and the program leads there`() async throws {
    let sample = try await SymbolBench(["-g"])
    try await sample.build()
    let image = try sample.bench.store.image(of: sample.package)
    #expect(
      try image.kind(of: TreePath(parsing: "debug")) == .symbolicLink(target: Array("/ro-dbg/sample-amd64-1-1/debug".utf8)))
    let debug = try sample.section(.debug).image(of: sample.package)
    let directory = try TreePath(parsing: "debug/.build-id")
    let first = try #require(try debug.names(in: directory).first)
    let name = try #require(try debug.names(in: directory.appending(first)).first)
    #expect(name.description.hasSuffix(".debug"))
    let id = "\(first)\(name)".replacingOccurrences(of: ".debug", with: "")
    let node = try #require(try image.node(at: TreePath(parsing: "out/bin/program")))
    let bytes = try image.contents(of: node, limit: 1 << 20)
    #expect(try ELFFile(bytes, named: "program").map { hexadecimal($0.buildID) } == id)
    let sections = try ELFSections { offset, count throws(BuildError) in
      Array(bytes.dropFirst(Int(clamping: offset)).prefix(count))
    }
    #expect(sections[".debug_info"] == nil && sections[".gnu_debuglink"] != nil)
  }

  @Test func `the source package has what was unpacked and the generated files that symbols name`() async throws {
    let sample = try await SymbolBench(["-g"])
    try await sample.build()
    let source = try sample.section(.sources).image(of: sample.package)
    #expect(try source.kind(of: TreePath(parsing: "gen/table.c")) == .file)
    #expect(try source.kind(of: TreePath(parsing: "src/main.c")) == .file)
    #expect(try source.kind(of: TreePath(parsing: "left-over.o")) == nil)
  }

  @Test func `a package of programs without symbols is refused, unless the definition says why`() async throws {
    let sample = try await SymbolBench([])
    await #expect {
      try await sample.build()
    } throws: {
      "\($0)".contains("out/bin/program") && "\($0)".contains("ack_missing_dwarf") && "\($0)".contains("-g")
    }
    #expect(try sample.bench.store.packages().map(\.name) == ["binutils"])
    try await sample.build("ack_missing_dwarf: \"written by hand\"")
    #expect(try !sample.section(.debug).contains(sample.package))
    #expect(try sample.bench.store.image(of: sample.package).kind(of: TreePath(parsing: "debug")) == nil)
  }

  @Test func `a package without programs needs no symbols`() async throws {
    let sample = try await SymbolBench(nil)
    try await sample.build()
    #expect(try !sample.section(.debug).contains(sample.package))
    #expect(try !sample.section(.sources).contains(sample.package))
  }

  @Test func `what a killed build left in the other sections is replaced`() async throws {
    let sample = try await SymbolBench(["-g"])
    let debug = try sample.section(.debug)
    try await debug.transaction { staging in
      var tree = try package(["left-over"]).stream()
      try staging.stage(&tree, of: sample.package)
    }
    try await sample.build()
    #expect(try debug.image(of: sample.package).names(in: .root).map(\.description) == ["debug"])
  }

  @Test func `what steps write into the source stays out of the source package`() async throws {
    let folder = try TemporaryDirectory()
    let layout = BuildLayout(
      package: try PackageID(parsing: "sample-amd64-1-1"), definition: folder.path, below: folder.path, buildsInTree: true)
    try makeSources(in: folder.path)
    let before = try SourcePackage.paths(in: layout.source)
    try write("made", to: "\(layout.source)/src/made.o")
    try FileManager.default.linkItem(atPath: "\(layout.source)/src/main.c", toPath: "\(layout.source)/a-link.c")
    let tree = try SourcePackage(layout: layout, original: before).tree(for: DebugSymbols(), modificationTime: 7)
    #expect(tree.names(in: .root).map(\.description) == ["include", "src"])
    #expect(tree.names(in: try TreePath(parsing: "src")).map(\.description) == ["main.c"])
    let file = try #require(tree[try TreePath(parsing: "src/main.c")])
    #expect(file.entry.modificationTime == 7 && file.entry.permissions == 0o644)
    #expect(String(decoding: try tree.contents(of: file, limit: 100), as: UTF8.self).contains("value.h"))
  }
}
