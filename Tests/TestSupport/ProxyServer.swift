// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import Glibc
import Synchronization

/// An HTTP proxy on the loopback device: it forwards GET and opens tunnels with CONNECT, a connection for each, to servers on the loopback device.
public final class ProxyServer: Sendable {
  private let listener: Int32
  private let requests = Mutex<[String]>([])
  private let authorization: String?
  /// Where it listens.
  public let port: UInt16

  /// - Parameter authorization: what `Proxy-Authorization` has to be; nil lets everybody pass.
  public init(authorization: String? = nil) throws {
    self.authorization = authorization
    (listener, port) = try listenOnLoopback()
    detach { [self] in
      while true {
        let client = accept(listener, nil, nil)
        guard client >= 0 else { break }
        detach { [self] in
          serve(client)
          close(client)
        }
      }
      close(listener)
    }
  }

  /// The first lines of what it was asked.
  public var log: [String] { requests.withLock { $0 } }

  /// Ends the accepting thread; connections end when their ends do.
  public func stop() { shutdown(listener, Int32(SHUT_RDWR)) }

  private func serve(_ client: Int32) {
    while let head = readHead(client), let line = head.split(separator: "\r\n").first {
      requests.withLock { $0.append(String(line)) }
      if let authorization, !head.contains("Proxy-Authorization: \(authorization)\r\n") {
        _ = sendAll("HTTP/1.1 407 Who are you\r\nProxy-Authenticate: Basic realm=\"test\"\r\nContent-Length: 0\r\n\r\n", to: client)
        continue
      }
      let words = line.split(separator: " ")
      // `127.0.0.1:8000`, or `http://127.0.0.1:8000/path`.
      let rest = words[0] == "CONNECT" ? words[1] : words[1].dropFirst("http://".count)
      let authority = rest.prefix { $0 != "/" }
      guard let port = authority.split(separator: ":").last.flatMap({ UInt16($0) }), let server = connectToLoopback(port) else {
        _ = sendAll("HTTP/1.1 502 Nobody there\r\nContent-Length: 0\r\n\r\n", to: client)
        continue
      }
      defer { close(server) }
      if words[0] == "CONNECT" {
        if sendAll("HTTP/1.1 200 OK\r\n\r\n", to: client) { relay(client, server) }
        return
      }
      let fields = head.drop { $0 != "\r\n" }
      guard sendAll("\(words[0]) \(rest.drop { $0 != "/" }) HTTP/1.1\(fields)", to: server), forwardAnswer(of: server, to: client)
      else {
        return
      }
    }
  }

  /// An answer that says how long it is.
  private func forwardAnswer(of server: Int32, to client: Int32) -> Bool {
    guard let head = readHead(server), sendAll(head, to: client) else { return false }
    let length = head.split(separator: "\r\n").first { $0.hasPrefix("Content-Length: ") }
    var rest = length.flatMap { Int($0.dropFirst("Content-Length: ".count)) } ?? 0
    var buffer = [UInt8](repeating: 0, count: 64 << 10)
    while rest > 0 {
      let count = recv(server, &buffer, min(rest, buffer.count), 0)
      guard count > 0, sendBytes(Array(buffer.prefix(count)), to: client) else { return false }
      rest -= count
    }
    return true
  }

  /// Copies both ways until one end closes.
  private func relay(_ a: Int32, _ b: Int32) {
    var ends = [pollfd(fd: a, events: Int16(POLLIN), revents: 0), pollfd(fd: b, events: Int16(POLLIN), revents: 0)]
    var buffer = [UInt8](repeating: 0, count: 64 << 10)
    while poll(&ends, 2, -1) > 0 {
      for (index, end) in ends.enumerated() where end.revents != 0 {
        let count = recv(end.fd, &buffer, buffer.count, 0)
        guard count > 0, sendBytes(Array(buffer.prefix(count)), to: ends[1 - index].fd) else { return }
      }
    }
  }

  private func readHead(_ client: Int32) -> String? {
    var head: [UInt8] = []
    var byte: UInt8 = 0
    while !head.suffix(4).elementsEqual([13, 10, 13, 10]) {
      guard recv(client, &byte, 1, 0) == 1 else { return nil }
      head.append(byte)
    }
    return String(decoding: head, as: UTF8.self)
  }

  private func sendAll(_ text: String, to end: Int32) -> Bool { sendBytes(Array(text.utf8), to: end) }
}
