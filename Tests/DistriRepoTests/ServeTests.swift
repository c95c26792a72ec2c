// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import Foundation
import Glibc
import SystemPackage
import TestSupport
import Testing

/// A `distri-fetch serve` that runs until it is told to end.
final class RunningServer: Sendable {
  let port: UInt16
  let root: String
  private let pid: pid_t

  init(of directory: FilePath) async throws {
    let folder = try TemporaryDirectory()
    let file = folder.path.appending("port")
    // Reports the file that appears by a rename: no need to look again and again.
    let watch = inotify_init1(Int32(IN_CLOEXEC))
    defer { close(watch) }
    inotify_add_watch(watch, folder.path.string, UInt32(IN_MOVED_TO))
    pid = try spawn("distri-fetch", ["serve", directory.string, "--listen", "127.0.0.1:0", "--port-file", file.string])
    var ready = pollfd(fd: watch, events: Int16(POLLIN), revents: 0)
    try #require(poll(&ready, 1, 30_000) == 1, "the server does not start")
    let text = String(decoding: try contents(of: file), as: UTF8.self)
    port = try #require(UInt16(text.trimmingCharacters(in: .newlines)))
    root = "http://127.0.0.1:\(port)"
  }

  deinit { kill(pid, SIGKILL) }

  /// The exit status after SIGTERM.
  func terminate() async throws -> Int32 {
    kill(pid, SIGTERM)
    let status = waitFor(pid)
    return status & 0x7f == 0 ? (status >> 8) & 0xff : 128 + status & 0x7f
  }

  struct Answer {
    var status: Int
    var headers: [String: String]
    var body: [UInt8]
  }

  /// Sends a request as it is written, which no client library would.
  func ask(_ method: String, _ target: String, headers: [String] = []) throws -> Answer {
    let client = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    defer { close(client) }
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
    address.sin_port = port.bigEndian
    let connected = withUnsafePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { connect(client, $0, socklen_t(MemoryLayout<sockaddr_in>.size)) }
    }
    try #require(connected == 0)
    let head = (["\(method) \(target) HTTP/1.1", "Host: x", "Connection: close"] + headers).joined(separator: "\r\n") + "\r\n\r\n"
    let file = FileDescriptor(rawValue: client)
    try file.writeAll(Array(head.utf8))
    var bytes: [UInt8] = []
    while true {
      let chunk = try [UInt8](unsafeUninitializedCapacity: 1 << 16) { buffer, count in
        count = try file.read(into: UnsafeMutableRawBufferPointer(buffer))
      }
      if chunk.isEmpty { break }
      bytes += chunk
    }
    let end = try #require(bytes.firstRange(of: Array("\r\n\r\n".utf8)))
    let lines = String(decoding: bytes[..<end.lowerBound], as: UTF8.self).components(separatedBy: "\r\n")
    let fields = lines.dropFirst().map { $0.split(separator: ":", maxSplits: 1) }
    return Answer(
      status: Int(lines[0].split(separator: " ")[1]) ?? 0,
      headers: Dictionary(
        uniqueKeysWithValues: fields.map { ($0[0].lowercased(), $0[1].trimmingCharacters(in: .whitespaces)) }),
      body: Array(bytes[end.upperBound...]))
  }
}

@Suite struct ServeTests {
  private let body = noise(3_000_000)

  /// `site/pkg/file`, and a secret beside `site`.
  private func site(_ directory: FilePath) throws -> FilePath {
    let root = directory.appending("site")
    try FileManager.default.createDirectory(atPath: root.appending("pkg").string, withIntermediateDirectories: true)
    try write(body, to: root.appending("pkg/file"))
    try write([], to: root.appending("pkg/empty"))
    try write([1], to: root.appending("pkg/.hidden"))
    try write([1], to: directory.appending("secret"))
    for (name, target) in [("out", "../../secret"), ("absolute", "/etc/passwd"), ("in", "file")] {
      try FileManager.default.createSymbolicLink(
        atPath: root.appending("pkg/\(name)").string, withDestinationPath: target)
    }
    mkfifo(root.appending("pkg/fifo").string, 0o644)
    return root
  }

  @Test func `whole files, ranges and validators`() async throws {
    let directory = try TemporaryDirectory()
    let server = try await RunningServer(of: try site(directory.path))
    let whole = try server.ask("GET", "/pkg/file")
    #expect(whole.status == 200)
    #expect(whole.body == body)
    #expect(whole.headers["content-length"] == "3000000")
    #expect(try server.ask("GET", "/pkg/in").body == body)
    #expect(try server.ask("GET", "/pkg/empty").headers["content-length"] == "0")
    let head = try server.ask("HEAD", "/pkg/file")
    #expect(head.status == 200)
    #expect(head.body == [])
    #expect(head.headers["content-length"] == "3000000")
    let tag = try #require(whole.headers["etag"])
    let date = try #require(whole.headers["last-modified"])
    #expect(try server.ask("GET", "/pkg/file", headers: ["If-None-Match: \"x\", \(tag)"]).status == 304)
    #expect(try server.ask("GET", "/pkg/file", headers: ["If-None-Match: \"x\""]).status == 200)
    #expect(try server.ask("GET", "/pkg/file", headers: ["If-Modified-Since: \(date)"]).status == 304)
    for (range, expected) in [
      ("0-9", 0..<10), ("2999990-", 2_999_990..<3_000_000), ("-5", 2_999_995..<3_000_000),
      ("1000000-9999999", 1_000_000..<3_000_000),
    ] {
      let part = try server.ask("GET", "/pkg/file", headers: ["Range: bytes=\(range)"])
      #expect(part.status == 206)
      #expect(part.body == Array(body[expected]))
      #expect(part.headers["content-range"] == "bytes \(expected.lowerBound)-\(expected.upperBound - 1)/3000000")
    }
    for range in ["3000000-", "-0"] {
      let part = try server.ask("GET", "/pkg/file", headers: ["Range: bytes=\(range)"])
      #expect(part.status == 416)
      #expect(part.headers["content-range"] == "bytes */3000000")
    }
    for range in ["bytes=9-1", "bytes=0-1,4-5", "lines=0-1", "bytes=x-"] {
      #expect(try server.ask("GET", "/pkg/file", headers: ["Range: \(range)"]).status == 200)
    }
    #expect(try server.ask("GET", "/pkg/file", headers: ["Range: bytes=0-9", "If-Range: \(tag)"]).status == 206)
    #expect(try server.ask("GET", "/pkg/file", headers: ["Range: bytes=0-9", "If-Range: \"old\""]).status == 200)
    #expect(try await server.terminate() == 0)
  }

  @Test func `nothing but regular files below the directory is served`() async throws {
    let directory = try TemporaryDirectory()
    let server = try await RunningServer(of: try site(directory.path))
    for target in [
      "/", "/pkg", "/pkg/", "/pkg/missing", "/../secret", "/pkg/../../secret", "/pkg/%2e%2e/%2e%2e/secret", "/..%2fsecret",
      "/pkg/out",
      "/pkg/absolute", "/pkg/.hidden", "/pkg/fifo", "//etc/passwd", "/pkg%2ffile", "/pkg/file%00", "/pkg/file/", "/%ff",
      "/pkg//file",
      "/pkg/" + String(repeating: "x", count: 3000),
    ] {
      let answer = try server.ask("GET", target)
      #expect(answer.status == 404, "\(target)")
      #expect(answer.body == [])
    }
    let post = try server.ask("POST", "/pkg/file")
    #expect(post.status == 405)
    #expect(post.headers["allow"] == "GET, HEAD")
    #expect(try await server.terminate() == 0)
  }

  @Test func `a port that is taken is an error`() async throws {
    let directory = try TemporaryDirectory()
    let server = try await RunningServer(of: try site(directory.path))
    let outcome = try await ToolProcess.run(
      "distri-fetch", ["serve", directory.path.string, "--listen", "127.0.0.1:\(server.port)"])
    #expect(outcome.status == 74)
    #expect(outcome.errors == "distri-fetch: listen on 127.0.0.1:\(server.port): Address already in use\n")
    #expect(try await server.terminate() == 0)
  }
}
