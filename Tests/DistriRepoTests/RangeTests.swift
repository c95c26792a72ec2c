// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriRepo
import SystemPackage
import TestSupport
import Testing

/// Parts of files, as `TransferRequest.range` asks for them.
@Suite struct RangeTests {
  private func part(
    _ range: Range<UInt64>, of url: String, tag: String? = nil, through transport: some Transport
  ) async throws -> (bytes: [UInt8], response: TransferResponse) {
    let sink = CollectingSink()
    let response = try await transport.download(TransferRequest(url: url, range: range, entityTag: tag), into: sink)
    return (sink.bytes, response)
  }

  @Test func `a part of a file is exactly what was asked for, from a server and from a directory`() async throws {
    let body = noise(1_000_000)
    let server = try ScriptedServer { .file(body, for: $0, tag: "\"one\"") }
    defer { server.stop() }
    let directory = try TemporaryDirectory()
    try write(body, to: directory.path.appending("a"))
    let transport = try StandardTransport(options: .impatient)
    for root in [server.root, directory.path.string] {
      for range in [0..<1, 4096..<300_000, 999_999..<1_000_000, 0..<1_000_000, 7..<7] as [Range<UInt64>] {
        let got = try await part(range, of: root + "/a", through: transport)
        #expect(got.bytes == Array(body[Int(range.lowerBound)..<Int(range.upperBound)]))
        #expect(got.response.byteCount == UInt64(got.bytes.count))
      }
    }
    // The empty part was not asked for.
    #expect(server.count("/a") == 4)
  }

  @Test func `a part that breaks off goes on where it was`() async throws {
    let body = noise(6_000_000)
    let server = try ScriptedServer { request in
      let answer = [ScriptedServer.Step].file(body, for: request, tag: "\"one\"")
      guard case .send(let bytes)? = answer.last, bytes.count > 1_500_000 else { return answer }
      return answer.dropLast() + [.send(Array(bytes.prefix(1_500_000))), .close]
    }
    defer { server.stop() }
    let transport = try CurlTransport.impatient(attempts: 2)
    let got = try await part(1_000_000..<5_000_000, of: server.root + "/a", through: transport)
    #expect(got.bytes == Array(body[1_000_000..<5_000_000]))
    #expect(got.response.entityTag == "\"one\"")
    #expect(server.count("/a") == 3)
  }

  @Test func `a file that changed between two parts is noticed`() async throws {
    let server = try ScriptedServer { request in
      .file(noise(1000, seed: UInt64(request.previous)), for: request, tag: "\"\(request.previous)\"")
    }
    defer { server.stop() }
    let directory = try TemporaryDirectory()
    try write(noise(1000), to: directory.path.appending("a"))
    let transport = try StandardTransport(options: .impatient)
    for root in [server.root, directory.path.string] {
      let url = root + "/a"
      let first = try await part(0..<500, of: url, through: transport)
      let tag = try #require(first.response.entityTag)
      try write(noise(1001), to: directory.path.appending("a"))
      let error = try await failure { try await part(500..<1000, of: url, tag: tag, through: transport) }
      #expect(error == .transferFailed(url: url, .rangeUnavailable))
    }
  }

  @Test func `what is not the part never reaches the sink`() async throws {
    let body = noise(100_000)
    let server = try ScriptedServer { request in
      let part = { (range: String, count: Int, more: String) -> [ScriptedServer.Step] in
        .head("206 Partial Content", headers: "Content-Length: \(count)\r\nContent-Range: bytes \(range)/100000\r\n\(more)")
          + [.send(Array(repeating: 0, count: count))]
      }
      switch request.path {
      case "/whole": return .ok(body)
      case "/beyond": return .status("416 Range Not Satisfiable")
      case "/elsewhere": return part("101-200", 100, "")
      case "/shorter": return part("100-150", 51, "")
      case "/longer": return part("100-1990", 100, "")
      case "/encoded": return part("100-199", 100, "Content-Encoding: gzip\r\n")
      case "/none":
        return .head("206 Partial Content", headers: "Content-Length: 100\r\n") + [.send(Array(repeating: 0, count: 100))]
      default: return part("100-199", 2000, "")
      }
    }
    defer { server.stop() }
    let transport = try CurlTransport.impatient()
    for name in ["whole", "beyond", "elsewhere", "shorter", "longer", "encoded", "none", "flood"] {
      let url = "\(server.root)/\(name)"
      let sink = CollectingSink()
      let error = try await failure { try await transport.download(TransferRequest(url: url, range: 100..<200), into: sink) }
      switch (name, error) {
      case ("whole", .transferFailed(url, .rangeUnavailable)), ("beyond", .transferFailed(url, .rangeUnavailable)),
        ("flood", .tooLarge(url, 100)):
        break
      case ("whole", _), ("beyond", _), ("flood", _): Issue.record("\(name): \(error)")
      case (_, .transferFailed(url, .malformed)): break
      default: Issue.record("\(name): \(error)")
      }
      #expect(sink.bytes.isEmpty)
    }
  }

  @Test func `a part that ends early is an error, and a tag cannot smuggle a header`() async throws {
    let server = try ScriptedServer { _ in
      .head("206 Partial Content", headers: "Content-Length: 50\r\nContent-Range: bytes 0-99/100\r\n") + [
        .send(Array(repeating: 0, count: 50))
      ]
    }
    defer { server.stop() }
    let transport = try CurlTransport.impatient()
    let url = server.root + "/a"
    let error = try await failure { try await part(0..<100, of: url, through: transport) }
    guard case .transferFailed(url, .interrupted) = error else { throw error }
    for tag in ["\"a\"\r\nX: \"y\"", "W/\"a\"", "a", "\""] {
      _ = try await failure { try await part(0..<100, of: url, tag: tag, through: transport) }
    }
    #expect(server.count("/a") == 1)
    let directory = try TemporaryDirectory()
    let path = directory.path.appending("a")
    try write(noise(100), to: path)
    let short = try await failure { try await part(50..<101, of: path.string, through: FileTransport()) }
    #expect(short == .transferFailed(url: path.string, .rangeUnavailable))
  }
}
