// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriRepo
import DistriStore
import Foundation
import Synchronization
import SystemPackage
import TestSupport
import Testing

/// Updates by blocks, and compressed images.
@Suite struct ShortcutTests {
  /// Two versions of a program: some files are the same, one has changed in places, one is new.
  private static func scene(compression: Int? = nil) async throws -> Scene {
    let same = noise(900_000, seed: 3)
    var changed = noise(600_000, seed: 4)
    let text = Array(String(repeating: "a line of a manual\n", count: 20_000).utf8)
    let old = try PackageFixture("edit-amd64-1-1", files: ["out/share/a": same, "out/share/z": changed, "out/share/manual": text])
    changed[300_000] ^= 1
    let new = try PackageFixture(
      "edit-amd64-2-2",
      files: ["out/share/0": noise(50_000, seed: 5), "out/share/b": same, "out/share/z": changed, "out/share/manual": text])
    let scene = try await Scene([old, new])
    _ = try await Publisher(store: scene.store.path, output: scene.repository, compressionLevel: compression).publish()
    return scene
  }

  /// Serves a repository and adds up what images it sends.
  private final class Counter: Sendable {
    private let paths = Mutex<[String]>([])
    private let sent = Atomic(0)
    var byteCount: Int { sent.load(ordering: .relaxed) }
    var requests: [String] { paths.withLock { $0 } }

    func server(
      of repository: FilePath,
      changing change: @escaping @Sendable (ScriptedServer.Request, [UInt8]) -> [ScriptedServer.Step]? = { _, _ in nil }
    ) throws -> ScriptedServer {
      try ScriptedServer.serving(repository) { [self] request, body in
        guard request.path.contains("squashfs"), let body else { return nil }
        let answer = change(request, body) ?? .file(body, for: request)
        if case .send(let bytes)? = answer.last { sent.add(bytes.count, ordering: .relaxed) }
        paths.withLock { $0.append("\(request.path) \(request.field("Range") ?? "all")") }
        return answer
      }
    }
  }

  private func install(
    _ query: String, on scene: borrowing Scene, from root: String, compression: Repository.Options.Compression = .automatic
  ) async throws -> (reused: UInt64, detours: [String]) {
    let reused = Atomic<UInt64>(0)
    let detours = Mutex<[String]>([])
    var options = Repository.Options.unsigned
    options.compression = compression
    options.onReused = { reused.add($0, ordering: .relaxed) }
    options.onDetour = { package, error in detours.withLock { $0.append("\(error)") } }
    let store = try await scene.install(query, from: [root], options: options)
    let package = try PackageID(parsing: query)
    for name in [package.imageFileName, package.metadataFileName] {
      #expect(try contents(of: store.path.appending(name)) == contents(of: scene.store.path.appending(name)))
    }
    #expect(try names(in: store.path.appending(".staging/partial")) == [])
    return (reused.load(ordering: .relaxed), detours.withLock { $0 })
  }

  @Test func `an update fetches only what is new`() async throws {
    let scene = try await Self.scene()
    let counter = Counter()
    let server = try counter.server(of: scene.repository)
    defer { server.stop() }
    #expect(try await install("edit-amd64-1-1", on: scene, from: server.root).reused == 0)
    let before = counter.byteCount
    let update = try await install("edit-amd64-2-2", on: scene, from: server.root)
    #expect(update.detours == [])
    let size = try contents(of: scene.store.path.appending("edit-amd64-2-2.squashfs")).count
    // The new file, a block of the changed one, what the version is in, the tables, and the hashes.
    let sent = counter.byteCount - before
    #expect(sent > 50_000 && sent < 130_000, "\(sent) of \(size)")
    #expect(Int(update.reused) > size - 130_000)
  }

  enum Lie: CaseIterable, Sendable {
    case hashesDamaged, hashesMissing, hashesOfAnother, partsWrong, noRanges, breaks
  }

  @Test(arguments: Lie.allCases)
  func `whatever is wrong with blocks, the image comes, and is right`(lie: Lie) async throws {
    let scene = try await Self.scene()
    let counter = Counter()
    let server = try counter.server(of: scene.repository) { request, body in
      guard request.path.contains("edit-amd64-2-2") else { return nil }
      let isHashes = request.path.hasSuffix(".blocks")
      switch lie {
      case .hashesDamaged where isHashes: return .ok(body.reversed())
      case .hashesMissing where isHashes: return .status("404 Not Found")
      case .hashesOfAnother where isHashes: return .ok(body.dropLast(8))
      case .partsWrong where request.field("Range") != nil: return .file(body.map { ~$0 }, for: request)
      case .noRanges where !isHashes: return .ok(body)
      case .breaks where request.field("Range") != nil: return .file(body, for: request).dropLast() + [.close]
      default: return nil
      }
    }
    defer { server.stop() }
    _ = try await install("edit-amd64-1-1", on: scene, from: server.root)
    let update = try await install("edit-amd64-2-2", on: scene, from: server.root)
    #expect(update.reused == 0)
    #expect(update.detours.count == 1)
  }

  @Test func `a base that was damaged on the disk costs a download, and no more`() async throws {
    let scene = try await Self.scene()
    let counter = Counter()
    let server = try counter.server(of: scene.repository)
    defer { server.stop() }
    _ = try await install("edit-amd64-1-1", on: scene, from: server.root)
    let base = scene.machine.appending("roimg/edit-amd64-1-1.squashfs")
    var bytes = try contents(of: base)
    for index in 4096..<bytes.count / 2 { bytes[index] = 0 }
    try write(bytes, to: base)
    let update = try await install("edit-amd64-2-2", on: scene, from: server.root)
    #expect(Int(update.reused) < bytes.count / 2 + 8192 && update.detours == [])
  }

  @Test func `where the compressed image is smaller, it comes instead, and only from elsewhere unless that is asked for`()
    async throws
  {
    let scene = try await Self.scene(compression: 3)
    let counter = Counter()
    let server = try counter.server(of: scene.repository)
    defer { server.stop() }
    let entry = try #require(
      try await Repository(at: scene.repository.string, transport: FileTransport(), options: .unsigned).entry(
        of: try PackageID(parsing: "edit-amd64-1-1")))
    let (image, compressed) = (try #require(entry.image), try #require(entry.compressed))
    #expect(compressed.byteCount < image.byteCount - 300_000)
    let first = try await install("edit-amd64-1-1", on: scene, from: server.root, compression: .always)
    #expect(first.reused == image.byteCount - compressed.byteCount && first.detours == [])
    #expect(counter.requests == ["/pkg/edit-amd64-1-1.squashfs.zst all"])
    // This server is on this machine.
    try FileManager.default.removeItem(atPath: scene.machine.string)
    #expect(try await install("edit-amd64-1-1", on: scene, from: server.root).reused == 0)
  }

  /// Of the old version on the machine, the blocks of a file that compresses well.
  private func loseManual(on scene: borrowing Scene) throws {
    let base = scene.machine.appending("roimg/edit-amd64-1-1.squashfs")
    let image = try contents(of: base)
    let manual = try #require(image.firstRange(of: Array("a line of a manual\n".utf8))).lowerBound
    try write(image.indices.map { manual..<manual + 380_000 ~= $0 ? 7 : image[$0] }, to: base)
  }

  @Test func `what is missing of an update comes compressed where that is less`() async throws {
    let scene = try await Self.scene(compression: 3)
    let counter = Counter()
    let server = try counter.server(of: scene.repository)
    defer { server.stop() }
    _ = try await install("edit-amd64-1-1", on: scene, from: server.root)
    try loseManual(on: scene)
    var sent: [Int] = []
    for compression in [Repository.Options.Compression.never, .always] {
      let before = counter.byteCount
      let update = try await install("edit-amd64-2-2", on: scene, from: server.root, compression: compression)
      #expect(update.detours == [])
      sent.append(counter.byteCount - before)
      for name in try names(in: scene.machine.appending("roimg")) where name.hasPrefix("edit-amd64-2-2") {
        try FileManager.default.removeItem(atPath: scene.machine.appending("roimg").appending(name).string)
      }
    }
    #expect(sent[0] > 400_000 && sent[1] < 420_000, "\(sent)")
    #expect(counter.requests.contains { $0.contains(".zst bytes=") })
  }

  @Test func `frames that are damaged, or lie elsewhere than the table says, cost a download`() async throws {
    let scene = try await Self.scene(compression: 3)
    for isTable in [true, false] {
      let counter = Counter()
      let server = try counter.server(of: scene.repository) { request, body in
        guard request.path.hasSuffix("2-2.squashfs.zst"), let range = request.field("Range") else { return nil }
        let isLast = range.hasSuffix("-\(body.count - 1)")
        return isLast == isTable ? .file(body.map { ~$0 }, for: request) : nil
      }
      defer { server.stop() }
      _ = try await install("edit-amd64-1-1", on: scene, from: server.root)
      try loseManual(on: scene)
      let update = try await install("edit-amd64-2-2", on: scene, from: server.root, compression: .always)
      #expect(update.detours.count == (isTable ? 0 : 1))
      try FileManager.default.removeItem(atPath: scene.machine.string)
    }
  }

  enum Damage: CaseIterable, Sendable {
    case missing, flipped, encoded
  }

  @Test(arguments: Damage.allCases)
  func `a compressed image that is not the one of the index is not even looked at`(damage: Damage) async throws {
    let scene = try await Self.scene(compression: 3)
    let counter = Counter()
    let server = try counter.server(of: scene.repository) { request, body in
      guard request.path.hasSuffix(".zst") else { return nil }
      switch damage {
      case .missing: return .status("404 Not Found")
      case .flipped: return .ok([body[0] ^ 1] + body.dropFirst())
      // As servers say of files with such names. It is not decoded on the way.
      case .encoded: return .ok(body, headers: "Content-Encoding: zstd\r\n")
      }
    }
    defer { server.stop() }
    let outcome = try await install("edit-amd64-1-1", on: scene, from: server.root, compression: .always)
    #expect(outcome.detours.count == (damage == .encoded ? 0 : 1), "\(outcome.detours)")
  }

  @Test func `a compressed file that is none of ours is not used`() async throws {
    let scene = try await Self.scene(compression: 3)
    let directory = scene.repository.appending("pkg")
    var index = try RepositoryIndex(serialized: try contents(of: directory.appending("meta.binaryproto")), subject: "index")
    let bomb = try run("zstd", ["-c"], input: Array(repeating: 0, count: 50_000_000))
    let path = directory.appending("edit-amd64-1-1.squashfs.zst")
    try write(bomb, to: path)
    index.packages[0].compressed = try .init(of: path)
    try write(try index.serialized(), to: directory.appending("meta.binaryproto"))
    let outcome = try await install("edit-amd64-1-1", on: scene, from: scene.repository.string, compression: .always)
    #expect(outcome.detours.count == 1 && outcome.detours[0].contains("no table of frames"), "\(outcome.detours)")
  }

  @Test func `publishing makes what makes transfers shorter, once, and the same each time`() async throws {
    let scene = try await Self.scene(compression: 5)
    let directory = scene.repository.appending("pkg")
    let shortcuts = try names(in: directory).filter { $0.hasSuffix(".zst") || $0.hasSuffix(".blocks") }
    #expect(
      shortcuts == [1, 2].flatMap { ["edit-amd64-\($0)-\($0).squashfs.blocks", "edit-amd64-\($0)-\($0).squashfs.zst"] })
    func state() throws -> [String: [UInt8]] {
      try Dictionary(uniqueKeysWithValues: names(in: directory).map { ($0, try contents(of: directory.appending($0))) })
    }
    func inodes() throws -> [UInt8] { try run("stat", ["-c", "%i"] + shortcuts.map { directory.appending($0).string }) }
    let (before, made) = (try state(), try inodes())
    _ = try await Publisher(store: scene.store.path, output: scene.repository, compressionLevel: 5).publish()
    #expect(try state() == before && inodes() == made)
    // What was damaged or is gone is made again; elsewhere the same bytes are made.
    try FileManager.default.removeItem(atPath: directory.appending(shortcuts[0]).string)
    try write([1], to: directory.appending(shortcuts[1]))
    _ = try await Publisher(store: scene.store.path, output: scene.repository, compressionLevel: 5).publish()
    #expect(try state() == before)
    // Without, the index names none; a small image, and one of which the files are compressed, has none.
    _ = try await Publisher(store: scene.store.path, output: scene.repository).publish()
    let index = try RepositoryIndex(serialized: try contents(of: directory.appending("meta.binaryproto")), subject: "index")
    #expect(index.packages.allSatisfy { $0.compressed == nil && $0.blocks != nil })
  }

  @Test func `what hardly gets smaller is compressed once, and not kept`() async throws {
    let scene = try await Self.scene(compression: 1)
    _ = try await LocalStore.make(at: scene.store.path, [try PackageFixture("noise-amd64-1-1", byteCount: 700_000)])
    let directory = scene.repository.appending("pkg")
    func publish() async throws -> String {
      let watch = inotify_init1(Int32(IN_CLOEXEC) | Int32(IN_NONBLOCK))
      defer { close(watch) }
      inotify_add_watch(watch, directory.string, UInt32(IN_CREATE))
      _ = try await Publisher(store: scene.store.path, output: scene.repository, compressionLevel: 1).publish()
      var buffer = [UInt8](repeating: 0, count: 1 << 16)
      let count = read(watch, &buffer, buffer.count)
      return String(decoding: buffer.prefix(max(0, count)), as: UTF8.self)
    }
    #expect(try await publish().contains("noise-amd64-1-1.squashfs.zst"))
    #expect(try !names(in: directory).contains("noise-amd64-1-1.squashfs.zst"))
    #expect(try names(in: directory).contains("noise-amd64-1-1.squashfs.blocks"))
    #expect(try await !publish().contains(".zst"))
  }

  @Test func `what a kill has left of a compressed image goes on`() async throws {
    let scene = try await Self.scene(compression: 3)
    let counter = Counter()
    let server = try counter.server(of: scene.repository) { request, body in
      guard request.path.hasSuffix(".zst"), request.previous == 0 else { return nil }
      return .file(body, for: request).dropLast() + [.send(Array(body.prefix(800_000))), .hang]
    }
    defer { server.stop() }
    let place = scene.machine.appending("roimg/.staging/partial")
    try FileManager.default.createDirectory(atPath: place.string, withIntermediateDirectories: true)
    let watch = inotify_init1(Int32(IN_CLOEXEC))
    defer { close(watch) }
    inotify_add_watch(watch, place.string, UInt32(IN_MODIFY))
    let child = try spawn(
      "distri-fetch",
      [
        "install", "edit-amd64-1-1", "--root", scene.machine.string, "--insecure-unsigned", "--compressed", "always", "--repo",
        server.root,
      ])
    var buffer = [UInt8](repeating: 0, count: 4096)
    func isThere() throws -> Bool {
      try names(in: place).contains {
        try FileManager.default.attributesOfItem(atPath: place.appending($0).string)[.size] as? Int ?? 0 > 0
      }
    }
    while try !isThere() { _ = read(watch, &buffer, buffer.count) }
    kill(child, SIGKILL)
    #expect(waitFor(child) == SIGKILL)
    let outcome = try await install("edit-amd64-1-1", on: scene, from: server.root, compression: .always)
    #expect(outcome.detours == [])
    #expect(counter.requests.count == 2 && counter.requests[1].contains(".zst bytes="), "\(counter.requests)")
  }
}
