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

  /// - Parameters:
  ///   - name: whose certificate it is.
  ///   - dates: from when until when it is valid, as openssl writes times.
  init(in directory: FilePath, name: String = "IP:127.0.0.1", dates: (String, String)? = nil) throws {
    self.directory = directory
    certificate = directory.appending("certificate.pem")
    port = try Self.freePort()
    let (key, file) = (directory.appending("key.pem").string, certificate.string)
    let request = [
      "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", "/CN=localhost", "-addext",
      "subjectAltName=\(name)", "-keyout", key, "-out", file,
    ]
    try run("openssl", request + (dates == nil ? ["-x509", "-days", "2"] : []))
    if let dates { try Self.sign(file, key: key, dates, in: directory) }
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

  /// Replaces a request by a certificate for it, signed by its own key. Only `openssl ca` takes times that are over.
  private static func sign(_ file: String, key: String, _ dates: (String, String), in directory: FilePath) throws {
    let configuration = """
      [ca]
      default_ca = own
      [own]
      database = \(directory)/database
      new_certs_dir = \(directory)
      serial = \(directory)/serial
      default_md = sha256
      policy = any
      copy_extensions = copy
      [any]
      commonName = supplied
      """
    try write(Array(configuration.utf8), to: directory.appending("ca.cnf"))
    try write([], to: directory.appending("database"))
    try write(Array("01\n".utf8), to: directory.appending("serial"))
    try run(
      "openssl",
      [
        "ca", "-config", directory.appending("ca.cnf").string, "-batch", "-notext", "-selfsign", "-keyfile", key, "-in", file,
        "-out", file, "-startdate", dates.0, "-enddate", dates.1,
      ])
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
    #expect(error == .transferFailed(url: url, .untrusted(.selfSigned)))

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

  @Test func `an untrusted certificate is an error that says what to do`() async throws {
    let past = ("20200101000000Z", "20210101000000Z"), future = ("20900101000000Z", "20910101000000Z")
    let cases: [(name: String, dates: (String, String)?, isGiven: Bool, CertificateDefect, words: String)] = [
      ("IP:127.0.0.1", past, true, .expired, "expired; if this machine's clock is right"),
      ("IP:127.0.0.1", future, true, .notYetValid, "clock"),
      ("DNS:elsewhere.example", nil, true, .wrongHost, "another server's"),
      ("IP:127.0.0.1", nil, false, .selfSigned, "--cacert FILE"),
    ]
    for (name, dates, isGiven, defect, words) in cases {
      let directory = try TemporaryDirectory()
      try run("chmod", ["a+rx", directory.path.string])
      let server = try SecureServer(in: directory.path, name: name, dates: dates)
      defer { server.stop() }
      let root = "https://127.0.0.1:\(server.port)"
      let arguments = ["list", "--insecure-unsigned", "--repo", root] + (isGiven ? ["--cacert", server.certificate.string] : [])
      let outcome = try await ToolProcess.run("distri-fetch", arguments)
      #expect(outcome.status == 69)
      #expect(outcome.errors.contains("\(defect)") && outcome.errors.contains(words), "\(defect): \(outcome.errors)")
    }
  }
}
