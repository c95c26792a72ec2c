// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriRepo
import Foundation
import Glibc
import SystemPackage
import TestSupport
import Testing

/// nginx with TLS and HTTP/2, and a certificate that nobody but the test trusts.
final class SecureServer: Sendable {
  let port: UInt16
  let certificate: FilePath
  private let directory: FilePath

  init(in directory: FilePath) throws {
    self.directory = directory
    certificate = directory.appending("certificate.pem")
    port = try Self.freePort()
    try run(
      "openssl",
      [
        "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj",
        "/CN=localhost",
        "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", directory.appending("key.pem").string, "-out", certificate.string,
      ])
    let paths = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map { "\($0)_temp_path \(directory)/\($0);" }
    let configuration = """
      worker_processes 1; pid \(directory)/pid; error_log \(directory)/error.log; events {}
      http {
        \(paths.joined(separator: " "))
        log_format connections '$connection $server_protocol'; access_log \(directory)/access.log connections;
        server {
          listen 127.0.0.1:\(port) ssl http2; root \(directory)/site;
          ssl_certificate \(certificate); ssl_certificate_key \(directory)/key.pem;
          location /down { return 302 http://127.0.0.1:\(port)/file; }
        }
      }
      """
    try write(Array(configuration.utf8), to: directory.appending("nginx.conf"))
    // Returns when it listens. Foundation would wait for the daemon, which keeps the descriptor that it watches.
    let starter = try spawn(
      "/usr/bin/env",
      ["nginx", "-p", directory.string, "-c", directory.appending("nginx.conf").string, "-e", "\(directory)/error.log"])
    try #require(waitFor(starter) == 0, "nginx does not start")
  }

  /// Connection number and protocol of each request.
  func log() throws -> [[Substring]] {
    String(decoding: try contents(of: directory.appending("access.log")), as: UTF8.self).split(separator: "\n").map {
      $0.split(separator: " ")
    }
  }

  func stop() {
    guard let text = try? contents(of: directory.appending("pid")),
      let pid = pid_t(String(decoding: text, as: UTF8.self).trimmingCharacters(in: .whitespacesAndNewlines))
    else { return }
    kill(pid, SIGQUIT)
  }

  private static func freePort() throws -> UInt16 {
    let server = try ScriptedServer { _ in [.close] }
    server.stop()
    return server.port
  }
}

@Suite struct SecureTransportTests {
  @Test func `a certificate has to be trusted, and many transfers share one HTTP 2 connection`() async throws {
    let directory = try TemporaryDirectory()
    let site = directory.path.appending("site")
    try FileManager.default.createDirectory(atPath: site.string, withIntermediateDirectories: true)
    // Its workers are another user.
    try run("chmod", ["-R", "a+rx", directory.path.string])
    let body = noise(400_000)
    try write(body, to: site.appending("file"))
    let server = try SecureServer(in: directory.path)
    defer { server.stop() }
    let url = "https://127.0.0.1:\(server.port)/file"

    let stranger = try CurlTransport.impatient()
    let error = try await failure { try await stranger.bytes(of: url, maximumByteCount: 400_000) }
    guard case .transferFailed(url, .untrusted) = error else { throw error }

    var options = CurlTransport.Options.impatient
    options.certificateAuthorities = server.certificate
    options.maximumTransfersPerHost = 16
    let transport = try CurlTransport(options: options)
    try await withThrowingTaskGroup(of: Void.self) { group in
      for _ in 0..<40 {
        group.addTask {
          let got = try await transport.bytes(of: url, maximumByteCount: 400_000)
          #expect(got == body)
        }
      }
      try await group.waitForAll()
    }
    let down = "https://127.0.0.1:\(server.port)/down"
    let refused = try await failure { try await transport.bytes(of: down, maximumByteCount: 400_000) }
    #expect(refused == .transferFailed(url: down, .redirectRefused))
    let log = try server.log()
    #expect(log.count { $0[1] == "HTTP/2.0" } >= 40)
    #expect(Set(log.map { $0[0] }).count <= 2)
  }
}
