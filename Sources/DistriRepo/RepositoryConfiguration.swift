// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore
import SystemPackage

/// The repositories that a machine is configured to use: `repos.d/*.repo` below `/etc/distri`.
///
/// A line is a URL or path; URLs and absolute paths behind it, after spaces, are its mirrors (extension; to the original distri they say nothing). What
/// else stands there is reserved. Empty lines say nothing, nor does what follows a `#` at the start of a word.
public struct RepositoryConfiguration: Sendable, Hashable {
  /// A line.
  public struct Entry: Sendable, Hashable {
    /// The repository, a URL or a path.
    public var root: String
    /// Who has the same files, in the order in which they are asked.
    public var mirrors: [String]

    /// Makes a line.
    public init(root: String, mirrors: [String] = []) {
      self.root = root
      self.mirrors = mirrors
    }
  }

  /// Files in the order of their names, lines in theirs; of two lines with the same repository the first.
  public var entries: [Entry]

  /// The repositories' URLs and paths.
  public var roots: [String] { entries.map(\.root) }

  /// The largest file that is read, in bytes.
  public static let maximumFileByteCount = 1 << 20

  /// Reads the configuration.
  ///
  /// - Parameter directory: the one that holds `repos.d`. Where that does not exist, no repository is configured.
  /// - Throws: ``RepositoryError/system(operation:path:_:)``; ``RepositoryError/tooLarge(url:limit:)``;
  ///   ``RepositoryError/invalidURL(_:)`` for a line that cannot be one.
  public init(directory: FilePath) throws(RepositoryError) {
    entries = []
    let folder = directory.appending("repos.d")
    for name in try Files.names(in: folder).sorted(by: { $0.string < $1.string }) where name.extension == "repo" {
      let path = folder.appending(name)
      let bytes = try Files.contents(of: path, limit: Self.maximumFileByteCount)
      guard let text = String(validating: bytes, as: UTF8.self) else { throw .invalidURL(path.string) }
      try add(text)
    }
  }

  /// Parses the text of one file.
  ///
  /// - Throws: ``RepositoryError/invalidURL(_:)``.
  public init(parsing text: String) throws(RepositoryError) {
    entries = []
    try add(text)
  }

  private mutating func add(_ text: String) throws(RepositoryError) {
    for line in text.split(whereSeparator: \.isNewline) {
      let words = line.split(whereSeparator: \.isWhitespace).prefix { !$0.hasPrefix("#") }.map(String.init)
      guard let root = words.first else { continue }
      let mirrors = words.dropFirst().filter { $0.contains("://") || $0.hasPrefix("/") }
      for place in [root] + mirrors where !place.isHTTP { _ = try FileTransport.path(of: place) }
      if !roots.contains(root) { entries.append(Entry(root: root, mirrors: mirrors)) }
    }
  }
}
