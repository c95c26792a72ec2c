// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

#if RemoteExecution

import DistriBuild
import Foundation
import GRPCCore
import GRPCNIOTransportHTTP2Posix
import SystemPackage
import TestSupport
import Testing

@testable import DistriRemote

struct ConnectionTests {
  @Test(arguments: [
    ("grpc://127.0.0.1:50051", "127.0.0.1", 50051, "", false), ("grpcs://build.example.org", "build.example.org", 443, "", true),
    ("grpc://[::1]:8980/main/sub", "::1", 8980, "main/sub", false), ("grpcs://a_b-c.d:1/x", "a_b-c.d", 1, "x", true),
  ])
  func `an address of a server is read and written`(text: String, host: String, port: Int, instance: String, isSecure: Bool)
    throws
  {
    let endpoint = try RemoteEndpoint(parsing: text)
    #expect((endpoint.host, endpoint.port, endpoint.instance, endpoint.isSecure) == (host, port, instance, isSecure))
    #expect(try RemoteEndpoint(parsing: endpoint.description) == endpoint)
  }

  @Test(arguments: [
    "", "http://a:1", "grpc://", "grpc://a", "grpc://a:", "grpc://a:0", "grpc://a:65536", "grpc://a:+1", "grpc://a:1:2",
    "grpc://[::1:1",
    "grpc://a b:1", "grpc://:1", "grpc://a:1//x", "grpc://a:1/x/blobs", "grpc://a:1/x y", "grpc://é:1",
  ])
  func `what is no address of a server is refused`(text: String) {
    #expect(throws: RemoteError.self) { try RemoteEndpoint(parsing: text) }
  }

  @Test func `delays grow, differ by chance, and end`() {
    let policy = RetryPolicy(limit: .seconds(20))
    #expect(policy.delay(afterFailures: 1, elapsed: .zero, chance: 0) == .milliseconds(100))
    #expect(policy.delay(afterFailures: 3, elapsed: .zero, chance: 0) == .milliseconds(400))
    #expect(policy.delay(afterFailures: 3, elapsed: .zero, chance: 1) == .milliseconds(200))
    #expect(policy.delay(afterFailures: 1_000_000, elapsed: .zero, chance: 0) == .seconds(5))
    #expect(policy.delay(afterFailures: 9, elapsed: .seconds(16), chance: 0) == nil)
  }

  @Test func `a server that cannot be reached is tried again for a while`() async throws {
    var options = RemoteOptions.impatient
    options.retryTimeout = .milliseconds(400)
    let endpoint = try RemoteEndpoint(parsing: "grpc://127.0.0.1:9")
    let start = ContinuousClock.now
    let error = await #expect(throws: RemoteError.self) {
      try await RemoteCluster.with([endpoint], options) { _ = try await $0.result(of: .sample()) }
    }
    #expect(ContinuousClock.now - start < .seconds(5))
    guard case .callFailed(endpoint, "GetCapabilities", "unavailable", _) = error else {
      Issue.record("another error: \(String(describing: error))")
      return
    }
  }

  @Test(arguments: ["version", "digests", "nothing"])
  func `a server that speaks otherwise is refused`(what: String) async throws {
    var behaviour = TestServer.Behaviour.usual
    switch what {
    case "version": behaviour.capabilities.lowApiVersion.major = 3
    case "digests": behaviour.capabilities.cacheCapabilities.digestFunctions = [.sha1]
    default: behaviour.capabilities = .init()
    }
    await #expect(throws: RemoteError.self) { try await TestServer(behaviour).withBlobs { _ in } }
  }

  @Test func `a token is sent with each call, as the file has it then`() async throws {
    let server = TestServer()
    let directory = try TemporaryDirectory()
    let file = directory.path.appending("token")
    try Data("first\n".utf8).write(to: URL(filePath: file.string))
    var options = RemoteOptions.impatient
    options.tokenFile = file
    try await server.withBlobs(options) { blobs in
      try Data(" second".utf8).write(to: URL(filePath: file.string))
      _ = try await blobs.missing(of: [ContentDigest(of: [])])
    }
    #expect(server.state.withLock { $0.authorization } == ["Bearer first", "Bearer second"])
  }

  @Test(arguments: ["", "two words", "line\nline", "\u{7}", String(repeating: "x", count: 70_000)])
  func `what is no token is refused before anything is sent`(token: String) async throws {
    let directory = try TemporaryDirectory()
    let file = directory.path.appending("token")
    try Data(token.utf8).write(to: URL(filePath: file.string))
    var options = RemoteOptions.impatient
    options.tokenFile = file
    await #expect(throws: RemoteError.self) { try await TestServer().withBlobs(options) { _ in } }
  }

  @Test func `a token is not sent to another machine without TLS`() throws {
    let directory = try TemporaryDirectory()
    let file = directory.path.appending("token")
    try Data("secret".utf8).write(to: URL(filePath: file.string))
    var options = RemoteOptions()
    options.tokenFile = file
    #expect(throws: RemoteError.self) { try Connection(to: RemoteEndpoint(parsing: "grpc://127.0.0.1.example.org:1"), options) }
    #expect(throws: RemoteError.self) { try Connection(to: RemoteEndpoint(parsing: "grpc://10.0.0.1:1"), options) }
    #expect(throws: Never.self) { try Connection(to: RemoteEndpoint(parsing: "grpcs://10.0.0.1:1"), options) }
  }

  // MARK: TLS

  /// An authority, and certificates of it for a server and a client.
  private static func makeCertificates(in directory: FilePath) async throws {
    func openssl(_ arguments: String...) async throws {
      let outcome = try await ToolProcess.run("openssl", arguments, in: directory)
      try #require(outcome.status == 0, "\(outcome.errors)")
    }
    for authority in ["ca", "other"] {
      try await openssl(
        "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", "\(authority).key",
        "-out",
        "\(authority).pem", "-days", "2", "-subj", "/CN=\(authority)")
    }
    for name in ["server", "client"] {
      try await openssl(
        "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", "\(name).key", "-out",
        "\(name).csr", "-subj",
        "/CN=\(name)", "-addext", "subjectAltName=DNS:localhost")
      try await openssl(
        "x509", "-req", "-in", "\(name).csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-out", "\(name).pem",
        "-days", "2",
        "-copy_extensions", "copyall")
    }
  }

  @Test func `TLS proves the server, and with a certificate the client`() async throws {
    let directory = try TemporaryDirectory()
    let path = directory.path
    try await Self.makeCertificates(in: path)
    func file(_ name: String) -> String { path.appending(name).string }
    let security = HTTP2ServerTransport.Posix.TransportSecurity.mTLS(
      certificateChain: [.file(path: file("server.pem"), format: .pem)], privateKey: .file(path: file("server.key"), format: .pem)
    ) { $0.trustRoots = .certificates([.file(path: file("ca.pem"), format: .pem)]) }
    try await TestServer().with(tls: security) { endpoint in
      func capabilities(_ configure: (inout RemoteOptions) -> Void) async throws {
        var options = RemoteOptions.impatient
        options.retryTimeout = .milliseconds(300)
        configure(&options)
        try await RemoteCluster.with([endpoint], options) { _ = try await $0.result(of: .sample()) }
      }
      func trusting(_ authority: String) -> (inout RemoteOptions) -> Void {
        return {
          $0.authorities = path.appending("\(authority).pem")
          $0.certificate = path.appending("client.pem")
          $0.key = path.appending("client.key")
        }
      }
      try await capabilities(trusting("ca"))
      await #expect(throws: RemoteError.self) { try await capabilities(trusting("other")) }
      await #expect(throws: RemoteError.self) { try await capabilities { $0.authorities = path.appending("ca.pem") } }
      await #expect(throws: RemoteError.self) {
        try await capabilities {
          trusting("ca")(&$0)
          $0.key = nil
        }
      }
    }
  }
}

#endif
