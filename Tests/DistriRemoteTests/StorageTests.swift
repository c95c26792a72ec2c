// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

#if RemoteExecution

import DistriBuild
import DistriStore
import Foundation
import GRPCCore
import Synchronization
import SystemPackage
import TestSupport
import Testing

@testable import DistriRemote

struct StorageTests {
  private static func blob(_ bytes: [UInt8]) -> Blob { Blob(digest: ContentDigest(of: bytes), content: .bytes(bytes)) }

  private static func names(in directory: FilePath) throws -> [String] {
    try FileManager.default.contentsOfDirectory(atPath: directory.string)
  }

  @Test func `what is small is sent together, within the server's limit, and what is large as a stream`() async throws {
    let server = TestServer()
    let directory = try TemporaryDirectory()
    let large = noise(1_000_000)
    let file = directory.path.appending("large")
    try Data(large).write(to: URL(filePath: file.string))
    let small = (0..<30).map { noise(10_000, seed: UInt64($0) + 2) }
    try await server.withBlobs { blobs in
      try await blobs.upload([Blob(digest: ContentDigest(of: large), content: .file(file))] + small.map(Self.blob))
      #expect(try await blobs.missing(of: (small + [large]).map { ContentDigest(of: $0) }).isEmpty)
    }
    #expect(server.state.withLock { $0.blobs[ContentDigest(of: large).sha256] } == large)
    // 9 of them, with what is around them, are just below the limit.
    #expect(server.calls("BatchUpdateBlobs") == 4)
    #expect(server.calls("Write") == 1)
  }

  @Test func `only what the server lacks is missing`() async throws {
    let server = TestServer()
    let present = server.put([1, 2, 3])
    let absent = ContentDigest(of: [4])
    try await server.withBlobs { blobs in
      let missing = try await blobs.missing(of: [present, absent, absent])
      #expect(missing == [absent])
    }
  }

  @Test func `an answer that names what was not asked for is refused`() async throws {
    var behaviour = TestServer.Behaviour.usual
    behaviour.findMissing = { _ in .with { $0.missingBlobDigests = [REAPI_Digest(ContentDigest(of: [9]))] } }
    try await TestServer(behaviour).withBlobs { blobs in
      await #expect(throws: RemoteError.self) { try await blobs.missing(of: [ContentDigest(of: [1])]) }
    }
  }

  @Test func `an upload that breaks off goes on where the server is`() async throws {
    var behaviour = TestServer.Behaviour.usual
    behaviour.breaksWriteAfter = 2
    let server = TestServer(behaviour)
    let bytes = noise(3_000_000)
    try await server.withBlobs { try await $0.upload([Self.blob(bytes)]) }
    #expect(server.state.withLock { $0.blobs[ContentDigest(of: bytes).sha256] } == bytes)
    #expect(server.calls("QueryWriteStatus") == 1)
    #expect(server.calls("Write") == 2)
  }

  @Test func `content that the server has meanwhile is not sent to the end`() async throws {
    let server = TestServer()
    let bytes = noise(8_000_000)
    _ = server.put(bytes)
    try await server.withBlobs { try await $0.upload([Self.blob(bytes)]) }
    #expect(server.calls("Write") == 1)
  }

  @Test(arguments: [100, 200_000])
  func `a file that is not what it was is an error that names it`(size: Int) async throws {
    let server = TestServer()
    let directory = try TemporaryDirectory()
    let file = directory.path.appending("file")
    try Data(noise(size + 1)).write(to: URL(filePath: file.string))
    let blob = Blob(digest: ContentDigest(of: noise(size)), content: .file(file))
    try await server.withBlobs { blobs in
      await #expect(throws: RemoteError.changedFile(file)) { try await blobs.upload([blob]) }
    }
  }

  @Test(arguments: [0, 1, 90_000, 2_000_000])
  func `a file comes as it is, and nothing else stays`(size: Int) async throws {
    let server = TestServer()
    let digest = server.put(noise(size))
    let directory = try TemporaryDirectory()
    let path = directory.path.appending("file")
    try await server.withBlobs { try await $0.fetch(digest, to: path) }
    #expect(try [UInt8](Data(contentsOf: URL(filePath: path.string))) == noise(size))
    #expect(try Self.names(in: directory.path) == ["file"])
  }

  @Test func `a download that breaks off goes on where it was`() async throws {
    let bytes = noise(300_000)
    var behaviour = TestServer.Behaviour.usual
    behaviour.read = { request, writer in
      let rest = bytes.dropFirst(Int(request.readOffset))
      try await writer.write(.with { $0.data = .init(rest.prefix(100_000)) })
      if rest.count > 100_000 { throw RPCError(code: .unavailable, message: "for a moment") }
    }
    let server = TestServer(behaviour)
    let directory = try TemporaryDirectory()
    let path = directory.path.appending("file")
    try await server.withBlobs { try await $0.fetch(ContentDigest(of: bytes), to: path) }
    #expect(try [UInt8](Data(contentsOf: URL(filePath: path.string))) == bytes)
    #expect(server.calls("Read") == 3)
  }

  @Test(arguments: ["other bytes", "more bytes", "fewer bytes", "no end", "nothing, again and again"])
  func `a lie about a file leaves nothing behind`(lie: String) async throws {
    let bytes = noise(200_000)
    var behaviour = TestServer.Behaviour.usual
    behaviour.read = { request, writer in
      var data = bytes.dropFirst(Int(request.readOffset))
      switch lie {
      case "other bytes": data[data.startIndex] ^= 1
      case "more bytes": data.append(0)
      case "fewer bytes": data = []
      case "no end": while true { try await writer.write(.with { $0.data = .init(noise(100_000)) }) }
      default: while !Task.isCancelled { try await writer.write(.init()) }
      }
      try await writer.write(.with { $0.data = .init(data) })
    }
    let directory = try TemporaryDirectory()
    var options = RemoteOptions.impatient
    options.retryTimeout = .seconds(1)
    options.callTimeout = .milliseconds(500)
    try await TestServer(behaviour).withBlobs(options) { blobs in
      await #expect(throws: RemoteError.self) {
        try await blobs.fetch(ContentDigest(of: bytes), to: directory.path.appending("file"))
      }
    }
    #expect(try Self.names(in: directory.path).isEmpty)
  }

  @Test(arguments: ["other bytes", "another digest", "no answer"])
  func `a lie about small content is refused`(lie: String) async throws {
    let bytes = noise(100)
    var behaviour = TestServer.Behaviour.usual
    behaviour.batchRead = { request in
      .with { answer in
        if lie == "no answer" { return }
        answer.responses = [
          .with {
            $0.digest = lie == "another digest" ? REAPI_Digest(ContentDigest(of: [])) : request.digests[0]
            $0.data = .init(lie == "other bytes" ? noise(100, seed: 2) : bytes)
          }
        ]
      }
    }
    try await TestServer(behaviour).withBlobs { blobs in
      let error = await #expect(throws: RemoteError.self) {
        _ = try await blobs.contents(of: ContentDigest(of: bytes), limit: 1000)
      }
      #expect(error.map { if case .invalidAnswer = $0 { true } else { false } } == true)
    }
  }

  @Test(arguments: [10, 200_000])
  func `content that the server has not is an error of its own`(size: Int) async throws {
    let directory = try TemporaryDirectory()
    let digest = ContentDigest(of: noise(size))
    try await TestServer().withBlobs { blobs in
      await #expect(throws: RemoteError.missingContent(blobs.endpoint, digest)) {
        try await blobs.fetch(digest, to: directory.path.appending("file"))
      }
    }
  }

  // MARK: Compressed

  @Test func `what is sent compressed is what zstd makes of it again`() async throws {
    let server = TestServer()
    let bytes = noise(300_000) + [UInt8](repeating: 7, count: 300_000)
    var options = RemoteOptions.impatient
    options.compression = .always
    try await server.withBlobs(options) { try await $0.upload([Self.blob(bytes)]) }
    let sent = try #require(server.state.withLock { $0.blobs[ContentDigest(of: bytes).sha256] })
    #expect(sent.count < 320_000)
    let directory = try TemporaryDirectory()
    let path = directory.path.appending("sent.zst")
    try Data(sent).write(to: URL(filePath: path.string))
    let outcome = try await ToolProcess.run("zstd", ["-d", "-q", path.string, "-o", directory.path.appending("sent").string])
    #expect(outcome.status == 0)
    #expect(try [UInt8](Data(contentsOf: URL(filePath: directory.path.appending("sent").string))) == bytes)
  }

  /// Breaks off the first streams, with frames of 128 KiB.
  @Test(arguments: ["after a frame", "in a frame", "offsets are ignored", "offsets are refused"])
  func `a compressed download that breaks off goes on where it was, and nothing comes twice`(kind: String) async throws {
    let bytes = noise(900_000)
    let frames = Mutex<(asked: [Int64], count: Int)>(([], 0))
    var behaviour = TestServer.Behaviour.usual
    behaviour.read = { request, writer in
      let streams = frames.withLock { state in
        state.asked.append(request.readOffset)
        return state.asked.count
      }
      if kind == "offsets are refused", request.readOffset > 0 { throw RPCError(code: .invalidArgument, message: "offset") }
      let compressor = FrameCompressor(level: 3, byteCount: 128 << 10)
      var rest = bytes.dropFirst(kind == "offsets are ignored" ? 0 : Int(request.readOffset))
      for index in 0... {
        if rest.isEmpty { return }
        let frame = try #require(compressor?.frame(of: Array(rest.prefix(128 << 10))))
        if streams <= 2, index == 2 {
          if kind != "after a frame" { try await writer.write(.with { $0.data = .init(frame.prefix(frame.count / 2)) }) }
          throw RPCError(code: .unavailable, message: "for a moment")
        }
        try await writer.write(.with { $0.data = .init(frame) })
        frames.withLock { $0.count += 1 }
        rest = rest.dropFirst(128 << 10)
      }
    }
    var options = RemoteOptions.impatient
    options.compression = .always
    let directory = try TemporaryDirectory()
    let path = directory.path.appending("file")
    try await TestServer(behaviour).withBlobs(options) { try await $0.fetch(ContentDigest(of: bytes), to: path) }
    #expect(try [UInt8](Data(contentsOf: URL(filePath: path.string))) == bytes)
    let (asked, count) = frames.withLock { $0 }
    if kind.hasSuffix("a frame") {
      #expect(asked == [0, 2 * 131_072, 4 * 131_072])
      // Each whole frame came once.
      #expect(count == 7)
    }
    #expect(try Self.names(in: directory.path) == ["file"])
  }

  @Test(arguments: ["as it is", "twice", "too large", "damaged", "not compressed"])
  func `a file that comes compressed is checked as any other`(kind: String) async throws {
    let bytes = noise(200_000) + [UInt8](repeating: 7, count: 200_000)
    let directory = try TemporaryDirectory()
    let source = directory.path.appending("source")
    try Data(bytes + (kind == "too large" ? [UInt8](repeating: 0, count: 5_000_000) : [])).write(to: URL(filePath: source.string))
    var file = source
    for _ in 0..<(kind == "twice" ? 2 : 1) where kind != "not compressed" {
      #expect(try await ToolProcess.run("zstd", ["-q", file.string]).status == 0)
      file = FilePath("\(file).zst")
    }
    var compressed = try [UInt8](Data(contentsOf: URL(filePath: file.string)))
    if kind == "damaged" { compressed[compressed.count / 2] ^= 1 }
    var behaviour = TestServer.Behaviour.usual
    behaviour.read = { [compressed] request, writer in
      precondition(request.resourceName.contains("compressed-blobs/zstd/"))
      var rest = compressed[...]
      while !rest.isEmpty {
        try await writer.write(.with { $0.data = .init(rest.prefix(100_000)) })
        rest = rest.dropFirst(100_000)
      }
    }
    var options = RemoteOptions.impatient
    options.compression = .always
    let target = try TemporaryDirectory()
    let path = target.path.appending("file")
    try await TestServer(behaviour).withBlobs(options) { blobs in
      if kind == "as it is" {
        try await blobs.fetch(ContentDigest(of: bytes), to: path)
        #expect(try [UInt8](Data(contentsOf: URL(filePath: path.string))) == bytes)
      } else {
        await #expect(throws: (any Error).self) { try await blobs.fetch(ContentDigest(of: bytes), to: path) }
      }
    }
    #expect(try Self.names(in: target.path) == (kind == "as it is" ? ["file"] : []))
  }
}

#endif
