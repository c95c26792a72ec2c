// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore
import Foundation
import SystemPackage
import TestSupport
import Testing

@testable import DistriBuild

/// A generator whose numbers are the same in every run.
struct SeededGenerator: RandomNumberGenerator {
  var state: UInt64
  mutating func next() -> UInt64 {
    state &+= 0x9e37_79b9_7f4a_7c15
    var z = state
    z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
    z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
    return z ^ (z >> 31)
  }
}

@Suite struct ELFFileTests {
  static let compiled = ["dynamic", "library", "static", "object"]

  /// Compiles a small program or library of each kind.
  private func compile(_ kind: String, in directory: FilePath) throws -> FilePath {
    let source = directory.appending("source.c"), result = directory.appending(kind)
    try write(Array("int answer(void) { return 42; }\nint main(void) { return answer(); }\n".utf8), to: source)
    let options: [String] =
      switch kind {
      case "dynamic": ["-Wl,-rpath,/ro/some/lib:$ORIGIN/../lib", "-lm", "-Wl,--no-as-needed", "-lz"]
      case "library": ["-shared", "-fPIC", "-Wl,-soname,libanswer.so.4", "-Wl,--disable-new-dtags,-rpath,/old"]
      case "static": ["-static"]
      default: ["-c"]
      }
    let process = Process()
    process.executableURL = URL(filePath: "/usr/bin/gcc")
    process.arguments = ["-o", result.string, source.string, "-Wl,--build-id=0x0123456789abcdef"] + options
    try process.run()
    process.waitUntilExit()
    try #require(process.terminationStatus == 0)
    return result
  }

  @Test func `a dynamic program tells interpreter, libraries, RUNPATH and build id`() throws {
    let directory = try TemporaryDirectory()
    let elf = try #require(try ELFFile(path: try compile("dynamic", in: directory.path)))
    #expect(elf.kind == .shared && elf.is64Bit && elf.isDynamic)
    #expect(elf.architecture == .host)
    #expect(elf.interpreter == "/lib64/ld-linux-x86-64.so.2")
    #expect(elf.needed.contains("libz.so.1") && elf.needed.contains("libc.so.6"))
    #expect(elf.searchPath == ["/ro/some/lib", "$ORIGIN/../lib"])
    #expect(elf.rpath == nil && elf.soname == nil)
    #expect(elf.buildID == [0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef])
  }

  @Test func `a library tells its soname, and an old RPATH counts where there is no RUNPATH`() throws {
    let directory = try TemporaryDirectory()
    let elf = try #require(try ELFFile(path: try compile("library", in: directory.path)))
    #expect(elf.soname == "libanswer.so.4")
    #expect(elf.rpath == "/old" && elf.runpath == nil)
    #expect(elf.searchPath == ["/old"])
    #expect(elf.interpreter == nil)
  }

  @Test func `static programs and object files are not dynamic`() throws {
    let directory = try TemporaryDirectory()
    let program = try #require(try ELFFile(path: try compile("static", in: directory.path)))
    #expect(program.kind == .executable && !program.isDynamic && program.needed.isEmpty)
    let object = try #require(try ELFFile(path: try compile("object", in: directory.path)))
    #expect(object.kind == .relocatable && !object.isDynamic)
  }

  @Test func `what is no ELF file is nil`() throws {
    #expect(try ELFFile([], named: "empty") == nil)
    #expect(try ELFFile(Array("#!/bin/sh\n".utf8), named: "script") == nil)
    #expect(try ELFFile([0x7f, 0x45, 0x4c, 0x46, 2, 2] + Array(repeating: 0, count: 64), named: "big-endian") == nil)
  }

  @Test func `every library of this machine agrees with readelf`() throws {
    let folder = "/usr/lib/x86_64-linux-gnu"
    let names = try FileManager.default.contentsOfDirectory(atPath: folder).filter { $0.contains(".so.") }.sorted().prefix(60)
    try #require(names.count > 20)
    for name in names {
      let path = "\(folder)/\(name)"
      guard let target = try? FileManager.default.destinationOfSymbolicLink(atPath: path), !target.hasPrefix("/") else { continue }
      let file = FilePath("\(folder)/\(target)")
      guard FileManager.default.fileExists(atPath: file.string), let elf = try? ELFFile(path: file) else { continue }
      let text = try execute("/usr/bin/readelf", ["readelf", "-dW", file.string], environment: ["LC_ALL": "C"]).1
      let needed = text.split(separator: "\n").filter { $0.contains("(NEEDED)") }.compactMap { line in
        line.split(separator: "[").last?.split(separator: "]").first.map(String.init)
      }
      #expect(elf.needed == needed, "\(name)")
    }
  }

  @Test(arguments: compiled) func `a mutated file is an error or a value, never a crash`(_ kind: String) throws {
    let directory = try TemporaryDirectory()
    let original = Array(try Data(contentsOf: URL(filePath: try compile(kind, in: directory.path).string)))
    var generator = SeededGenerator(state: 2018)
    var refused = 0
    for round in 0..<400 {
      var bytes = original
      switch round % 4 {
      case 0: bytes = Array(bytes.prefix(Int.random(in: 0..<min(4096, bytes.count), using: &generator)))
      case 1:
        for _ in 0..<8 {
          bytes[Int.random(in: 4..<min(1024, bytes.count), using: &generator)] = .random(in: 0...255, using: &generator)
        }
      case 2:
        // A number of the headers becomes as large as can be.
        let offset = Int.random(in: 2..<60, using: &generator) * 8
        for index in offset..<min(offset + 8, bytes.count) { bytes[index] = 0xff }
      default:
        // Numbers anywhere: dynamic section, notes, strings.
        for _ in 0..<64 { bytes[Int.random(in: 64..<bytes.count, using: &generator)] = .random(in: 0...255, using: &generator) }
      }
      switch Result(catching: { () throws(BuildError) in try ELFFile(bytes, named: "mutant") }) {
      case .success(let elf): #expect((elf?.needed.count ?? 0) <= 4096)
      case .failure(.invalidPackage): refused += 1
      case .failure(let error): throw error
      }
    }
    #expect(refused > 0)
  }
}
