// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

/// A URL of the schemes http and https, taken apart as far as following links needs.
struct WebAddress: Sendable, Hashable, CustomStringConvertible {
  /// `http` or `https`.
  let scheme: String
  /// Host, port, and who logs in.
  let authority: String
  /// Begins with a slash.
  let path: String
  /// With its `?`, or empty.
  let query: String

  /// Longer ones are no addresses that a person meant.
  static let maximumByteCount = 4096

  /// Nil for another scheme, no host, characters that no URL has, or more than 4 KiB. A fragment is left out.
  init?(_ text: String) {
    guard text.utf8.count <= Self.maximumByteCount, text.utf8.allSatisfy({ $0 > 0x20 && $0 != 0x7f }),
      let end = text.firstRange(of: "://")
    else { return nil }
    scheme = text[..<end.lowerBound].lowercased()
    guard scheme == "http" || scheme == "https" else { return nil }
    let rest = text[end.upperBound...].prefix { $0 != "#" }
    authority = String(rest.prefix { $0 != "/" && $0 != "?" })
    guard !authority.isEmpty, authority != "@" else { return nil }
    let target = rest.dropFirst(authority.count)
    let path = target.prefix { $0 != "?" }
    query = String(target.dropFirst(path.count))
    self.path = path.isEmpty ? "/" : String(path)
  }

  private init(scheme: String, authority: String, path: String, query: String) {
    (self.scheme, self.authority, self.path, self.query) = (scheme, authority, path, query)
  }

  var description: String { "\(scheme)://\(authority)\(path)\(query)" }

  /// The same without name and password: what may be written down.
  var withoutCredentials: WebAddress {
    let host = authority.lastIndex(of: "@").map { String(authority[authority.index(after: $0)...]) } ?? authority
    return WebAddress(scheme: scheme, authority: host, path: path, query: query)
  }

  /// The parts of the path.
  var components: [String] { path.split(separator: "/").map(String.init) }

  /// The directory that holds what the path names: what is behind the last slash left out.
  var directory: WebAddress {
    let end = path.lastIndex(of: "/").map { path.index(after: $0) } ?? path.startIndex
    return WebAddress(scheme: scheme, authority: authority, path: String(path[..<end]), query: "")
  }

  /// The address with another path and no query.
  func with(components: [String], isDirectory: Bool = false) -> WebAddress {
    let path = "/" + components.joined(separator: "/") + (isDirectory && !components.isEmpty ? "/" : "")
    return WebAddress(scheme: scheme, authority: authority, path: path, query: "")
  }

  /// A name below the directory that this is, with or without its slash.
  func appending(_ name: String) -> String { "\(scheme)://\(authority)\(path)\(path.hasSuffix("/") ? "" : "/")\(name)" }

  /// Where a link on the page leads; nil for one that leaves HTTP, and for a place on the page itself.
  func resolving(_ reference: String) -> WebAddress? {
    let text = reference.prefix { $0 != "#" }
    if let colon = text.firstIndex(of: ":"), !text[..<colon].contains(where: { "/?".contains($0) }) {
      return WebAddress(String(text))
    }
    if text.isEmpty { return nil }
    if text.hasPrefix("//") { return WebAddress("\(scheme):\(text)") }
    let path = text.prefix { $0 != "?" }, query = text.dropFirst(path.count)
    let whole = path.isEmpty ? self.path : path.hasPrefix("/") ? String(path) : "\(directory.path)\(path)"
    return WebAddress("\(scheme)://\(authority)\(Self.normalized(whole))\(query)")
  }

  /// Without `.` and `..`.
  private static func normalized(_ path: String) -> String {
    var result: [Substring] = []
    let parts = path.split(separator: "/", omittingEmptySubsequences: false).dropFirst()
    for (index, part) in parts.enumerated() {
      let isLast = index == parts.count - 1
      switch part {
      case ".": if isLast { result.append("") }
      case "..":
        _ = result.popLast()
        if isLast { result.append("") }
      default: result.append(part)
      }
    }
    return "/" + result.joined(separator: "/")
  }
}
