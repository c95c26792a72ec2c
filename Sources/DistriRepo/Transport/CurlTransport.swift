// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import SystemPackage

/// `http://` and `https://` through libcurl: one thread for all transfers, connections kept and shared, HTTP/2 multiplexed.
///
/// Certificates are verified, redirects stay within HTTP(S) and never go from HTTPS to HTTP, transfers that stall are given up,
/// and transient failures are tried again. The last reference that goes away ends the thread.
public final class CurlTransport: Transport {
  /// How transfers are made.
  public struct Options: Sendable {
    /// Transfers from one host at the same time; further ones wait.
    public var maximumTransfersPerHost = 8
    /// How long connecting may take, with name look-up and TLS.
    public var connectTimeLimit: Duration = .seconds(15)
    /// A transfer slower than this many bytes a second …
    public var minimumBytesPerSecond: UInt32 = 1024
    /// … for this long is given up. Whole seconds, at least one. A paused transfer does not count.
    public var slownessTimeLimit: Duration = .seconds(30)
    /// How often a transfer is tried altogether when it fails for a reason that may pass. Attempts that brought a MiB or more do not
    /// count, unless they were too slow: the next one goes on where they ended, if the server can do that.
    public var maximumAttempts = 4
    /// The wait before the second attempt; it doubles with each further one.
    public var retryDelay: Duration = .milliseconds(250)
    /// The longest chain of redirects.
    public var maximumRedirects = 8
    /// A file of certificates (PEM) to trust instead of the system's.
    public var certificateAuthorities: FilePath?
    /// A proxy for everything, such as `http://user:password@host:3128` or `socks5h://host:1080`; nil for none, or that of the environment.
    public var proxy: String?
    /// Whether libcurl may take a proxy from the usual environment variables; without, none is used.
    public var usesProxyOfEnvironment = false
    /// What servers are told of us.
    public var userAgent = "distri"

    /// The defaults.
    public init() {}
  }

  /// What an attempt has to bring so that it does not count.
  private static let progressByteCount: UInt64 = 1 << 20

  private let options: Options
  private let engine: CurlEngine

  /// Starts the thread.
  ///
  /// - Throws: ``RepositoryError/system(operation:path:_:)`` when there is not enough memory or no thread to be had.
  public init(options: Options = Options()) throws(RepositoryError) {
    self.options = options
    engine = try CurlEngine(maximumTransfersPerHost: max(1, options.maximumTransfersPerHost))
  }

  deinit { engine.stop() }

  /// Makes up to ``Options/maximumAttempts`` attempts; waits while the host is busy with other transfers.
  ///
  /// An attempt that broke off is continued by a range of the file, if the server has given it a strong entity tag (RFC 9110, sections 8.8.3
  /// and 13.1.5).
  ///
  /// - Throws: as ``Transport/download(_:into:)``; ``RepositoryError/invalidURL(_:)`` for other schemes than HTTP and HTTPS.
  @discardableResult
  public func download(_ request: TransferRequest, into sink: any TransferSink) async throws -> TransferResponse {
    guard request.url.isHTTP else { throw RepositoryError.invalidURL(request.url) }
    if let range = request.range, range.isEmpty {
      return TransferResponse(url: request.url, byteCount: 0, entityTag: request.entityTag)
    }
    // The end of this object ends the thread that serves us.
    defer { withExtendedLifetime(self) {} }
    var delay = options.retryDelay
    var attempt = 1
    var resumption: TransferResumption?
    while true {
      try Task.checkCancellation()
      let before = resumption
      do {
        return try await engine.perform(request, resuming: &resumption, into: sink, options: options)
      } catch RepositoryError.transferFailed(_, let failure) {
        // Nothing can go on behind what came so far: it is another file by now.
        let hasChanged = before != nil && request.range == nil && (failure == .status(416) || failure == .rangeUnavailable)
        if hasChanged { resumption = nil }
        guard failure.isTransient || hasChanged else { throw RepositoryError.transferFailed(url: request.url, failure) }
        if failure != .timedOut, let resumption, resumption.byteCount >= (before?.byteCount ?? 0) + Self.progressByteCount {
          (attempt, delay) = (0, options.retryDelay)
        }
        guard attempt < options.maximumAttempts else { throw RepositoryError.transferFailed(url: request.url, failure) }
        try await Task.sleep(for: delay)
        if resumption == nil { try sink.restart() }
        attempt += 1
        delay *= 2
      }
    }
  }
}

extension String {
  /// Whether this is an HTTP(S) URL.
  var isHTTP: Bool { isHTTPS || hasScheme("http://") }

  var isHTTPS: Bool { hasScheme("https://") }

  /// Schemes are compared without regard to case.
  func hasScheme(_ scheme: String) -> Bool {
    utf8.count > scheme.utf8.count && prefix(scheme.count).lowercased() == scheme
  }

  /// What transfers are limited by: scheme and authority of the URL.
  var host: Substring {
    var slashes = 0
    let end = utf8.firstIndex { byte in
      if byte == UInt8(ascii: "/") { slashes += 1 }
      return slashes == 3
    }
    return self[..<(end ?? endIndex)]
  }
}
