// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import Glibc
import SystemPackage

/// `file://` URLs and plain paths.
public struct FileTransport: Transport {
  /// What is read at a time, in bytes.
  private static let chunkByteCount = 256 << 10

  /// Makes a transport.
  public init() {}

  /// Reads the file in the task that calls.
  ///
  /// - Throws: as ``Transport/download(_:into:)``; ``RepositoryError/system(operation:path:_:)``.
  @discardableResult
  public func download(_ request: TransferRequest, into sink: any TransferSink) async throws -> TransferResponse {
    let path = try Self.path(of: request.url)
    let file: FileDescriptor
    do {
      // Not blocking: a named pipe must not hold a thread of the pool.
      file = try FileDescriptor.open(path, .readOnly, options: [.closeOnExec, .init(rawValue: O_NONBLOCK)])
    } catch Errno.noSuchFileOrDirectory, Errno.notDirectory {
      throw RepositoryError.notFound(url: request.url)
    } catch let errno as Errno {
      throw RepositoryError.system(operation: "open", path: path, errno)
    }
    defer { try? file.close() }
    let tag: String
    do { tag = try Files.status(of: file).entityTag } catch {
      throw RepositoryError.system(operation: "stat", path: path, error)
    }
    if let expected = request.entityTag, expected != tag {
      throw RepositoryError.transferFailed(url: request.url, .rangeUnavailable)
    }
    let range = request.range ?? 0 ..< .max
    var chunk: [UInt8] = []
    var total: UInt64 = 0
    while total < range.byteCount {
      try Task.checkCancellation()
      let wanted = min(UInt64(Self.chunkByteCount), range.byteCount - total)
      do { try chunk.refill(from: file, at: range.lowerBound + total, upTo: Int(wanted)) } catch {
        throw RepositoryError.system(operation: "read", path: path, error)
      }
      if chunk.isEmpty { break }
      guard total + UInt64(chunk.count) <= request.maximumByteCount else {
        throw RepositoryError.tooLarge(url: request.url, limit: request.maximumByteCount)
      }
      while case .pause(let gate) = try chunk.offer(to: sink) {
        await gate.wait()
        try Task.checkCancellation()
      }
      total += UInt64(chunk.count)
    }
    guard request.range == nil || total == range.byteCount else {
      throw RepositoryError.transferFailed(url: request.url, .rangeUnavailable)
    }
    return TransferResponse(url: request.url, byteCount: total, entityTag: tag)
  }

  /// The path that a `file://` URL or a plain path means.
  ///
  /// - Throws: ``RepositoryError/invalidURL(_:)`` for any other scheme, a host, a NUL or a damaged escape.
  public static func path(of url: String) throws(RepositoryError) -> FilePath {
    guard !url.isEmpty, !url.utf8.contains(0) else { throw .invalidURL(url) }
    guard url.hasScheme("file://") else {
      // A scheme that is not known is no path, whatever may lie there.
      guard !url.prefix(while: { $0 != "/" }).hasSuffix(":") else { throw .invalidURL(url) }
      return FilePath(url)
    }
    let path = url.dropFirst("file://".count)
    guard path.hasPrefix("/"), let decoded = String(path).percentDecoded, !decoded.utf8.contains(0) else {
      throw .invalidURL(url)
    }
    return FilePath(decoded)
  }
}

/// ``CurlTransport`` for `http://` and `https://`, ``FileTransport`` for everything else.
public struct StandardTransport: Transport {
  private let http: CurlTransport?
  private let file = FileTransport()

  /// Makes both.
  ///
  /// - Throws: as ``CurlTransport/init(options:)``.
  public init(options: CurlTransport.Options = .init()) throws(RepositoryError) { http = try CurlTransport(options: options) }

  private init() { http = nil }

  /// Brings files of this machine only; for everything else it throws ``TransferFailure/offline``.
  public static var offline: StandardTransport { StandardTransport() }

  /// Leaves it to the one that the scheme calls for.
  ///
  /// - Throws: as ``CurlTransport`` and ``FileTransport``.
  @discardableResult
  public func download(_ request: TransferRequest, into sink: any TransferSink) async throws -> TransferResponse {
    guard request.url.isHTTP else { return try await file.download(request, into: sink) }
    guard let http else { throw RepositoryError.transferFailed(url: request.url, .offline) }
    return try await http.download(request, into: sink)
  }
}

extension Files.Status {
  /// Changes whenever the file does.
  fileprivate var entityTag: String {
    "\"\(device)-\(inode)-\(byteCount)-\(modificationTime.seconds).\(modificationTime.nanoseconds)\""
  }
}

extension String {
  /// The text with `%xx` replaced; nil when an escape is damaged or the result is not UTF-8.
  var percentDecoded: String? {
    var result: [UInt8] = []
    var rest = utf8[...]
    while let byte = rest.popFirst() {
      guard byte == UInt8(ascii: "%") else {
        result.append(byte)
        continue
      }
      guard let high = rest.popFirst()?.hexadecimalValue, let low = rest.popFirst()?.hexadecimalValue else { return nil }
      result.append(high << 4 | low)
    }
    return String(validating: result, as: UTF8.self)
  }
}

extension UInt8 {
  var hexadecimalValue: UInt8? {
    switch self {
    case UInt8(ascii: "0")...UInt8(ascii: "9"): self - UInt8(ascii: "0")
    case UInt8(ascii: "a")...UInt8(ascii: "f"): self - UInt8(ascii: "a") + 10
    case UInt8(ascii: "A")...UInt8(ascii: "F"): self - UInt8(ascii: "A") + 10
    default: nil
    }
  }
}
