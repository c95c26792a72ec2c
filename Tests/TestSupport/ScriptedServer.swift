// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import Glibc
import Synchronization

/// A server on the loopback device that answers as the test says, bytes as given, right or wrong.
public final class ScriptedServer: Sendable {
  /// A request.
  public struct Request: Sendable {
    /// Such as GET.
    public var method: Substring
    /// With its query.
    public var path: String
    /// All up to the body.
    public var head: String
    /// How many requests for this path came before.
    public var previous: Int

    /// The value of a header field; nil where there is none.
    public func field(_ name: String) -> Substring? {
      let line = head.split(separator: "\r\n").first { $0.lowercased().hasPrefix(name.lowercased() + ": ") }
      return line?.dropFirst(name.utf8.count + 2)
    }
  }

  /// A part of an answer.
  public enum Step: Sendable {
    /// Sends the bytes.
    case send([UInt8])
    /// Sends the bytes again and again until the client goes away.
    case repeating([UInt8])
    /// Says nothing more until the client goes away.
    case hang
    /// Waits until the gate opens.
    case wait(Latch)
    /// Ends the connection.
    case close
  }

  private struct State {
    var counts: [String: Int] = [:]
    var connections = 0
    var mostConnections = 0
    var isStopped = false
  }

  private let listener: Int32
  private let state = Mutex(State())
  private let answer: @Sendable (Request) -> [Step]
  /// Where it listens.
  public let port: UInt16

  /// Listens, and asks for what to answer.
  public init(_ answer: @escaping @Sendable (Request) -> [Step]) throws {
    self.answer = answer
    (listener, port) = try listenOnLoopback()
    detach { [self] in acceptConnections() }
  }

  /// The address of its root, without a slash at the end.
  public var root: String { "http://127.0.0.1:\(port)" }

  /// The most connections that were open at the same time.
  public var mostConnections: Int { state.withLock { $0.mostConnections } }

  /// How many requests came for the path.
  public func count(_ path: String) -> Int { state.withLock { $0.counts[path, default: 0] } }

  /// Ends the accepting thread; connections end when their clients do.
  public func stop() {
    state.withLock { $0.isStopped = true }
    shutdown(listener, Int32(SHUT_RDWR))
  }

  private func acceptConnections() {
    while true {
      let client = accept4(listener)
      guard client >= 0 else { break }
      state.withLock {
        $0.connections += 1
        $0.mostConnections = max($0.mostConnections, $0.connections)
      }
      detach { [self] in
        serve(client)
        state.withLock { $0.connections -= 1 }
        close(client)
      }
    }
    close(listener)
  }

  private func accept4(_ listener: Int32) -> Int32 { accept(listener, nil, nil) }

  private func serve(_ client: Int32) {
    while let request = readRequest(client) {
      for step in answer(request) {
        switch step {
        case .send(let bytes): if !sendBytes(bytes, to: client) { return }
        case .repeating(let bytes): while sendBytes(bytes, to: client) {}
        case .hang:
          var byte: UInt8 = 0
          while recv(client, &byte, 1, 0) > 0 {}
          return
        case .wait(let latch): latch.wait()
        case .close: return
        }
      }
    }
  }

  private func readRequest(_ client: Int32) -> Request? {
    var head: [UInt8] = []
    var byte: UInt8 = 0
    while !head.suffix(4).elementsEqual([13, 10, 13, 10]) {
      guard recv(client, &byte, 1, 0) == 1 else { return nil }
      head.append(byte)
    }
    let text = String(decoding: head, as: UTF8.self)
    let words = text.split(separator: " ", maxSplits: 2)
    let path = String(words[1])
    let previous = state.withLock { state in
      defer { state.counts[path, default: 0] += 1 }
      return state.counts[path, default: 0]
    }
    return Request(method: words[0], path: path, head: text, previous: previous)
  }
}

extension [ScriptedServer.Step] {
  /// A whole, honest answer.
  public static func ok(_ body: [UInt8], headers: String = "") -> Self {
    head("200 OK", headers: "Content-Length: \(body.count)\r\n" + headers) + [.send(body)]
  }

  /// The file, or the part of it that the request asks for, as a server of files answers.
  public static func file(_ body: [UInt8], for request: ScriptedServer.Request, tag: String? = nil) -> Self {
    let headers = tag.map { "ETag: \($0)\r\n" } ?? ""
    guard let range = request.field("Range"), request.field("If-Range").map({ String($0) == tag }) ?? true else {
      return ok(body, headers: headers)
    }
    let ends = range.dropFirst("bytes=".count).split(separator: "-").compactMap { Int($0) }
    let last = Swift.min(ends.count > 1 ? ends[1] : body.count, body.count - 1)
    guard let first = ends.first, first <= last else { return status("416 Range Not Satisfiable", headers: headers) }
    let part = [UInt8](body[first...last])
    return head(
      "206 Partial Content",
      headers: headers + "Content-Length: \(part.count)\r\nContent-Range: bytes \(first)-\(last)/\(body.count)\r\n") + [.send(part)]
  }

  /// An answer without body.
  public static func status(_ line: String, headers: String = "") -> Self { head(line, headers: "Content-Length: 0\r\n" + headers) }

  /// The start of an answer.
  public static func head(_ line: String, headers: String) -> Self {
    let head: [UInt8] = Array<UInt8>("HTTP/1.1 \(line)\r\n\(headers)\r\n".utf8)
    return [.send(head)]
  }
}

/// Opens once; blocks threads, not tasks.
public final class Latch: Sendable {
  private let ends: (read: Int32, write: Int32)

  /// Closed.
  public init() {
    var ends: [Int32] = [0, 0]
    pipe(&ends)
    self.ends = (ends[0], ends[1])
  }

  deinit {
    close(ends.read)
    close(ends.write)
  }

  /// Lets all through.
  public func open() { _ = write(ends.write, [1], 1) }

  /// Returns when it is open.
  public func wait() {
    var ready = pollfd(fd: ends.read, events: Int16(POLLIN), revents: 0)
    poll(&ready, 1, -1)
  }
}
