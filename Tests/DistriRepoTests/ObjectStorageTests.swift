// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore
import Foundation
import SystemPackage
import TestSupport
import Testing

/// A repository in object storage: uploaded files, and nobody who knows what they are. `make test-deps` installs moto into `.build/moto`.
@Suite struct ObjectStorageTests {
  @Test func `a signed repository is uploaded to S3, trusted, installed from and mirrored`() async throws {
    let here = FilePath(#filePath).removingLastComponent()
    let modules = here.removingLastComponent().removingLastComponent().appending(".build/moto")
    try #require(
      FileManager.default.fileExists(atPath: modules.appending("moto").string), "run «make test-deps»: moto is missing")
    // Names with characters that mean something in a URL.
    let scene = try await Scene([
      try PackageFixture("lib-amd64-1.0~rc1+b2-1"), try PackageFixture("nano-amd64-7.2-1", needs: ["lib-amd64-1.0~rc1+b2-1"]),
    ])
    let folder = scene.directory.path
    let trust = ["--trust", folder.appending("trust").string]
    func fetch(_ words: String...) async throws -> ToolProcess.Outcome { try await ToolProcess.run("distri-fetch", words + trust) }
    let keys = folder.appending("keys").string
    #expect(try await ToolProcess.run("distri-fetch", ["keys", "generate", "--out", keys]).status == 0)
    let published = try await ToolProcess.run(
      "distri-fetch", ["publish", scene.store.path.string, "--out", scene.repository.string, "--keys", keys])
    #expect(published.status == 0, "\(published.errors)")

    let server = Process()
    server.executableURL = URL(filePath: "/usr/bin/env")
    server.arguments = ["python3", here.appending("Support/s3.py").string, modules.string, scene.repository.string]
    let (input, output) = (Pipe(), Pipe())
    (server.standardInput, server.standardOutput) = (input, output)
    try server.run()
    defer {
      try? input.fileHandleForWriting.close()
      server.waitUntilExit()
    }
    let url = String(decoding: output.fileHandleForReading.availableData, as: UTF8.self).trimmingCharacters(in: .newlines)
    try #require(url.hasPrefix("http://127.0.0.1:"))

    let root = scene.repository.appending("tuf/root.json").string
    #expect(try await fetch("trust", "init", root, "--repo", url).status == 0)
    let installed = try await fetch("install", "nano", "--repo", url, "--root", scene.machine.string)
    #expect(installed.output == "lib-amd64-1.0~rc1+b2-1\nnano-amd64-7.2-1\n", "\(installed.errors)")
    #expect(try await fetch("verify", "--repo", url, "--root", scene.machine.string).status == 0)
    let copy = folder.appending("copy")
    let mirrored = try await fetch("mirror", "--repo", url, "--out", copy.string)
    #expect(mirrored.status == 0, "\(mirrored.errors)")
    #expect(
      try contents(of: copy.appending("tuf/timestamp.json")) == contents(of: scene.repository.appending("tuf/timestamp.json")))
    let missing = try await fetch("install", "nano", "--repo", url + "-else", "--root", scene.machine.string, "--insecure-unsigned")
    #expect(missing.status == 66 && missing.errors.contains("there is no such file"), "\(missing.errors)")
  }
}
