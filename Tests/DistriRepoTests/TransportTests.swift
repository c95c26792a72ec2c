// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriRepo
import Glibc
import Synchronization
import SystemPackage
import TestSupport
import Testing

@Suite struct TransportTests {
  @Test func `a body arrives as it was sent`() async throws {
    let body = noise(3_000_000)
    let server = try ScriptedServer { _ in .ok(body) }
    defer { server.stop() }
    let transport = try CurlTransport()
    #expect(try await transport.bytes(of: server.root + "/a", maximumByteCount: 3_000_000) == body)
  }

  @Test func `many transfers share a few connections`() async throws {
    let server = try ScriptedServer { .ok(Array($0.path.utf8)) }
    defer { server.stop() }
    let transport = try CurlTransport.impatient(perHost: 3)
    try await withThrowingTaskGroup(of: Void.self) { group in
      for number in 0..<60 {
        group.addTask {
          let got = try await transport.bytes(of: "\(server.root)/\(number)", maximumByteCount: 100)
          #expect(got == Array("/\(number)".utf8))
        }
      }
      try await group.waitForAll()
    }
    #expect(server.mostConnections <= 3)
  }

  @Test(arguments: ["gzip", "zstd"])
  func `an encoded body is decoded`(program: String) async throws {
    let body = Array(String(repeating: "distri ", count: 10_000).utf8)
    let encoded = try run(program, ["-c"], input: body)
    let server = try ScriptedServer { _ in .ok(encoded, headers: "Content-Encoding: \(program)\r\n") }
    defer { server.stop() }
    let transport = try CurlTransport()
    #expect(try await transport.bytes(of: server.root + "/a", maximumByteCount: UInt64(body.count)) == body)
  }

  @Test(arguments: ["gzip", "zstd"])
  func `a decompression bomb is stopped at the limit`(program: String) async throws {
    let bomb = try run(program, ["-c"], input: Array(repeating: 0, count: 50_000_000))
    let server = try ScriptedServer { _ in .ok(bomb, headers: "Content-Encoding: \(program)\r\n") }
    defer { server.stop() }
    let transport = try CurlTransport.impatient()
    let url = server.root + "/a"
    let error = try await failure { try await transport.bytes(of: url, maximumByteCount: 1_000_000) }
    #expect(error == .tooLarge(url: url, limit: 1_000_000))
  }

  @Test(arguments: [
    ("404 Not Found", nil), ("410 Gone", nil), ("403 Forbidden", TransferFailure.status(403)),
    ("500 Oops", .status(500)), ("204 No Content", .status(204)), ("304 Not Modified", .status(304)),
  ])
  func `an answer without the file is a typed error`(line: String, expected: TransferFailure?) async throws {
    let server = try ScriptedServer { _ in .status(line) }
    defer { server.stop() }
    let transport = try CurlTransport.impatient()
    let url = server.root + "/a"
    let error = try await failure { try await transport.bytes(of: url, maximumByteCount: 100) }
    #expect(error == (expected.map { .transferFailed(url: url, $0) } ?? .notFound(url: url)))
  }

  @Test func `a transfer that breaks is tried again from the start`() async throws {
    let body = noise(500_000)
    let server = try ScriptedServer { request in
      switch request.previous {
      case 0: .status("503 Later")
      case 1: .head("200 OK", headers: "Content-Length: 500000\r\n") + [.send(Array(body.prefix(300_000))), .close]
      default: .ok(body)
      }
    }
    defer { server.stop() }
    let directory = try TemporaryDirectory()
    let path = directory.path.appending("file")
    let transport = try CurlTransport.impatient(attempts: 3)
    let got = try await transport.download(server.root + "/a", to: path)
    #expect(got.byteCount == 500_000)
    #expect(server.count("/a") == 3)
    #expect(try await FileTransport().bytes(of: path.string, maximumByteCount: 500_000) == body)
  }

  /// Breaks off after so many bytes of what was asked for; answers ranges as a server of files does.
  private func breaking(_ body: [UInt8], after count: Int, tag: String, more: String = "")
    -> @Sendable (ScriptedServer.Request) -> [ScriptedServer.Step]
  {
    { request in
      let lines = request.head.split(separator: "\r\n")
      let range = lines.first { $0.hasPrefix("Range: bytes=") }.flatMap { Int($0.dropFirst(13).dropLast()) }
      let fits = lines.contains("If-Range: \(tag)")
      let start = fits ? range ?? 0 : 0
      let headers =
        "Content-Length: \(body.count - start)\r\nETag: \(tag)\r\n\(more)"
        + (start > 0 ? "Content-Range: bytes \(start)-\(body.count - 1)/\(body.count)\r\n" : "")
      return .head(start > 0 ? "206 Partial Content" : "200 OK", headers: headers)
        + [.send(Array(body[start..<min(body.count, start + count)])), .close]
    }
  }

  @Test func `a transfer that breaks goes on where it was, however often, if the server knows what it has`() async throws {
    let body = noise(9_000_000)
    let server = try ScriptedServer(breaking(body, after: 1 << 20, tag: "\"one\""))
    defer { server.stop() }
    let directory = try TemporaryDirectory()
    let path = directory.path.appending("file")
    let transport = try CurlTransport.impatient(attempts: 2)
    let got = try await transport.download(server.root + "/a", to: path)
    #expect(got.byteCount == 9_000_000)
    // Nothing came twice.
    #expect(server.count("/a") == 9)
    #expect(try await FileTransport().bytes(of: path.string, maximumByteCount: 9_000_000) == body)
    // Without progress, attempts count.
    let stuck = try ScriptedServer(breaking(body, after: 1000, tag: "\"one\""))
    defer { stuck.stop() }
    let error = try await failure { try await transport.bytes(of: stuck.root + "/a", maximumByteCount: 9_000_000) }
    guard case .transferFailed(_, .interrupted) = error else { throw error }
    #expect(stuck.count("/a") == 2)
  }

  @Test(arguments: ["W/\"one\"", "one", "\"one\"\r\nContent-Encoding: deflate"])
  func `without a strong tag, or within an encoded body, it begins anew`(tag: String) async throws {
    let server = try ScriptedServer { request in
      #expect(!request.head.contains("Range"))
      return .head("200 OK", headers: "Content-Length: 5000\r\nETag: \(tag)\r\n") + [
        .send(Array(repeating: 0, count: 4000)), .close,
      ]
    }
    defer { server.stop() }
    let transport = try CurlTransport.impatient(attempts: 3)
    _ = try await failure { try await transport.bytes(of: server.root + "/a", maximumByteCount: 9000) }
  }

  @Test func `a file that changed meanwhile begins anew, another part than was asked for is refused`() async throws {
    let old = noise(400_000), new = Array(noise(500_000).reversed())
    let server = try ScriptedServer { request in
      let head = { (tag: String, count: Int) in "ETag: \(tag)\r\nContent-Length: \(count)\r\n" }
      switch (request.path, request.previous) {
      case (_, 0): return .head("200 OK", headers: head("\"old\"", 400_000)) + [.send(Array(old.prefix(300_000))), .close]
      case ("/changed", 1): return .head("200 OK", headers: head("\"new\"", 500_000)) + [.send(Array(new.prefix(200_000))), .close]
      case ("/changed", 2):
        #expect(request.head.contains("Range: bytes=200000-\r\n") && request.head.contains("If-Range: \"new\"\r\n"))
        return .head("206 Partial Content", headers: head("\"new\"", 300_000) + "Content-Range: bytes 200000-499999/500000\r\n")
          + [.send(Array(new.suffix(300_000)))]
      case ("/shorter", 1): return .status("416 Range Not Satisfiable")
      case ("/shorter", _): return .ok([1, 2, 3])
      case ("/down", 1): return .status("503 Later")
      case ("/down", _):
        #expect(request.head.contains("Range: bytes=300000-\r\n"))
        return .head("206 Partial Content", headers: head("\"old\"", 100_000) + "Content-Range: bytes 300000-399999/400000\r\n")
          + [.send(Array(old.suffix(100_000)))]
      default:
        return .head("206 Partial Content", headers: head("\"old\"", 100) + "Content-Range: bytes 299999-300098/400000\r\n")
          + [.send(Array(repeating: 0, count: 100))]
      }
    }
    defer { server.stop() }
    let transport = try CurlTransport.impatient(attempts: 3)
    #expect(try await transport.bytes(of: server.root + "/changed", maximumByteCount: 500_000) == new)
    #expect(try await transport.bytes(of: server.root + "/shorter", maximumByteCount: 500_000) == [1, 2, 3])
    #expect(try await transport.bytes(of: server.root + "/down", maximumByteCount: 500_000) == old)
    let error = try await failure { try await transport.bytes(of: server.root + "/other", maximumByteCount: 500_000) }
    guard case .transferFailed(_, .malformed) = error else { throw error }
  }

  @Test func `a truncated body is an error after the last attempt`() async throws {
    let server = try ScriptedServer { _ in
      .head("200 OK", headers: "Content-Length: 100\r\n") + [.send(Array(repeating: 1, count: 99)), .close]
    }
    defer { server.stop() }
    let transport = try CurlTransport.impatient(attempts: 2)
    let error = try await failure { try await transport.bytes(of: server.root + "/a", maximumByteCount: 100) }
    guard case .transferFailed(_, .interrupted) = error else { throw error }
    #expect(server.count("/a") == 2)
  }

  @Test func `an announced length beyond the limit is refused`() async throws {
    let server = try ScriptedServer { _ in .head("200 OK", headers: "Content-Length: 1000000\r\n") + [.hang] }
    defer { server.stop() }
    let transport = try CurlTransport.impatient()
    let url = server.root + "/a"
    let error = try await failure { try await transport.bytes(of: url, maximumByteCount: 1000) }
    #expect(error == .tooLarge(url: url, limit: 1000))
  }

  @Test func `an endless body is stopped at the limit`() async throws {
    let server = try ScriptedServer { _ in
      .head("200 OK", headers: "Connection: close\r\n") + [.repeating(Array(repeating: 7, count: 10_000))]
    }
    defer { server.stop() }
    let transport = try CurlTransport.impatient()
    let url = server.root + "/a"
    let error = try await failure { try await transport.bytes(of: url, maximumByteCount: 1_000_000) }
    #expect(error == .tooLarge(url: url, limit: 1_000_000))
  }

  @Test func `headers without end are refused`() async throws {
    let server = try ScriptedServer { _ in
      [.send(Array("HTTP/1.1 200 OK\r\n".utf8)), .repeating(Array("X-Again: and again\r\n".utf8))]
    }
    defer { server.stop() }
    let transport = try CurlTransport.impatient()
    let error = try await failure { try await transport.bytes(of: server.root + "/a", maximumByteCount: 100) }
    guard case .transferFailed(_, .malformed) = error else { throw error }
  }

  @Test func `a redirect within HTTP is followed`() async throws {
    let server = try ScriptedServer { request in
      request.path == "/a" ? .status("302 Found", headers: "Location: /b\r\n") : .ok([1, 2, 3])
    }
    defer { server.stop() }
    let transport = try CurlTransport()
    let sink = CollectingSink()
    let response = try await transport.download(.init(url: server.root + "/a", maximumByteCount: 3), into: sink)
    #expect(response == TransferResponse(url: server.root + "/b", byteCount: 3))
    #expect(sink.bytes == [1, 2, 3])
  }

  @Test(arguments: ["file:///etc/passwd", "ftp://127.0.0.1/x", "/a", "gopher://127.0.0.1/x"])
  func `a redirect out of HTTP or in circles is refused`(target: String) async throws {
    let server = try ScriptedServer { _ in .status("302 Found", headers: "Location: \(target)\r\n") }
    defer { server.stop() }
    let transport = try CurlTransport.impatient()
    let url = server.root + "/a"
    let error = try await failure { try await transport.bytes(of: url, maximumByteCount: 10_000) }
    #expect(error == .transferFailed(url: url, .redirectRefused))
  }

  @Test(arguments: [true, false])
  func `a server that says nothing is given up`(sendsHead: Bool) async throws {
    let server = try ScriptedServer { _ in
      (sendsHead ? .head("200 OK", headers: "Content-Length: 10\r\n") : []) + [.hang]
    }
    defer { server.stop() }
    let transport = try CurlTransport.impatient()
    let url = server.root + "/a"
    let error = try await failure { try await transport.bytes(of: url, maximumByteCount: 100) }
    #expect(error == .transferFailed(url: url, .timedOut))
  }

  @Test func `a time limit ends a transfer that is never slow`() async throws {
    let server = try ScriptedServer { _ in
      .head("200 OK", headers: "Connection: close\r\n") + [.repeating(Array(repeating: 7, count: 1000))]
    }
    defer { server.stop() }
    let transport = try CurlTransport.impatient()
    let request = TransferRequest(url: server.root + "/a", maximumByteCount: .max, timeLimit: .milliseconds(200))
    let error = try await failure { try await transport.download(request, into: DiscardingSink()) }
    #expect(error == .transferFailed(url: request.url, .timedOut))
  }

  @Test func `nobody there is a typed error`() async throws {
    let transport = try CurlTransport.impatient()
    let error = try await failure { try await transport.bytes(of: "http://127.0.0.1:1/a", maximumByteCount: 100) }
    guard case .transferFailed(_, .unreachable) = error else { throw error }
  }

  @Test(arguments: ["ftp://host/x", "gopher://host/x", "http://a b/", "http://a/\r\nX: y", "file://host/x", "file:///%zz", ""])
  func `what is no URL of ours is refused`(url: String) async throws {
    let transport = try StandardTransport()
    let error = try await failure { try await transport.bytes(of: url, maximumByteCount: 100) }
    #expect(error == .invalidURL(url))
  }

  @Test func `credentials are never shown`() {
    let error = RepositoryError.notFound(url: "https://me:secret@host/a@b")
    #expect(error.description == "https://host/a@b: there is no such file")
  }
}

@Suite struct BackpressureTests {
  @Test func `a transfer that pauses holds up no other`() async throws {
    let body = noise(2_000_000)
    let server = try ScriptedServer { _ in .ok(body) }
    defer { server.stop() }
    let transport = try CurlTransport.impatient(perHost: 2)
    let gate = TransferGate()
    let slow = CollectingSink(gate: gate)
    async let first = transport.download(.init(url: server.root + "/slow", maximumByteCount: 2_000_000), into: slow)
    await slow.untilPaused()
    for _ in 0..<5 {
      #expect(try await transport.bytes(of: server.root + "/fast", maximumByteCount: 2_000_000) == body)
    }
    #expect(slow.bytes.isEmpty)
    gate.open()
    _ = try await first
    #expect(slow.bytes == body)
  }

  @Test func `a cancelled task ends its transfer`() async throws {
    let isAsked = TransferGate()
    let server = try ScriptedServer { _ in
      isAsked.open()
      return [.hang]
    }
    defer { server.stop() }
    let transport = try CurlTransport()
    let task = Task { try await transport.bytes(of: server.root + "/a", maximumByteCount: 100) }
    await withCheckedContinuation { continuation in isAsked.whenOpen { continuation.resume() } }
    task.cancel()
    await #expect(throws: CancellationError.self) { try await task.value }
  }

  @Test func `what the sink throws ends the transfer`() async throws {
    let server = try ScriptedServer { _ in .ok(noise(1_000_000)) }
    defer { server.stop() }
    let transport = try CurlTransport()
    await #expect(throws: Errno.noSpace) {
      try await transport.download(.init(url: server.root + "/a", maximumByteCount: .max), into: FailingSink())
    }
  }
}

@Suite struct FileTransportTests {
  @Test func `paths and file URLs are read`() async throws {
    let directory = try TemporaryDirectory()
    let path = directory.path.appending("a b%20c")
    let body = noise(1_000_000)
    try write(body, to: path)
    #expect(try await FileTransport().bytes(of: path.string, maximumByteCount: 1_000_000) == body)
    let url = "file://\(directory.path)/a%20b%2520c"
    #expect(try await FileTransport().bytes(of: url, maximumByteCount: 1_000_000) == body)
    let error = try await failure { try await FileTransport().bytes(of: url, maximumByteCount: 999_999) }
    #expect(error == .tooLarge(url: url, limit: 999_999))
  }

  @Test func `what is not there, or no file, is a typed error`() async throws {
    let directory = try TemporaryDirectory()
    let missing = directory.path.appending("missing").string
    #expect(try await failure { try await FileTransport().bytes(of: missing, maximumByteCount: 1) } == .notFound(url: missing))
    let error = try await failure { try await FileTransport().bytes(of: directory.path.string, maximumByteCount: 1) }
    #expect(error == .system(operation: "read", path: directory.path, .isDirectory))
  }

  @Test func `a download with the wrong hash leaves nothing behind`() async throws {
    let directory = try TemporaryDirectory()
    let source = directory.path.appending("source")
    let target = directory.path.appending("target")
    try write([1, 2, 3], to: source)
    let wrong = Array(repeating: UInt8(0), count: 32)
    let error = try await failure { try await FileTransport().download(source.string, to: target, sha256: wrong, subject: "hello") }
    guard case .mismatch("hello", source.string, _, _) = error else { throw error }
    #expect(try names(in: directory.path) == ["source"])
    try await FileTransport().download(source.string, to: target)
    #expect(try names(in: directory.path) == ["source", "target"])
  }
}

final class CollectingSink: TransferSink {
  private let state = Mutex<[UInt8]>([])
  private let gate: TransferGate?
  private let paused = TransferGate()

  init(gate: TransferGate? = nil) {
    self.gate = gate
    gate?.whenOpen { [isOpen] in isOpen.set() }
  }

  private let isOpen = Flag()
  var bytes: [UInt8] { state.withLock { $0 } }

  func untilPaused() async {
    await withCheckedContinuation { continuation in paused.whenOpen { continuation.resume() } }
  }

  func consume(_ bytes: RawSpan) throws -> Flow {
    if let gate, !isOpen.isSet {
      paused.open()
      return .pause(gate)
    }
    state.withLock { state in bytes.withUnsafeBytes { state.append(contentsOf: $0) } }
    return .proceed
  }

  func restart() throws { state.withLock { $0.removeAll() } }
}

private final class Flag: Sendable {
  private let value = Atomic(false)
  var isSet: Bool { value.load(ordering: .acquiring) }
  func set() { value.store(true, ordering: .releasing) }
}

struct DiscardingSink: TransferSink {
  func consume(_ bytes: RawSpan) throws -> Flow { .proceed }
  func restart() throws {}
}

struct FailingSink: TransferSink {
  func consume(_ bytes: RawSpan) throws -> Flow { throw Errno.noSpace }
  func restart() throws {}
}
