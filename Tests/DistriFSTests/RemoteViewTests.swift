// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore
import FSTestSupport
import Foundation
import Synchronization
import SystemPackage
import Testing

@testable import DistriFS

/// An image in memory, of which nothing is here until it is fetched.
private final class DistantImage: RemoteByteSource {
  let byteCount: UInt64
  private let bytes: [UInt8]
  private let here = Mutex<Set<UInt64>>([])

  init(_ bytes: [UInt8]) {
    self.bytes = bytes
    byteCount = UInt64(bytes.count)
  }

  private func pages(_ range: Range<UInt64>) -> Set<UInt64> {
    range.isEmpty ? [] : Set(range.lowerBound / 4096...(range.upperBound - 1) / 4096)
  }

  var fetchedByteCount: Int { here.withLock { $0.count * 4096 } }

  func read(into output: inout OutputRawSpan, at offset: UInt64) throws(Errno) {
    let end = offset + UInt64(output.freeCapacity)
    guard end <= byteCount else { throw .ioError }
    guard here.withLock({ $0.isSuperset(of: pages(offset..<end)) }) else { throw .resourceTemporarilyUnavailable }
    for byte in bytes[Int(offset)..<Int(end)] { output.append(byte) }
  }

  func fetch(_ ranges: [Range<UInt64>]) async throws {
    for range in ranges { here.withLock { $0.formUnion(pages(range)) } }
  }

  func expect(_ range: Range<UInt64>) {}

  /// Somebody has made room.
  func forget() { here.withLock { $0 = [] } }
}

private struct DistantPackages: RemotePackageSource {
  var packages: [RemotePackage] = []
  var images: [PackageID: DistantImage] = [:]
  var paths: [PackageID: [String]] = [:]
  let cacheDirectory: FilePath

  func wellKnownPaths(of package: RemotePackage) -> [String] { paths[package.id] ?? [] }

  func image(of package: RemotePackage) -> any RemoteByteSource { images[package.id] ?? DistantImage([]) }

  mutating func add(_ name: String, _ image: FilePath, paths: [String]) throws {
    let bytes = Array(try Data(contentsOf: URL(fileURLWithPath: image.string)))
    let id = try PackageID(parsing: name)
    images[id] = DistantImage(bytes)
    self.paths[id] = paths
    let digest = Array(name.utf8.prefix(32)) + Array(repeating: 1, count: max(0, 32 - name.utf8.count))
    packages.append(
      RemotePackage(id: id, byteCount: UInt64(bytes.count), digest: digest, modificationTime: 1_600_000_000))
  }
}

/// Views of packages that are not here.
@Suite struct RemoteViewTests {
  /// Asks again when what was missing has come, as a mount does.
  private func awaiting<Answer>(_ body: () throws(FileSystemFailure) -> Answer) async throws -> Answer {
    while true {
      do throws(FileSystemFailure) { return try body() } catch {
        guard case .notReady(let isReady) = error else { throw error }
        try await isReady()
      }
    }
  }

  private func find(_ path: String, in fileSystem: PackageFileSystem) async throws -> NodeID {
    var node = NodeID.root
    for name in path.split(separator: "/") {
      let directory = node
      node = try await awaiting { () throws(FileSystemFailure) in
        guard let name = try? EntryName(String(name)) else { throw .errno(.invalidArgument) }
        return try fileSystem.lookUp(name, in: directory).inode
      }
    }
    return node
  }

  private func bytes(of path: String, in fileSystem: PackageFileSystem) async throws -> [UInt8] {
    let node = try await find(path, in: fileSystem)
    return try await awaiting { () throws(FileSystemFailure) in
      var reply = ReplyBuffer()
      try fileSystem.read(node, at: 0, count: 1 << 20, into: &reply)
      return reply.bytes
    }
  }

  @Test func `what an index says that cannot be is left out, and the rest is shown`() async throws {
    let store = try TestStore()
    let image = try await store.makeImage("a-amd64-1-1", ["bin/a": "a"])
    var packages = DistantPackages(cacheDirectory: store.file("cache"))
    let deep = Array(repeating: "d", count: 200).joined(separator: "/")
    try packages.add(
      "a-amd64-1-1", image,
      paths: [
        "bin/a", "bin/a", "bin/../x", "bin/./y", "/bin/z", "bin//w", "bin/\0", "bin", "out", "", "etc/passwd", "out/lib/sub/b",
        "out/lib/sub",
        "out/lib/" + deep, "bin/" + String(repeating: "n", count: 300), "out/share/doc/a/README", "lib/wrong",
      ])
    let fileSystem = try PackageFileSystem(store: store.local, remote: packages)
    let seen = try contents(fileSystem, isHere: { !$0.hasPrefix("/a-amd64-1-1") })
    #expect(seen["/bin/"] == "a")
    #expect(seen["/bin/a"]?.hasSuffix(" ../a-amd64-1-1/bin/a") == true)
    #expect(seen["/lib/"] == "sub")
    #expect(seen["/lib/sub/b"]?.hasSuffix(" ../../a-amd64-1-1/out/lib/sub/b") == true)
    #expect(seen["/share/doc/a/README"]?.hasSuffix(" ../../../a-amd64-1-1/out/share/doc/a/README") == true)
    #expect(seen["/opt/"] == "" && seen["/etc"] == nil)
    #expect(packages.images.values.allSatisfy { $0.fetchedByteCount == 0 })
  }

  @Test(arguments: [["-noI", "-noD", "-noF", "-no-fragments"], ["-comp", "zstd"], ["-comp", "gzip", "-always-use-fragments"]])
  func `what had to make room is fetched again in the middle of use`(options: [String]) async throws {
    let store = try TestStore()
    let text = (0..<60_000).map { "\($0) " }.joined()
    let image = try await store.makeImage("a-amd64-1-1", ["out/lib/a": text, "out/lib/b": "b"], options: options)
    var packages = DistantPackages(cacheDirectory: store.file("cache"))
    try packages.add("a-amd64-1-1", image, paths: ["out/lib/a", "out/lib/b"])
    let distant = try #require(packages.images.values.first)
    let fileSystem = try PackageFileSystem(store: store.local, remote: packages)
    for _ in 0..<3 {
      #expect(try await bytes(of: "a-amd64-1-1/out/lib/a", in: fileSystem) == Array(text.utf8))
      #expect(try await bytes(of: "a-amd64-1-1/out/lib/b", in: fileSystem) == Array("b".utf8))
      distant.forget()
    }
    #expect(fileSystem.problems.isEmpty)
  }

  @Test func `packages come and go with the source, and keep their numbers while they are there`() async throws {
    let store = try TestStore()
    let image = try await store.makeImage("a-amd64-1-1", ["bin/a": "a"])
    var packages = DistantPackages(cacheDirectory: store.file("cache"))
    try packages.add("a-amd64-1-1", image, paths: ["bin/a"])
    let fileSystem = try PackageFileSystem(store: store.local, remote: packages)
    let before = try await find("a-amd64-1-1", in: fileSystem)
    var more = packages
    try more.add("a-amd64-2-2", image, paths: ["bin/a", "bin/b"])
    try fileSystem.follow(more, at: 1_700_000_000)
    #expect(try await find("a-amd64-1-1", in: fileSystem) == before)
    #expect(try contents(fileSystem, isHere: { !$0.contains("amd64") })["/bin/a"]?.hasSuffix(" ../a-amd64-2-2/bin/a") == true)
    try fileSystem.follow(packages, at: 1_700_000_001)
    #expect(try contents(fileSystem, isHere: { !$0.contains("amd64") })["/bin/"] == "a")
    // The next mount begins with what this one has kept, and shows the same.
    let again = try PackageFileSystem(store: store.local, remote: packages)
    #expect(try await bytes(of: "a-amd64-1-1/bin/a", in: again) == Array("a".utf8))
    // Without the source, nothing of it is left.
    #expect(try PackageFileSystem(store: store.local).view.packages == [])
  }

  @Test func `an image whose description is no image is an error of that package`() async throws {
    let store = try TestStore()
    let noise = store.file("noise")
    try Data(repeating: 7, count: 300_000).write(to: URL(fileURLWithPath: noise.string))
    let image = try await store.makeImage("b-amd64-1-1", ["bin/b": "b"])
    var packages = DistantPackages(cacheDirectory: store.file("cache"))
    try packages.add("a-amd64-1-1", noise, paths: ["bin/a"])
    try packages.add("b-amd64-1-1", image, paths: ["bin/b"])
    let said = Mutex<[String]>([])
    let fileSystem = try PackageFileSystem(store: store.local, remote: packages) { error in said.withLock { $0.append("\(error)") }
    }
    await #expect(throws: (any Error).self) { try await bytes(of: "a-amd64-1-1/bin/a", in: fileSystem) }
    #expect(try await bytes(of: "b-amd64-1-1/bin/b", in: fileSystem) == Array("b".utf8))
    #expect(fileSystem.problems.map(\.subject) == ["a-amd64-1-1"])
    #expect(said.withLock { $0.count == 1 && $0[0].contains("superblock") }, "\(said.withLock { $0 })")
  }
}
