// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriRepo
import DistriStore
import FlyingFox
import FlyingSocks
import Foundation
import SystemPackage

/// Answers GET and HEAD with regular files below a directory: whole or one range, with validators for caches.
struct FileServer: HTTPHandler {
  private let root: RootedDirectory
  private let log: @Sendable (String) -> Void

  init(root path: FilePath, log: @escaping @Sendable (String) -> Void) throws {
    root = try RootedDirectory(root: path)
    self.log = log
  }

  func handleRequest(_ request: HTTPRequest) async throws -> HTTPResponse {
    let response = answer(request)
    let client = request.remoteIPAddress ?? "-"
    let path = request.target.rawValue.printable
    log(
      "\(client) \(request.method.rawValue.printable) \(path) \(response.statusCode.code) \(response.headers[.contentLength] ?? "0")"
    )
    return response
  }

  private func answer(_ request: HTTPRequest) -> HTTPResponse {
    guard request.method == .GET || request.method == .HEAD else {
      return Self.empty(.methodNotAllowed, [HTTPHeader("Allow"): "GET, HEAD"])
    }
    // Hidden files are a publisher's temporary ones.
    guard let path = Self.path(request.target.path(percentEncoded: true)),
      path.components.allSatisfy({ $0.bytes.first != UInt8(ascii: ".") }), let file = try? OpenFile(path, below: root)
    else { return Self.empty(.notFound) }
    var headers: HTTPHeaders = [
      .acceptRanges: "bytes", .eTag: file.entityTag, .lastModified: file.lastModified,
      .contentType: path.name?.description.hasSuffix(".textproto") == true
        ? "text/plain; charset=utf-8" : "application/octet-stream",
    ]
    if Self.isUnchanged(file, for: request.headers) { return Self.empty(.notModified, headers) }
    var range = 0..<file.byteCount
    var status = HTTPStatusCode.ok
    switch Self.range(request.headers, of: file) {
    case .none: break
    case .some(.none): return Self.empty(.rangeNotSatisfiable, [.contentRange: "bytes */\(file.byteCount)"])
    case .some(.some(let wanted)):
      range = wanted
      status = .partialContent
      headers[.contentRange] = "bytes \(range.lowerBound)-\(range.upperBound - 1)/\(file.byteCount)"
    }
    headers[.contentLength] = String(range.count)
    if request.method == .HEAD { return HTTPResponse(statusCode: status, headers: headers) }
    let body = HTTPBodySequence(
      from: FileBody(file: file, range: range), count: range.count, suggestedBufferSize: FileBody.chunkByteCount)
    return HTTPResponse(statusCode: status, headers: headers, body: body)
  }

  private static func empty(_ status: HTTPStatusCode, _ headers: HTTPHeaders = [:]) -> HTTPResponse {
    var headers = headers
    // A 304 has no body, and the length it may tell is that of the file.
    if status != .notModified { headers[.contentLength] = "0" }
    return HTTPResponse(statusCode: status, headers: headers)
  }

  /// Decodes each component by itself: an escaped slash separates nothing. Nil for what cannot be a path below.
  static func path(_ encoded: String) -> TreePath? {
    guard encoded.hasPrefix("/") else { return nil }
    var components: [EntryName] = []
    for part in encoded.dropFirst().split(separator: "/", omittingEmptySubsequences: false) {
      guard let decoded = part.removingPercentEncoding, let name = try? EntryName(decoded) else { return nil }
      components.append(name)
    }
    return TreePath(components: components)
  }

  private static func isUnchanged(_ file: OpenFile, for headers: HTTPHeaders) -> Bool {
    if let tags = headers[.ifNoneMatch] {
      return tags.split(separator: ",").contains { part in
        let tag = part.trimmingCharacters(in: .whitespaces)
        return tag == "*" || tag == file.entityTag || tag == "W/\(file.entityTag)"
      }
    }
    return headers[.ifModifiedSince] == file.lastModified
  }

  /// Nil: no range, or several, or one of an older version: the whole file. `.some(nil)`: a range that the file does not have.
  static func range(_ headers: HTTPHeaders, of file: OpenFile) -> Range<Int>?? {
    guard let text = headers[.range] else { return .none }
    if let condition = headers[HTTPHeader("If-Range")], condition != file.entityTag, condition != file.lastModified { return .none }
    return range(text, byteCount: file.byteCount)
  }

  static func range(_ text: String, byteCount: Int) -> Range<Int>?? {
    guard text.hasPrefix("bytes="), !text.contains(",") else { return .none }
    let ends = text.dropFirst("bytes=".count).split(separator: "-", maxSplits: 1, omittingEmptySubsequences: false)
    guard ends.count == 2, ends.allSatisfy({ $0.utf8.allSatisfy { (48...57).contains($0) } }) else { return .none }
    switch (Int(ends[0]), Int(ends[1])) {
    case (nil, let count?) where ends[0].isEmpty:
      return count > 0 && byteCount > 0 ? max(0, byteCount - count)..<byteCount : .some(nil)
    case (let first?, nil) where ends[1].isEmpty:
      return first < byteCount ? first..<byteCount : .some(nil)
    case (let first?, let last?) where first <= last:
      return first < byteCount ? first..<(min(last, byteCount - 1) + 1) : .some(nil)
    default: return .none
    }
  }
}

/// A regular file that is being served.
final class OpenFile: Sendable {
  private let descriptor: FileDescriptor
  private let status: Files.Status

  init(_ path: TreePath, below root: RootedDirectory) throws {
    descriptor = try root.openFile(path)
    do {
      status = try Files.status(of: descriptor)
      guard status.isRegular else { throw Errno.noSuchFileOrDirectory }
    } catch {
      try? descriptor.close()
      throw error
    }
  }

  deinit { try? descriptor.close() }

  var byteCount: Int { Int(clamping: status.byteCount) }

  /// Changes with the file's time and size.
  var entityTag: String {
    let time = status.modificationTime
    return "\"\(String(time.seconds, radix: 16))-\(String(time.nanoseconds, radix: 16))-\(String(status.byteCount, radix: 16))\""
  }

  /// As HTTP writes dates.
  var lastModified: String {
    var seconds = status.modificationTime.seconds
    var parts = tm()
    gmtime_r(&seconds, &parts)
    let days = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"]
    let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
    func two(_ number: Int32) -> String { (number < 10 ? "0" : "") + String(number) }
    return """
      \(days[Int(parts.tm_wday)]), \(two(parts.tm_mday)) \(months[Int(parts.tm_mon)]) \(1900 + parts.tm_year) \
      \(two(parts.tm_hour)):\(two(parts.tm_min)):\(two(parts.tm_sec)) GMT
      """
  }

  /// Up to `count` bytes; fewer only at the end of the file.
  func read(at offset: Int, count: Int) throws -> Data {
    var data = Data(count: count)
    let got = try data.withUnsafeMutableBytes { buffer in
      var filled = 0
      while filled < count {
        let got = try descriptor.read(
          fromAbsoluteOffset: Int64(offset + filled), into: UnsafeMutableRawBufferPointer(rebasing: buffer[filled...]))
        if got == 0 { break }
        filled += got
      }
      return filled
    }
    return got == count ? data : data.prefix(got)
  }
}

/// A range of a file, a chunk at a time.
struct FileBody: AsyncBufferedSequence {
  typealias Element = UInt8

  static let chunkByteCount = 512 << 10

  let file: OpenFile
  let range: Range<Int>

  func makeAsyncIterator() -> Iterator { Iterator(file: file, rest: range) }

  struct Iterator: AsyncBufferedIteratorProtocol {
    let file: OpenFile
    var rest: Range<Int>

    mutating func next() async throws -> UInt8? { try await nextBuffer(suggested: 1)?.first }

    mutating func nextBuffer(suggested count: Int) async throws -> Data? {
      guard !rest.isEmpty else { return nil }
      let count = Swift.min(count, rest.count)
      let data = try file.read(at: rest.lowerBound, count: count)
      // A file that shrank: only a closed connection tells the client, for the length was promised.
      guard data.count == count else { throw Errno.ioError }
      rest = (rest.lowerBound + count)..<rest.upperBound
      return data
    }
  }
}
