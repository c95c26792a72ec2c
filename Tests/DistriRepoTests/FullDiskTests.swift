// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriRepo
import DistriStore
import Foundation
import Glibc
import SystemPackage
import TestSupport
import Testing

/// The built `distri-fetch` on a machine whose disk has an end, or cannot be written.
@Suite struct FullDiskTests {
  /// A file system of its own for the machine.
  private struct Disk: ~Copyable {
    let path: FilePath

    init(_ path: FilePath, megabytes: Int) throws {
      self.path = path
      try FileManager.default.createDirectory(atPath: path.string, withIntermediateDirectories: true)
      try #require(mount("tmpfs", path.string, "tmpfs", 0, "size=\(megabytes)m") == 0)
    }

    func makeReadOnly() throws {
      try #require(mount(nil, path.string, nil, UInt(MS_REMOUNT | MS_RDONLY), nil) == 0)
    }

    deinit { umount2(path.string, Int32(MNT_DETACH)) }
  }

  @Test func `a full disk is named, changes nothing, and the next attempt works when there is room`() async throws {
    let scene = try await Scene([
      try PackageFixture("small-amd64-1-1", byteCount: 100_000), try PackageFixture("lib-amd64-1-1", byteCount: 100_000),
      try PackageFixture("large-amd64-1-1", needs: ["lib-amd64-1-1"], byteCount: 3 << 20),
    ])
    let disk = try Disk(scene.machine, megabytes: 8)
    let server = try ScriptedServer.serving(scene.repository)
    defer { server.stop() }
    func fetch(_ words: String...) async throws -> ToolProcess.Outcome {
      try await ToolProcess.run(
        "distri-fetch", words + ["--root", scene.machine.string, "--repo", server.root, "--insecure-unsigned"])
    }
    #expect(try await fetch("install", "small").status == 0)
    let before = try scene.machineStore().files()
    let filling = scene.machine.appending("filling")
    try write(noise(3 << 20), to: filling)
    let full = try await fetch("install", "large")
    #expect(full.status == 74 && full.output.isEmpty)
    #expect(full.errors.hasSuffix(": No space left on device\n"), "\(full.errors)")
    #expect(try scene.machineStore().files() == before)
    let staging = scene.machine.appending("roimg/.staging")
    #expect(try names(in: staging).filter { $0 != "lock" && $0 != "partial" } == [])
    // Others that were on their way are kept for the next attempt; the one that did not fit is not.
    let index = try await Repository(at: scene.repository.string, transport: FileTransport(), options: .unsigned).index
    let large = try #require(index.packages.first { $0.id.name == "large" }?.image?.sha256)
    let name = large.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
    #expect(try !names(in: staging.appending("partial")).contains(name))
    #expect(try await fetch("verify").status == 0)
    // Even without any room left there is a way back, and a way to make room.
    try? write(noise(8 << 20), to: scene.machine.appending("rest"))
    let list = try await ToolProcess.run("distri-fetch", ["list", "--installed", "--root", scene.machine.string])
    #expect(list.output == "small-amd64-1-1\n")
    for file in ["rest", "filling"] { try? FileManager.default.removeItem(atPath: scene.machine.appending(file).string) }
    #expect(try await fetch("install", "large").status == 0)
    withExtendedLifetime(disk.path) {}
  }

  @Test func `a read-only machine is told apart, and can still be asked`() async throws {
    let scene = try await Scene(try smallSet())
    let disk = try Disk(scene.machine, megabytes: 64)
    func fetch(_ words: String...) async throws -> ToolProcess.Outcome {
      try await ToolProcess.run("distri-fetch", words + ["--root", scene.machine.string])
    }
    let source = ["--repo", scene.repository.string, "--insecure-unsigned"]
    #expect(try await ToolProcess.run("distri-fetch", ["install", "lib1", "--root", scene.machine.string] + source).status == 0)
    let before = try scene.machineStore().files()
    try disk.makeReadOnly()
    for words in [["install", "nano"] + source, ["update"] + source, ["remove", "lib1"], ["gc"], ["pin", "lib1"], ["rollback"]] {
      let outcome = try await ToolProcess.run("distri-fetch", words + ["--root", scene.machine.string])
      #expect(outcome.status != 0, "\(words): \(outcome.output)\(outcome.errors)")
      #expect(outcome.status == 66 || outcome.errors.contains("Read-only file system"), "\(words): \(outcome.errors)")
    }
    #expect(try scene.machineStore().files() == before)
    #expect(try await fetch("list", "--installed").output == "lib1-amd64-1.1-2\n")
    #expect(try await fetch("verify").status == 0)
    #expect(try await fetch("generations").status == 0)
    #expect(try await fetch("why", "lib1").status == 0)
  }
}
