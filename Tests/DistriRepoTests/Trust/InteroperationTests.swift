// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore
import Foundation
import SystemPackage
import TestSupport
import Testing

@testable import DistriRepo

/// python-tuf reads what we publish, and we read what it publishes, over HTTP. `make test-deps` installs it into `.build/python-tuf`.
@Suite struct InteroperationTests {
  private static let package = FilePath(#filePath).removingLastComponent().removingLastComponent().removingLastComponent()
    .removingLastComponent()

  private func python(_ arguments: [String]) async throws -> String {
    let script = FilePath(#filePath).removingLastComponent().appending("interop.py")
    let modules = Self.package.appending(".build/python-tuf")
    try #require(
      FileManager.default.fileExists(atPath: modules.appending("tuf").string), "run «make test-deps»: python-tuf is missing")
    let outcome = try await ToolProcess.run(
      "python3", [script.string] + arguments, environment: ["PYTHONPATH": modules.string, "PYTHONDONTWRITEBYTECODE": "1"])
    try #require(outcome.status == 0, "\(outcome.errors)")
    return outcome.output
  }

  private func tufClient(_ directory: FilePath, _ server: RunningServer, _ words: [String]) async throws -> ToolProcess.Outcome {
    try await ToolProcess.run(
      "tuf-client", ["--metadata-dir", directory.appending("trust").string, "--metadata-url", "\(server.root)/metadata/"] + words)
  }

  private func download(_ path: String, _ directory: FilePath, _ server: RunningServer) async throws -> [UInt8] {
    let targets = directory.appending("targets")
    let outcome = try await tufClient(
      directory, server,
      ["--target-name", path, "--target-base-url", "\(server.root)/targets/", "--target-dir", targets.string, "download"])
    try #require(outcome.status == 0, "\(outcome.output)")
    return try contents(of: targets.appending(path.trustName))
  }

  @Test func `our client follows what python-tuf publishes`() async throws {
    let directory = try TemporaryDirectory()
    let theirs = directory.path.appending("theirs")
    try FileManager.default.createDirectory(atPath: theirs.string, withIntermediateDirectories: true)
    _ = try await python(["write", theirs.string])
    let server = try await RunningServer(of: theirs)
    let machine = directory.path.appending("machine")
    try FileManager.default.createDirectory(atPath: machine.appending("targets").string, withIntermediateDirectories: true)
    #expect(try await tufClient(machine, server, ["init", theirs.appending("root.json").string]).status == 0)
    #expect(try await tufClient(machine, server, ["refresh"]).status == 0)
    #expect(try names(in: machine.appending("trust")) == ["root.json", "snapshot.json", "targets.json", "timestamp.json"])
    let files = ["top.txt": "top", "sp ace/%/ü.bin": "odd name", "rsa/file": "delegated to RSA", "hashed": "delegated by hash"]
    for (path, text) in files { #expect(try await download(path, machine, server) == Array(text.utf8), "\(path)") }
    #expect(try await tufClient(machine, server, ["--target-name", "new.txt", "download"]).status == 1)
    // New keys of all kinds.
    _ = try await python(["update", theirs.string])
    #expect(try await download("new.txt", machine, server) == Array("new".utf8))
    for (path, text) in files { #expect(try await download(path, machine, server) == Array(text.utf8), "\(path)") }
    // Not by a byte.
    var timestamp = try contents(of: theirs.appending("metadata/timestamp.json"))
    timestamp[timestamp.count / 2] ^= 1
    try write(timestamp, to: theirs.appending("metadata/timestamp.json"))
    #expect(try await tufClient(machine, server, ["refresh"]).status == 1)
    #expect(try await server.terminate() == 0)
  }

  @Test(arguments: PrivateKey.Kind.allCases) func `python-tuf's client follows what we publish`(kind: PrivateKey.Kind) async throws
  {
    let scene = try await Scene([try PackageFixture("nano-amd64-7.2-2"), try PackageFixture("libc++~x-amd64-1+b.c~d-1")])
    var signing = RepositorySigning(now: .now)
    for role in SignedScene.roles {
      signing.signers[role] = [try Simulation.signer(kind), try Simulation.signer(.ed25519)]
      signing.thresholds[role] = 2
    }
    _ = try await MetadataPublisher(output: scene.repository, signing: signing).publish()
    let server = try await RunningServer(of: scene.repository)
    let trust = scene.directory.path.appending("trust")
    try FileManager.default.createDirectory(atPath: trust.string, withIntermediateDirectories: true)
    try FileManager.default.copyItem(
      atPath: scene.repository.appending("tuf/root.json").string, toPath: trust.appending("root.json").string)
    let all = try scene.store.packages().flatMap { ["pkg/\($0.imageFileName)", "pkg/\($0.metadataFileName)"] }
    let targets = ["pkg/meta.binaryproto"] + all
    let first = try await python(["read", trust.string, server.root] + targets)
    #expect(first == #"{"root": 1, "snapshot": 1, "targets": 1, "timestamp": 1}"# + "\n")
    for path in targets {
      let name = try #require(
        path.addingPercentEncoding(withAllowedCharacters: .alphanumerics.union(CharacterSet(charactersIn: "_.-~"))))
      #expect(try contents(of: trust.appending("targets/\(name)")) == contents(of: scene.repository.appending(path)), "\(path)")
    }
    // The next version, with new keys.
    var next = RepositorySigning(now: .now)
    next.formerRootSigners = signing.signers["root"] ?? []
    for role in SignedScene.roles { next.signers[role] = [try Simulation.signer(kind)] }
    next.rotatesRoot = true
    _ = try await LocalStore.make(at: scene.store.path, [try PackageFixture("nano-amd64-7.2-3")])
    _ = try await Publisher(store: scene.store.path, output: scene.repository).publish()
    _ = try await MetadataPublisher(output: scene.repository, signing: next).publish()
    let second = try await python(["read", trust.string, server.root, "pkg/nano-amd64-7.2-3.squashfs"])
    #expect(second == #"{"root": 2, "snapshot": 2, "targets": 2, "timestamp": 2}"# + "\n")
    #expect(try await server.terminate() == 0)
  }
}
