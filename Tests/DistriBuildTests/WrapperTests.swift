// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore
import Foundation
import SystemPackage
import TestSupport
import Testing

@testable import DistriBuild

/// Runs a program with exactly these arguments, the first being its own name, and this environment.
func execute(_ program: FilePath, _ arguments: [String], environment: [String: String] = [:]) throws -> (Int32, String, String) {
  let process = Process()
  // `exec -a` gives a name of our choice; env -i takes the rest of the environment away.
  process.executableURL = URL(filePath: "/usr/bin/env")
  let script = #"name=$1 program=$2; shift 2; exec -a "$name" "$program" "$@""#
  process.arguments =
    ["-i"] + environment.map { "\($0.key)=\($0.value)" }.sorted()
    + ["/bin/bash", "--norc", "-c", script, "bash", arguments[0], program.string] + arguments.dropFirst()
  let output = Pipe(), errors = Pipe()
  process.standardOutput = output
  process.standardError = errors
  try process.run()
  let words = output.fileHandleForReading.readDataToEndOfFile(), complaint = errors.fileHandleForReading.readDataToEndOfFile()
  process.waitUntilExit()
  return (process.terminationStatus, String(decoding: words, as: UTF8.self), String(decoding: complaint, as: UTF8.self))
}

func write(_ bytes: [UInt8], to path: FilePath, executable: Bool = false) throws {
  try Data(bytes).write(to: URL(filePath: path.string))
  if executable { try FileManager.default.setAttributes([.posixPermissions: 0o755], ofItemAtPath: path.string) }
}

@Suite struct WrapperStubTests {
  /// Compiles Wrapper/wrapper.c with the compiler of this machine.
  static func freshCode(into directory: FilePath) throws -> [UInt8] {
    let generate = URL(filePath: #filePath).appending(path: "../../../Sources/DistriBuild/Wrapper/generate").standardized
    let process = Process()
    process.executableURL = generate
    process.arguments = [directory.appending("code").string]
    try process.run()
    process.waitUntilExit()
    #expect(process.terminationStatus == 0)
    return Array(try Data(contentsOf: URL(filePath: directory.appending("code").string)))
  }

  struct Case: Sendable, CustomTestStringConvertible {
    var held: String?
    var variable: WrapperStub.Variable
    var expected: String
    var testDescription: String { "\(held ?? "unset") → \(expected)" }
  }

  @Test(arguments: [
    Case(held: nil, variable: .init(name: "LIST", front: "/a:/b"), expected: "/a:/b"),
    Case(held: "", variable: .init(name: "LIST", front: "/a"), expected: "/a"),
    Case(held: "/x", variable: .init(name: "LIST", front: "/a:/b"), expected: "/a:/b:/x"),
    Case(held: "/a:/b:/x", variable: .init(name: "LIST", front: "/a:/b"), expected: "/a:/b:/x"),
    Case(held: "/a:/bb", variable: .init(name: "LIST", front: "/a:/b"), expected: "/a:/b:/a:/bb"),
    Case(held: nil, variable: .init(name: "LIST", front: "/a", defaultValue: "/d"), expected: "/a:/d"),
    Case(held: "", variable: .init(name: "LIST", front: "/a", defaultValue: "/d"), expected: "/a:/d"),
    Case(held: "/x", variable: .init(name: "LIST", front: "/a", defaultValue: "/d"), expected: "/a:/x"),
    Case(held: "/x", variable: .init(name: "LIST", back: "/z"), expected: "/x:/z"),
    Case(held: "/x:/z", variable: .init(name: "LIST", back: "/z"), expected: "/x:/z"),
    Case(held: "/x/z", variable: .init(name: "LIST", back: "/z"), expected: "/x/z:/z"),
    Case(held: nil, variable: .init(name: "LIST", front: "/a", back: "/z"), expected: "/a:/z"),
    Case(held: "/x", variable: .init(name: "LIST", front: "/a", back: "/z", defaultValue: "/d"), expected: "/a:/x:/z"),
  ])
  func `a wrapper extends a variable`(_ test: Case) throws {
    let directory = try TemporaryDirectory()
    let wrapper = directory.path.appending("printenv")
    let stub = WrapperStub(program: "/usr/bin/printenv", variables: [test.variable])
    try write(try stub.image(for: .amd64), to: wrapper, executable: true)
    var environment = ["LISTED": "other", "LIS": "other"]
    environment["LIST"] = test.held
    let (status, output, _) = try execute(wrapper, ["printenv", "LIST", "LISTED", "LIS"], environment: environment)
    #expect(status == 0)
    #expect(output == "\(test.expected)\nother\nother\n")
  }

  @Test func `the code that is checked in behaves as what is compiled of its source`() throws {
    let directory = try TemporaryDirectory()
    let fresh = try Self.freshCode(into: directory.path)
    let stub = WrapperStub(
      program: "/usr/bin/printenv",
      variables: [
        .init(name: "A", front: "1", back: "2", defaultValue: "3"), .init(name: "B", front: "4"), .init(name: "C", back: "5"),
      ])
    let image = try stub.image(for: .amd64)
    let payload = image.dropFirst(176 + WrapperCode.amd64.count)
    #expect(Array(image.dropFirst(176).prefix(WrapperCode.amd64.count)) == WrapperCode.amd64)
    var recompiled = Array(image.prefix(176)) + fresh + payload
    for (index, byte) in withUnsafeBytes(of: UInt64(recompiled.count).littleEndian, Array.init).enumerated() {
      recompiled[64 + 32 + index] = byte
      recompiled[64 + 40 + index] = byte
    }
    var outputs: [String] = []
    for (name, bytes) in [("checked-in", image), ("fresh", recompiled)] {
      let path = directory.path.appending(name)
      try write(bytes, to: path, executable: true)
      let (status, output, _) = try execute(path, ["x", "A", "B", "C"], environment: ["B": "b", "A": ""])
      #expect(status == 0)
      outputs.append(output)
    }
    #expect(outputs == ["1:3:2\n4:b\n5\n", "1:3:2\n4:b\n5\n"])
  }

  @Test func `arguments and exit status pass through, also empty and many`() throws {
    let directory = try TemporaryDirectory()
    let wrapper = directory.path.appending("bash")
    let stub = WrapperStub(program: "/bin/bash", variables: [.init(name: "X", front: "y")])
    try write(try stub.image(for: .amd64), to: wrapper, executable: true)
    let many = (0..<2000).map { "argument \($0)" }
    let (status, output, _) = try execute(
      wrapper, ["bash", "-c", #"printf '%s|' "$#" "$1" "$2" "${!#}"; exit 42"#, "b", "", "ü"] + many)
    #expect(status == 42)
    #expect(output == "2002||ü|argument 1999|")
  }

  @Test(arguments: [("given", "given"), ("-sh", "-sh"), ("/some/where/given", "/some/where/given")])
  func `argv[0] stays as given`(_ given: String, _ seen: String) throws {
    #expect(try nameSeen(.asGiven, given) == seen)
  }

  @Test(arguments: [("gcc-12", "/gcc-12"), ("/ro/bin/cc", "/cc"), ("-sh", "/-sh"), ("", "/")])
  func `argv[0] can be put beside the program`(_ given: String, _ ending: String) throws {
    let seen = try nameSeen(.besideProgram, given)
    #expect(seen == "/bin\(ending)")
  }

  private func nameSeen(_ policy: WrapperStub.ArgumentZero, _ given: String) throws -> String {
    let directory = try TemporaryDirectory()
    let wrapper = directory.path.appending("bash")
    try write(try WrapperStub(program: "/bin/bash", argumentZero: policy).image(for: .amd64), to: wrapper, executable: true)
    let (_, output, _) = try execute(wrapper, [given, "-c", "tr '\\0' '\\n' < /proc/$$/cmdline"])
    return String(output.prefix { $0 != "\n" })
  }

  @Test func `a program that is missing is named, with the status of shells`() throws {
    let directory = try TemporaryDirectory()
    let wrapper = directory.path.appending("gone")
    try write(try WrapperStub(program: "/no/such/program").image(for: .amd64), to: wrapper, executable: true)
    let (status, _, complaint) = try execute(wrapper, ["gone"])
    #expect(status == 127)
    #expect(complaint == "/no/such/program: not found\n")
    try write(try WrapperStub(program: "/etc/hostname").image(for: .amd64), to: wrapper, executable: true)
    let (denied, _, words) = try execute(wrapper, ["gone"])
    #expect(denied == 126)
    #expect(words == "/etc/hostname: cannot be executed\n")
  }

  @Test func `a wrapper is a static program of one segment that cannot be written`() throws {
    let bytes = try WrapperStub(program: "/bin/true", variables: [.init(name: "A", front: "b")]).image(for: .amd64)
    let elf = try #require(try ELFFile(bytes, named: "wrapper"))
    #expect(elf.kind == .executable && !elf.isDynamic && elf.interpreter == nil && elf.architecture == .amd64)
    #expect(bytes.count < 2048)
  }

  @Test func `what no program can be given is refused`() {
    #expect(throws: BuildError.self) { try WrapperStub(program: "relative").image(for: .amd64) }
    #expect(throws: BuildError.self) { try WrapperStub(program: "/a\0b").image(for: .amd64) }
    #expect(throws: BuildError.self) { try WrapperStub(program: "/a", variables: [.init(name: "A=B")]).image(for: .amd64) }
    #expect(throws: BuildError.self) { try WrapperStub(program: "/a").image(for: .arm64) }
  }
}
