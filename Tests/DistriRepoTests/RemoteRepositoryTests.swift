// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriRepo
import DistriStore
import Foundation
import Synchronization
import SystemPackage
import TestSupport
import Testing

/// A published repository, the server that it comes from, and a cache.
private struct RemoteScene: ~Copyable {
  let scene: Scene
  let server: RepositoryServer

  init(_ packages: [PackageFixture]) async throws {
    let scene = try await Scene(packages)
    server = try RepositoryServer(scene.repository)
    self.scene = scene
  }

  deinit { server.stop() }

  var cachePath: FilePath { scene.directory.path.appending("cache") }

  /// The packages, read through the cache.
  func repository(limit: UInt64 = 1 << 30) async throws -> RemoteRepository {
    var options = CurlTransport.Options.impatient
    options.maximumAttempts = 2
    let transport = try StandardTransport(options: options)
    let index = try contents(of: scene.repository.appending("pkg/meta.binaryproto"))
    let cache = try RangeCache(path: cachePath, byteLimit: limit)
    return try RemoteRepository(at: MirrorSet(server.root), index: index, cache: cache, transport: transport)
  }

  func image(_ name: String, of repository: RemoteRepository) throws -> any RemoteByteSource {
    repository.image(of: try #require(repository.packages.first { $0.id.name == name }))
  }

  func bytes(of package: String) throws -> [UInt8] { try contents(of: scene.store.path.appending("\(package).squashfs")) }

  /// The one file of the cache that holds parts of images.
  func cached() throws -> FilePath {
    let images = cachePath.appending("images")
    return images.appending(try #require(try names(in: images).first { !$0.hasSuffix(".tree") }))
  }
}

extension RemoteByteSource {
  /// A part that is here.
  fileprivate func part(_ range: Range<Int>) throws -> [UInt8] {
    var failure: Errno?
    let bytes = [UInt8](unsafeUninitializedCapacity: range.count) { buffer, count in
      var output = OutputRawSpan(buffer: UnsafeMutableRawBufferPointer(buffer), initializedCount: 0)
      do throws(Errno) { try read(into: &output, at: UInt64(range.lowerBound)) } catch { failure = error }
      count = output.finalize(for: UnsafeMutableRawBufferPointer(buffer))
    }
    if let failure { throw failure }
    return bytes
  }

  fileprivate func fetch(_ range: Range<Int>) async throws {
    try await fetch([UInt64(range.lowerBound)..<UInt64(range.upperBound)])
  }
}

private let block = 65_536

/// Images that are read in parts.
@Suite struct RemoteRepositoryTests {
  private func oneImage(byteCount: Int = 700_000) async throws -> RemoteScene {
    try await RemoteScene([try PackageFixture("nano-amd64-7.2-2", byteCount: byteCount)])
  }

  @Test func `only what is asked for is fetched, once, and side by side in one request`() async throws {
    let scene = try await oneImage()
    let image = try scene.image("nano", of: try await scene.repository())
    let expected = try scene.bytes(of: "nano-amd64-7.2-2")
    #expect(image.byteCount == UInt64(expected.count))
    #expect(throws: Errno.resourceTemporarilyUnavailable) { try image.part(0..<10) }
    try await image.fetch(100..<200)
    #expect(try image.part(0..<block) == Array(expected[..<block]))
    #expect(throws: Errno.resourceTemporarilyUnavailable) { try image.part(block - 1..<block + 1) }
    #expect(scene.server.given(".squashfs") == [block])
    #expect(scene.server.given(".tree").count == 1)
    try await image.fetch(0..<7 * block)
    #expect(scene.server.given(".squashfs") == [block, 6 * block])
    // The end of the file is no whole block.
    try await image.fetch([UInt64(expected.count - 1)..<UInt64(expected.count), 8 * 65_536..<8 * 65_536 + 1])
    #expect(scene.server.given(".squashfs").count == 4)
    try await image.fetch(0..<expected.count)
    #expect(try image.part(0..<expected.count) == expected)
    #expect(scene.server.given(".squashfs").reduce(0, +) == expected.count)
    #expect(scene.server.given(".tree").count == 1)
    #expect(throws: Errno.ioError) { try image.part(expected.count..<expected.count + 1) }
  }

  @Test func `what many want at the same time comes once`() async throws {
    let scene = try await oneImage(byteCount: 2_000_000)
    let image = try scene.image("nano", of: try await scene.repository())
    let expected = try scene.bytes(of: "nano-amd64-7.2-2")
    try await withThrowingTaskGroup(of: Void.self) { group in
      for number in 0..<60 {
        let start = number * 7919 % (expected.count - 200_000)
        group.addTask {
          try await image.fetch(start..<start + 200_000)
          #expect(try image.part(start..<start + 200_000) == Array(expected[start..<start + 200_000]))
        }
      }
      try await group.waitForAll()
    }
    #expect(scene.server.given(".squashfs").reduce(0, +) <= expected.count)
    #expect(scene.server.given(".tree").count == 1)
  }

  @Test func `a wrong block is refused by its number, and its neighbours are right`() async throws {
    let scene = try await oneImage()
    let image = try scene.image("nano", of: try await scene.repository())
    let expected = try scene.bytes(of: "nano-amd64-7.2-2")
    scene.server.lie(about: ".squashfs", at: 3 * block + 5)
    let error = try await failure { try await image.fetch(0..<6 * block) }
    #expect(error == .untrusted(file: "\(scene.server.root)/pkg/nano-amd64-7.2-2.squashfs", .wrongBlock(3)))
    #expect("\(error)".contains("block 3"))
    for number in 0..<6 where number != 3 {
      let range = number * block..<(number + 1) * block
      #expect(try image.part(range) == Array(expected[range]))
      try await image.fetch(range)
    }
    #expect(throws: Errno.resourceTemporarilyUnavailable) { try image.part(3 * block..<3 * block + 1) }
    scene.server.tellTheTruth()
    try await image.fetch(0..<6 * block)
    #expect(try image.part(0..<6 * block) == Array(expected[..<(6 * block)]))
  }

  @Test func `nothing is believed without the tree that the index names`() async throws {
    let scene = try await oneImage()
    let image = try scene.image("nano", of: try await scene.repository())
    scene.server.lie(about: ".tree", at: 60)
    let wrong = try await failure { try await image.fetch(0..<1) }
    guard case .untrusted(let file, .mismatch) = wrong else { throw wrong }
    #expect(file.hasSuffix("nano-amd64-7.2-2.squashfs.tree"))
    #expect(throws: Errno.resourceTemporarilyUnavailable) { try image.part(0..<1) }
    scene.server.tellTheTruth()
    let tree = scene.scene.repository.appending("pkg/nano-amd64-7.2-2.squashfs.tree")
    try FileManager.default.moveItem(atPath: tree.string, toPath: tree.string + ".away")
    #expect(try await failure { try await image.fetch(0..<1) } == .notFound(url: "\(scene.server.root)/pkg/\(tree.lastComponent!)"))
    try FileManager.default.moveItem(atPath: tree.string + ".away", toPath: tree.string)
    try await image.fetch(0..<1)
  }

  @Test func `what the cache has lost or confused is fetched again`() async throws {
    let scene = try await oneImage()
    let image = try scene.image("nano", of: try await scene.repository())
    let expected = try scene.bytes(of: "nano-amd64-7.2-2")
    try await image.fetch(0..<expected.count)
    let path = try scene.cached()
    // As a writer leaves it that is killed in the middle of a block, or a disk that has lost a page.
    var damaged = try contents(of: path)
    damaged.replaceSubrange(2 * block + 30_000..<3 * block, with: repeatElement(0, count: block - 30_000))
    let file = try FileDescriptor.open(path, .writeOnly)
    try file.writeAll(toAbsoluteOffset: 0, damaged)
    scene.server.forget()
    // Another process, and this one.
    for reader in [try scene.image("nano", of: try await scene.repository()), image] {
      #expect(try reader.part(0..<2 * block) == Array(expected[..<(2 * block)]))
      #expect(throws: Errno.resourceTemporarilyUnavailable) { try reader.part(2 * block..<2 * block + 10) }
    }
    try await image.fetch(0..<expected.count)
    #expect(try image.part(0..<expected.count) == expected)
    #expect(scene.server.given(".squashfs") == [block])
    // Cut off, and its tree damaged.
    try file.resize(to: 100_000)
    try file.close()
    try write(Array("no tree".utf8), to: FilePath(path.string + ".tree"))
    let again = try scene.image("nano", of: try await scene.repository())
    #expect(throws: Errno.resourceTemporarilyUnavailable) { try again.part(0..<1) }
    try await again.fetch(0..<expected.count)
    #expect(try again.part(0..<expected.count) == expected)
  }

  @Test func `two mounts share a cache, also when one of them makes room`() async throws {
    let scene = try await oneImage()
    let expected = try scene.bytes(of: "nano-amd64-7.2-2")
    let first = try scene.image("nano", of: try await scene.repository())
    try await first.fetch(0..<expected.count)
    scene.server.forget()
    let second = try scene.image("nano", of: try await scene.repository())
    try await second.fetch(0..<expected.count)
    #expect(try second.part(0..<expected.count) == expected)
    #expect(scene.server.given(".squashfs") == [])
    // As one who makes room does.
    let path = try scene.cached()
    #expect(truncate(path.string, 0) == 0 && unlink(path.string) == 0)
    for image in [first, second] {
      #expect(throws: Errno.resourceTemporarilyUnavailable) { try image.part(0..<1) }
      try await image.fetch(0..<expected.count)
      #expect(try image.part(0..<expected.count) == expected)
    }
    #expect(try contents(of: try scene.cached()) == expected)
  }

  @Test func `a server that is away is waited for once, and what is here can be read`() async throws {
    for mood in [RepositoryServer.Mood.gone, .silent] {
      let scene = try await oneImage()
      let image = try scene.image("nano", of: try await scene.repository())
      let expected = try scene.bytes(of: "nano-amd64-7.2-2")
      try await image.fetch(0..<block)
      scene.server.turn(mood)
      let start = ContinuousClock.now
      let error = try await failure { try await image.fetch(block..<block + 1) }
      guard case .transferFailed = error else { throw error }
      #expect(ContinuousClock.now - start < .seconds(10))
      #expect(try image.part(0..<block) == Array(expected[..<block]))
      if mood == .silent {
        // Nobody waits a second time.
        let again = ContinuousClock.now
        _ = try await failure { try await image.fetch(block..<block + 1) }
        #expect(ContinuousClock.now - again < .milliseconds(500))
      }
      scene.server.turn(.honest)
    }
  }

  @Test func `another mirror is asked for what one does not give, or gives wrong`() async throws {
    let scene = try await oneImage()
    let other = try RepositoryServer(scene.scene.repository)
    defer { other.stop() }
    let transport = try StandardTransport(options: .impatient)
    let index = try contents(of: scene.scene.repository.appending("pkg/meta.binaryproto"))
    let said = Mutex<[String]>([])
    let places = MirrorSet(scene.server.root, mirrors: [other.root]) { _, error in said.withLock { $0.append("\(error)") } }
    let cache = try RangeCache(path: scene.cachePath, byteLimit: 1 << 30)
    let repository = try RemoteRepository(at: places, index: index, cache: cache, transport: transport)
    let image = try scene.image("nano", of: repository)
    let expected = try scene.bytes(of: "nano-amd64-7.2-2")
    other.forget()
    scene.server.lie(about: ".squashfs", at: 2 * block)
    try await image.fetch(0..<4 * block)
    #expect(try image.part(0..<4 * block) == Array(expected[..<(4 * block)]))
    #expect(said.withLock { $0.count == 1 && $0[0].contains("\(scene.server.root)/") && $0[0].contains("block 2") })
    #expect(other.given(".squashfs") == [4 * block])
    scene.server.turn(.gone)
    try await image.fetch(0..<expected.count)
    #expect(try image.part(0..<expected.count) == expected)
  }

  @Test func `the cache stays within its bound, and keeps what was used last`() async throws {
    let names = (0..<6).map { "p\($0)" }
    let scene = try await RemoteScene(try names.map { try PackageFixture("\($0)-amd64-1-1", byteCount: 2_300_000) })
    let repository = try await scene.repository(limit: RangeCache.minimumByteLimit)
    for name in names {
      let image = try scene.image(name, of: repository)
      let expected = try scene.bytes(of: "\(name)-amd64-1-1")
      for start in stride(from: 0, to: expected.count, by: 500_000) {
        let range = start..<min(start + 500_000, expected.count)
        try await image.fetch(range)
        #expect(try image.part(range) == Array(expected[range]))
        #expect(try scene.cacheByteCount() <= RangeCache.minimumByteLimit)
      }
    }
    #expect(try scene.cacheByteCount() > RangeCache.minimumByteLimit / 2)
    // Two of them had to go: those that were used first.
    for (number, name) in names.enumerated() {
      let isHere = (try? scene.image(name, of: repository).part(0..<1)) != nil
      if number == 0 || number == 5 { #expect(isHere == (number == 5), "\(name)") }
    }
  }

  @Test func `a directory that others can write is no cache`() async throws {
    let directory = try TemporaryDirectory()
    try FileManager.default.setAttributes([.posixPermissions: 0o777], ofItemAtPath: directory.path.string)
    let error = try await failure { try RangeCache(path: directory.path, byteLimit: 1 << 30) }
    #expect(error == .system(operation: "keep parts of packages where others can write", path: directory.path, .notPermitted))
  }

  @Test func `packages that were published without trees are left out`() async throws {
    let scene = try await oneImage()
    var index = try await Repository(
      at: scene.scene.repository.string, transport: FileTransport(), options: .unsigned
    ).index
    index.packages.append(.init(id: try PackageID(parsing: "old-amd64-1-1"), wellKnownPaths: ["bin/old"]))
    let cache = try RangeCache(path: scene.cachePath, byteLimit: 1 << 30)
    let bytes = try index.serialized()
    let repository = try RemoteRepository(at: MirrorSet(scene.server.root), index: bytes, cache: cache, transport: FileTransport())
    #expect(repository.packages.map(\.id.description) == ["nano-amd64-7.2-2"])
    #expect(repository.unprovenPackages.map(\.description) == ["old-amd64-1-1"])
    #expect(repository.wellKnownPaths(of: repository.packages[0]) == index.packages[0].wellKnownPaths)
    #expect(!index.packages[0].wellKnownPaths.isEmpty)
    // Cut off anywhere, it is an error or an index of fewer packages.
    for count in bytes.indices {
      let cut = try? RemoteRepository(
        at: MirrorSet("x"), index: Array(bytes.prefix(count)), cache: cache, transport: FileTransport())
      #expect((cut?.packages.count ?? 0) + (cut?.unprovenPackages.count ?? 0) < 2)
    }
    let twice = try await failure(StoreError.self) {
      try RemoteRepository(at: MirrorSet("x"), index: bytes + bytes, cache: cache, transport: FileTransport())
    }
    #expect("\(twice)".contains("twice"))
  }
}

extension RemoteScene {
  /// What all files take on the disk.
  fileprivate func cacheByteCount() throws -> UInt64 {
    let names = FileManager.default.enumerator(atPath: cachePath.string)?.compactMap { $0 as? String } ?? []
    return try names.reduce(0) { sum, name in
      var status = stat()
      guard stat(cachePath.appending(name).string, &status) == 0 else { throw Errno(rawValue: errno) }
      return sum + (status.st_mode & S_IFMT == S_IFREG ? UInt64(status.st_blocks) * 512 : 0)
    }
  }
}
