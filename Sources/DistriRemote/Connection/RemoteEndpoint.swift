// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

#if RemoteExecution

/// Where a server of the Remote Execution API listens: `grpc://HOST:PORT[/INSTANCE]`, or `grpcs://…` with TLS.
public struct RemoteEndpoint: Sendable, Hashable, CustomStringConvertible {
  /// A name, or an address; that of IPv6 without brackets.
  public let host: String
  /// From 1 to 65535.
  public let port: Int
  /// Which of the server's instances is meant; often empty.
  public let instance: String
  /// Whether the connection is encrypted, and the server proves who it is.
  public let isSecure: Bool

  /// Segments that end an instance's name in the names of resources.
  private static let reservedSegments: Set<Substring> = [
    "actionResults", "actions", "blobs", "capabilities", "compressed-blobs", "operations", "uploads",
  ]

  /// Parses an address.
  ///
  /// - Throws: ``RemoteError/invalidEndpoint(_:reason:)``.
  public init(parsing text: String) throws(RemoteError) {
    func refuse(_ reason: String) -> RemoteError { .invalidEndpoint(text, reason: reason) }
    var rest = text[...]
    if rest.hasPrefix("grpcs://") {
      (isSecure, rest) = (true, rest.dropFirst(8))
    } else if rest.hasPrefix("grpc://") {
      (isSecure, rest) = (false, rest.dropFirst(7))
    } else {
      throw refuse("begins with neither grpc:// nor grpcs://")
    }
    let slash = rest.firstIndex(of: "/") ?? rest.endIndex
    instance = String(rest[slash...].dropFirst())
    rest = rest[..<slash]
    if rest.hasPrefix("[") {
      guard let end = rest.firstIndex(of: "]") else { throw refuse("has no ] behind its address") }
      host = String(rest[rest.index(after: rest.startIndex)..<end])
      rest = rest[rest.index(after: end)...]
    } else {
      let colon = rest.firstIndex(of: ":") ?? rest.endIndex
      host = String(rest[..<colon])
      rest = rest[colon...]
    }
    let isPlain = { (byte: UInt8) in
      byte < 0x80 && (Unicode.Scalar(byte).properties.isAlphabetic || (0x2d...0x3a).contains(byte) || byte == 0x5f)
    }
    guard !host.isEmpty, host.utf8.count <= 253, host.utf8.allSatisfy(isPlain) else { throw refuse("has no host's name") }
    if rest.isEmpty, isSecure {
      port = 443
    } else {
      let digits = rest.dropFirst()
      guard rest.hasPrefix(":"), digits.utf8.allSatisfy({ (0x30...0x39).contains($0) }), let number = UInt16(digits), number > 0
      else { throw refuse("has no port, from 1 to 65535") }
      port = Int(number)
    }
    let segments = instance.split(separator: "/", omittingEmptySubsequences: false)
    guard instance.isEmpty || segments.allSatisfy({ !$0.isEmpty && !Self.reservedSegments.contains($0) }),
      instance.utf8.count <= 1024, instance.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7f })
    else { throw refuse("names an instance that no server can have") }
  }

  /// As it is parsed.
  public var description: String {
    "\(isSecure ? "grpcs" : "grpc")://\(host.contains(":") ? "[\(host)]" : host):\(port)\(instance.isEmpty ? "" : "/\(instance)")"
  }

  /// Whether nobody outside of this machine can listen.
  var isLocal: Bool {
    host == "localhost" || host == "::1" || host.hasPrefix("127.") && host.allSatisfy { $0.isNumber || $0 == "." }
  }
}

#endif
