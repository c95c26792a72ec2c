// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import CCurl
import Synchronization
import SystemPackage

/// Where an attempt goes on after the one before it broke off.
struct TransferResumption: Sendable, Hashable {
  /// What the sink has taken.
  var byteCount: UInt64
  /// The entity tag, a strong one: whatever has it is the same bytes.
  var entityTag: String
}

/// One attempt at one transfer: an easy handle, and what its callbacks need.
///
/// `@unchecked Sendable`: after ``begin(_:whenResumed:)`` only the engine's thread touches it, but for the flag, which is atomic.
@safe final class CurlTransfer: @unchecked Sendable {
  let easy: UnsafeMutableRawPointer
  let host: Substring
  private let request: TransferRequest
  private let sink: any TransferSink
  private let start: TransferResumption?
  private var hasBegun = false
  private let errorText: UnsafeMutablePointer<CChar>
  private var continuation: CheckedContinuation<TransferResponse, any Error>?
  private var requestResume: @Sendable () -> Void = {}
  private var failure: (any Error)?
  private var byteCount: UInt64 = 0
  private var headerByteCount = 0
  private let cancelled = Atomic(false)

  /// More header bytes than any honest server sends.
  private static let maximumHeaderByteCount = 256 << 10
  /// libcurl's buffer for what arrives.
  private static let receiveBufferByteCount = 512 << 10

  private var headers: UnsafeMutablePointer<curl_slist>?

  /// - Parameter start: what to go on after; nil to begin.
  init(
    _ request: TransferRequest, from start: TransferResumption?, sink: any TransferSink, options: CurlTransport.Options
  ) throws(RepositoryError) {
    guard let easy = unsafe curl_easy_init() else { throw .system(operation: "start", path: "libcurl", .noMemory) }
    unsafe self.easy = unsafe easy
    self.request = request
    self.sink = sink
    self.start = start
    host = request.url.host
    unsafe errorText = .allocate(capacity: Int(CURL_ERROR_SIZE))
    unsafe errorText.initialize(repeating: 0, count: Int(CURL_ERROR_SIZE))
    guard !request.url.utf8.contains(where: { $0 <= 0x20 || $0 == 0x7f }), configure(options) else {
      throw .invalidURL(request.url)
    }
  }

  deinit {
    unsafe curl_easy_cleanup(easy)
    unsafe curl_slist_free_all(headers)
    unsafe errorText.deallocate()
  }

  // MARK: Called by anybody

  func begin(
    _ continuation: CheckedContinuation<TransferResponse, any Error>, whenResumed: @escaping @Sendable () -> Void
  ) {
    self.continuation = continuation
    requestResume = whenResumed
  }

  func markCancelled() { cancelled.store(true, ordering: .releasing) }

  var isCancelled: Bool { cancelled.load(ordering: .acquiring) }

  // MARK: Called by the engine's thread

  var startFailure: RepositoryError { .system(operation: "start transfer of \(request.url)", path: "libcurl", .noMemory) }

  /// The sink may take bytes again.
  func resume() { _ = unsafe curl_easy_pause(easy, CURLPAUSE_CONT) }

  func complete(_ result: Result<TransferResponse, any Error>) {
    continuation?.resume(with: result)
    continuation = nil
  }

  func result(of code: CURLcode) -> Result<TransferResponse, any Error> {
    if let failure { return .failure(failure) }
    let status = status
    guard code == CURLE_OK else { return .failure(error(code, status: status)) }
    do { try begin() } catch { return .failure(error) }
    if let range = request.range, byteCount < range.byteCount {
      return .failure(RepositoryError.transferFailed(url: request.url, .interrupted("less came than the answer says")))
    }
    var url: UnsafePointer<CChar>?
    _ = unsafe ccurl_get_string(easy, CURLINFO_EFFECTIVE_URL, &url)
    let effective = unsafe url.map { unsafe String(cString: $0) } ?? request.url
    return .success(TransferResponse(url: effective, byteCount: byteCount, entityTag: entityTag))
  }

  /// What the next attempt can go on after; nil when it has to begin anew.
  ///
  /// Only with a strong tag, and not in the middle of what the server has encoded for us.
  var resumption: TransferResumption? {
    guard hasBegun else { return start }
    guard byteCount > 0, let entityTag else { return nil }
    return TransferResumption(byteCount: byteCount, entityTag: entityTag)
  }

  /// The tag of the bytes that came, if it is a strong one.
  private var entityTag: String? {
    let known = status == 206 ? start?.entityTag ?? request.entityTag : nil
    guard !isEncoded, let tag = header("ETag") ?? known, tag.isStrongEntityTag else { return nil }
    return tag
  }

  private var isEncoded: Bool { !["", "identity"].contains(header("Content-Encoding") ?? "") }

  /// Where in the file this attempt begins.
  private var firstByte: UInt64 { (request.range?.lowerBound ?? 0) + (start?.byteCount ?? 0) }

  /// The most bytes that the sink gets.
  private var byteLimit: UInt64 { min(request.maximumByteCount, request.range?.byteCount ?? .max) }

  /// A field of the answer, which is the last one after redirects.
  private func header(_ name: String) -> String? {
    var field: UnsafeMutablePointer<curl_header>?
    guard unsafe curl_easy_header(easy, name, 0, UInt32(CURLH_HEADER), -1, &field) == CURLHE_OK, let field = unsafe field else {
      return nil
    }
    return unsafe String(cString: field.pointee.value)
  }

  /// Looks at the answer once, when its head is there: it has to be the file, or the part that was asked for.
  private func begin() throws {
    guard !hasBegun else { return }
    switch status {
    case 200 where request.range != nil: throw RepositoryError.transferFailed(url: request.url, .rangeUnavailable)
    // Another file by now, or a server that knows no ranges.
    case 200: if start != nil { try sink.restart() }
    case 206 where start != nil || request.range != nil:
      let expected = "bytes \(firstByte)-" + (request.range.map { "\($0.upperBound - 1)/" } ?? "")
      guard header("Content-Range")?.hasPrefix(expected) == true, !isEncoded else {
        throw RepositoryError.transferFailed(url: request.url, .malformed("another part of the file than was asked for"))
      }
      if let wanted = start?.entityTag ?? request.entityTag, let tag = header("ETag"), tag != wanted {
        throw RepositoryError.transferFailed(url: request.url, .rangeUnavailable)
      }
      byteCount = start?.byteCount ?? 0
    // A body that comes with anything else is not the file.
    default: throw RepositoryError.transferFailed(url: request.url, .status(status))
    }
    hasBegun = true
  }

  private var status: Int { number(CURLINFO_RESPONSE_CODE) ?? 0 }

  /// Nil for 0, which is what libcurl says where there is nothing to say.
  private func number(_ info: CURLINFO) -> Int? {
    var value = 0
    return unsafe ccurl_get_long(easy, info, &value) == CURLE_OK && value != 0 ? value : nil
  }

  /// What OpenSSL says of the certificate (`X509_V_ERR_…`); libcurl itself looks at the host's name,
  /// and leaves an unspecified error there.
  private func certificateDefect(_ text: String) -> CertificateDefect {
    switch number(CURLINFO_SSL_VERIFYRESULT) {
    case nil, 1, 62, 64: .wrongHost
    case 9: .notYetValid
    case 10: .expired
    case 18: .selfSigned
    case 2, 19, 20, 21: .unknownIssuer
    default: .other(text)
    }
  }

  private func error(_ code: CURLcode, status: Int) -> RepositoryError {
    let detail = unsafe String(cString: errorText)
    let text = detail.isEmpty ? unsafe String(cString: curl_easy_strerror(code)) : detail
    let url = request.url
    // It has not opened the tunnel that HTTPS goes through.
    if status == 0, let answer = number(CURLINFO_HTTP_CONNECTCODE), !(200..<300).contains(answer) {
      return .transferFailed(url: url, .refusedByProxy(answer))
    }
    switch code {
    case CURLE_HTTP_RETURNED_ERROR where status == 404 || status == 410: return .notFound(url: url)
    case CURLE_HTTP_RETURNED_ERROR where status == 416 && request.range != nil: return .transferFailed(url: url, .rangeUnavailable)
    case CURLE_HTTP_RETURNED_ERROR where status == 407: return .transferFailed(url: url, .refusedByProxy(status))
    case CURLE_HTTP_RETURNED_ERROR where status != 0: return .transferFailed(url: url, .status(status))
    // The length of the whole file.
    case CURLE_FILESIZE_EXCEEDED where status == 200 && request.range != nil: return .transferFailed(url: url, .rangeUnavailable)
    case CURLE_OPERATION_TIMEDOUT: return .transferFailed(url: url, .timedOut)
    case CURLE_COULDNT_RESOLVE_HOST, CURLE_COULDNT_RESOLVE_PROXY, CURLE_COULDNT_CONNECT:
      return .transferFailed(url: url, .unreachable(text))
    case CURLE_PARTIAL_FILE, CURLE_GOT_NOTHING, CURLE_RECV_ERROR, CURLE_SEND_ERROR, CURLE_HTTP2, CURLE_HTTP2_STREAM:
      return .transferFailed(url: url, .interrupted(text))
    case CURLE_UNSUPPORTED_PROTOCOL, CURLE_TOO_MANY_REDIRECTS: return .transferFailed(url: url, .redirectRefused)
    case CURLE_PEER_FAILED_VERIFICATION: return .transferFailed(url: url, .untrusted(certificateDefect(text)))
    case CURLE_SSL_CONNECT_ERROR, CURLE_SSL_CACERT_BADFILE, CURLE_SSL_ISSUER_ERROR:
      return .transferFailed(url: url, .untrusted(.other(text)))
    case CURLE_FILESIZE_EXCEEDED: return .tooLarge(url: url, limit: byteLimit)
    case CURLE_URL_MALFORMAT: return .invalidURL(url)
    default: return .transferFailed(url: url, .malformed(text))
    }
  }

  // MARK: Callbacks

  /// Answers libcurl: how many of the bytes were taken, a pause, or an error (any other number).
  fileprivate func receive(_ bytes: UnsafeRawBufferPointer) -> Int {
    do {
      try begin()
      let (total, overflow) = byteCount.addingReportingOverflow(UInt64(bytes.count))
      guard !overflow, total <= byteLimit else {
        throw RepositoryError.tooLarge(url: request.url, limit: byteLimit)
      }
      switch try sink.consume(unsafe bytes.bytes) {
      case .proceed:
        byteCount = total
        return bytes.count
      case .pause(let gate):
        gate.whenOpen(requestResume)
        return Int(CURL_WRITEFUNC_PAUSE)
      }
    } catch {
      failure = error
      return Self.refuse
    }
  }

  fileprivate func receiveHeader(_ count: Int) -> Int {
    headerByteCount += count
    guard headerByteCount <= Self.maximumHeaderByteCount else {
      failure = RepositoryError.transferFailed(url: request.url, .malformed("headers without end"))
      return Self.refuse
    }
    return count
  }

  /// A number of bytes that was never offered: libcurl ends the transfer.
  fileprivate static let refuse = Int(CURL_WRITEFUNC_ERROR)

  // MARK: Configuration

  private func set(_ option: CURLoption, _ value: Int) -> Bool { unsafe ccurl_set_long(easy, option, value) == CURLE_OK }

  private func set(_ option: CURLoption, _ value: String) -> Bool { unsafe ccurl_set_string(easy, option, value) == CURLE_OK }

  private func set(_ option: CURLoption, seconds: Duration) -> Bool {
    set(option, Int(clamping: max(1, seconds.components.seconds)))
  }

  private func set(_ option: CURLoption, milliseconds time: Duration) -> Bool {
    let (seconds, attoseconds) = time.components
    let whole = seconds.multipliedReportingOverflow(by: 1000)
    let milliseconds = whole.overflow ? Int64.max : whole.partialValue &+ attoseconds / 1_000_000_000_000_000
    return set(option, max(1, min(Int(clamping: milliseconds), Int(Int32.max))))
  }

  private func configure(_ options: CurlTransport.Options) -> Bool {
    // Credentials do not follow a redirect, and HTTPS stays HTTPS.
    let redirects = request.url.isHTTPS ? "https" : "http,https"
    var ok =
      set(CURLOPT_URL, request.url) && set(CURLOPT_PROTOCOLS_STR, "http,https") && set(CURLOPT_REDIR_PROTOCOLS_STR, redirects)
      && set(CURLOPT_FOLLOWLOCATION, 1) && set(CURLOPT_MAXREDIRS, options.maximumRedirects) && set(CURLOPT_FAILONERROR, 1)
      && set(CURLOPT_SSL_VERIFYPEER, 1) && set(CURLOPT_SSL_VERIFYHOST, 2) && set(CURLOPT_USERAGENT, options.userAgent)
      && set(CURLOPT_NOSIGNAL, 1) && set(CURLOPT_NETRC, 0) && set(CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_2TLS)
      && set(CURLOPT_CONNECTTIMEOUT_MS, milliseconds: options.connectTimeLimit)
      && set(CURLOPT_LOW_SPEED_LIMIT, Int(options.minimumBytesPerSecond))
      && set(CURLOPT_LOW_SPEED_TIME, seconds: options.slownessTimeLimit)
      && set(CURLOPT_BUFFERSIZE, Self.receiveBufferByteCount)
    if start != nil || request.range != nil {
      ok = ok && set(CURLOPT_RANGE, "\(firstByte)-" + (request.range.map { "\($0.upperBound - 1)" } ?? ""))
      if let tag = start?.entityTag ?? request.entityTag { ok = ok && tag.isStrongEntityTag && configureHeader("If-Range: \(tag)") }
    } else if request.allowsEncoding {
      // The empty string offers every encoding that libcurl was built with.
      ok = ok && set(CURLOPT_ACCEPT_ENCODING, "")
    }
    if request.url.isHTTPS { ok = ok && set(CURLOPT_PIPEWAIT, 1) }
    if let limit = request.timeLimit { ok = ok && set(CURLOPT_TIMEOUT_MS, milliseconds: limit) }
    if let proxy = options.proxy {
      ok = ok && set(CURLOPT_PROXY, proxy) && set(CURLOPT_NOPROXY, "")
    } else if !options.usesProxyOfEnvironment {
      ok = ok && set(CURLOPT_PROXY, "")
    }
    if let file = options.certificateAuthorities {
      ok = ok && set(CURLOPT_CAINFO, file.string) && set(CURLOPT_PROXY_CAINFO, file.string)
    }
    return ok && configureLengthLimit() && configureCallbacks()
  }

  /// Refuses by the announced length, before a byte comes. An encoded body may be a little larger than what it decodes to.
  private func configureLengthLimit() -> Bool {
    guard byteLimit < UInt64(Int64.max) / 2 else { return true }
    let limit = Int(byteLimit + byteLimit / 16 + 4096)
    return unsafe ccurl_set_offset(easy, CURLOPT_MAXFILESIZE_LARGE, limit) == CURLE_OK
  }

  private func configureHeader(_ line: String) -> Bool {
    unsafe headers = curl_slist_append(headers, line)
    return unsafe headers != nil && ccurl_set_pointer(easy, CURLOPT_HTTPHEADER, headers) == CURLE_OK
  }

  private func configureCallbacks() -> Bool {
    // Unretained: the engine's queue holds the transfer for as long as libcurl may call.
    let context = unsafe Unmanaged.passUnretained(self).toOpaque()
    return unsafe ccurl_set_pointer(easy, CURLOPT_ERRORBUFFER, errorText) == CURLE_OK
      && ccurl_set_pointer(easy, CURLOPT_WRITEDATA, context) == CURLE_OK
      && ccurl_set_callback(easy, CURLOPT_WRITEFUNCTION, receiveBody) == CURLE_OK
      && ccurl_set_pointer(easy, CURLOPT_HEADERDATA, context) == CURLE_OK
      && ccurl_set_callback(easy, CURLOPT_HEADERFUNCTION, receiveHeaders) == CURLE_OK
  }
}

private func receiveBody(
  _ data: UnsafeMutablePointer<CChar>?, _ size: Int, _ count: Int, _ context: UnsafeMutableRawPointer?
) -> Int {
  guard let data = unsafe data, let context = unsafe context else { return CurlTransfer.refuse }
  let bytes = unsafe UnsafeRawBufferPointer(start: data, count: size &* count)
  return unsafe Unmanaged<CurlTransfer>.fromOpaque(context).takeUnretainedValue().receive(bytes)
}

private func receiveHeaders(
  _ data: UnsafeMutablePointer<CChar>?, _ size: Int, _ count: Int, _ context: UnsafeMutableRawPointer?
) -> Int {
  guard let context = unsafe context else { return CurlTransfer.refuse }
  return unsafe Unmanaged<CurlTransfer>.fromOpaque(context).takeUnretainedValue().receiveHeader(size &* count)
}
