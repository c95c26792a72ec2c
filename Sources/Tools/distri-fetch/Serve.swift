// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import DistriRepo
@preconcurrency import Dispatch
import FlyingFox
import FlyingSocks
import Foundation
import SystemPackage
import ToolSupport

struct Serve: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Serve a repository over HTTP.",
    discussion: """
      Serves files below a directory, whole or in ranges, and nothing else; for real load, let a web server do it. An access log
      goes to standard error. SIGTERM and SIGINT end it.

        distri-fetch serve /srv/distri --listen 127.0.0.1:8000
      """)

  @Argument(help: ArgumentHelp("The repository's directory.", valueName: "dir"))
  var directory: String

  @Option(name: .long, help: ArgumentHelp("Where to listen; port 0 takes a free one.", valueName: "address:port"))
  var listen = "127.0.0.1:8000"

  @Option(name: .long, help: ArgumentHelp("Write the port to a file once connections are accepted.", valueName: "file"))
  var portFile: String?

  @Flag(name: .shortAndLong, help: "No access log.")
  var quiet = false

  func validate() throws { _ = try ListeningAddress(listen) }

  func run() async throws {
    let quiet = quiet
    let files = try FileServer(root: FilePath(directory)) { line in
      if !quiet { Terminal.standardError.write(line + "\n") }
    }
    let server = HTTPServer(config: try ListeningAddress(listen).configuration, handler: files)
    let signals = Self.signals([SIGTERM, SIGINT])
    try await withThrowingTaskGroup(of: Void.self) { group in
      group.addTask { try await server.run() }
      group.addTask {
        try await server.waitUntilListening()
        try await announce(server)
        for await _ in signals { break }
      }
      do {
        // Only a failure, or a signal, ends one of the two.
        try await group.next()
      } catch SocketError.failed(_, let errno, _) {
        group.cancelAll()
        throw RepositoryError.system(operation: "listen on", path: FilePath(listen), Errno(rawValue: errno))
      }
      await server.stop(timeout: 1)
      group.cancelAll()
      // It ends with an error because its socket is closed, which is what was wanted.
      while await group.nextResult() != nil {}
    }
  }

  private func announce(_ server: HTTPServer) async throws {
    let port: UInt16
    switch await server.listeningAddress {
    case .ip4(_, let number), .ip6(_, let number): port = number
    default: return
    }
    if let portFile { try Data("\(port)\n".utf8).write(to: URL(fileURLWithPath: portFile), options: .atomic) }
    Terminal.standardError.write("serving \(directory) on port \(port)\n")
  }

  /// The signals, which then no longer end the process by themselves.
  private static func signals(_ numbers: [Int32]) -> AsyncStream<Void> {
    AsyncStream { continuation in
      let sources = numbers.map { number in
        signal(number, SIG_IGN)
        let source = DispatchSource.makeSignalSource(signal: number)
        source.setEventHandler { continuation.yield() }
        source.resume()
        return source
      }
      continuation.onTermination = { _ in for source in sources { source.cancel() } }
    }
  }
}

/// `127.0.0.1:8000` or `[::1]:8000`.
private struct ListeningAddress {
  let configuration: HTTPServer.Configuration

  init(_ text: String) throws {
    guard let colon = text.lastIndex(of: ":"), let port = UInt16(text[text.index(after: colon)...]) else {
      throw Self.refusal(text)
    }
    var host = String(text[..<colon])
    let pool = UndelayedPool(HTTPServer.defaultPool())
    if host.hasPrefix("["), host.hasSuffix("]") {
      host = String(host.dropFirst().dropLast())
      guard let address = try? sockaddr_in6.inet6(ip6: host, port: port) else { throw Self.refusal(text) }
      configuration = HTTPServer.Configuration(address: address, pool: pool, logger: .disabled)
    } else {
      guard let address = try? sockaddr_in.inet(ip4: host, port: port) else { throw Self.refusal(text) }
      configuration = HTTPServer.Configuration(address: address, pool: pool, logger: .disabled)
    }
  }

  private static func refusal(_ text: String) -> ValidationError {
    ValidationError("«\(text)» is no address to listen on; write 127.0.0.1:8000 or [::1]:8000")
  }
}

/// The server writes head and body of an answer apart. Without this, the kernel would hold back a small body until the client has
/// acknowledged the head, up to 40 ms later.
private struct UndelayedPool<Base: AsyncSocketPool>: AsyncSocketPool {
  private let base: Base

  init(_ base: Base) { self.base = base }

  func prepare() async throws { try await base.prepare() }

  func run() async throws { try await base.run() }

  /// The first socket that waits is the listening one; connections inherit its options.
  func suspendSocket(_ socket: Socket, untilReadyFor events: Socket.Events) async throws {
    var on: Int32 = 1
    setsockopt(socket.file.rawValue, Int32(IPPROTO_TCP), TCP_NODELAY, &on, socklen_t(MemoryLayout<Int32>.size))
    try await base.suspendSocket(socket, untilReadyFor: events)
  }
}
