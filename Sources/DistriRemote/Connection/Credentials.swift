// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

#if RemoteExecution

import DistriStore
import GRPCNIOTransportHTTP2Posix
import SystemPackage

/// Who the client is to a server, and the server to it.
struct Credentials {
  private let options: RemoteOptions

  private static let tokenLimit = 64 << 10

  init(_ options: RemoteOptions) { self.options = options }

  /// How the connection is secured.
  ///
  /// - Throws: ``RemoteError/invalidCredentials(_:reason:)``.
  func security(of endpoint: RemoteEndpoint) throws(RemoteError) -> HTTP2ClientTransport.Posix.TransportSecurity {
    guard endpoint.isSecure else {
      if let path = options.certificate ?? options.key ?? options.authorities {
        throw .invalidCredentials(path, reason: "\(endpoint) is spoken with without TLS; write grpcs://")
      }
      // Not at the first call only.
      _ = try token(for: endpoint)
      return .plaintext
    }
    var tls = HTTP2ClientTransport.Posix.TransportSecurity.TLS.defaults
    if let path = options.authorities { tls.trustRoots = .certificates([.file(path: try readable(path), format: .pem)]) }
    switch (options.certificate, options.key) {
    case (nil, nil): break
    case (let certificate?, let key?):
      tls.certificateChain = [.file(path: try readable(certificate), format: .pem)]
      tls.privateKey = .file(path: try readable(key), format: .pem)
    case (let path?, nil): throw .invalidCredentials(path, reason: "is a certificate without its key")
    case (nil, let path?): throw .invalidCredentials(path, reason: "is a key without its certificate")
    }
    _ = try token(for: endpoint)
    return .tls(tls)
  }

  /// The bearer token as it is now; nil where none is used.
  ///
  /// - Throws: ``RemoteError/invalidCredentials(_:reason:)``, for a connection without TLS, too.
  func token(for endpoint: RemoteEndpoint) throws(RemoteError) -> String? {
    guard let path = options.tokenFile else { return nil }
    guard endpoint.isSecure || endpoint.isLocal else {
      throw .invalidCredentials(
        path, reason: "a token is not sent to \(endpoint), where anybody on the way could read it; write grpcs://")
    }
    let bytes = try contents(of: path)
    guard bytes.count <= Self.tokenLimit else { throw .invalidCredentials(path, reason: "is too large for a token") }
    let text = bytes.drop { $0 <= 0x20 }.prefix { $0 > 0x20 && $0 < 0x7f }
    let rest = bytes[text.endIndex...]
    guard !text.isEmpty, rest.allSatisfy({ $0 <= 0x20 }) else { throw .invalidCredentials(path, reason: "holds no token") }
    return String(decoding: text, as: UTF8.self)
  }

  private func readable(_ path: FilePath) throws(RemoteError) -> String {
    _ = try contents(of: path)
    return path.string
  }

  private func contents(of path: FilePath) throws(RemoteError) -> [UInt8] {
    do {
      let file = try FileDescriptor.open(path, .readOnly, options: .closeOnExec)
      return try file.closeAfter { try file.bytes(at: 0, atMost: Self.tokenLimit + 1) }
    } catch {
      throw .invalidCredentials(path, reason: "cannot be read: \(error as? Errno ?? .ioError)")
    }
  }
}

#endif
