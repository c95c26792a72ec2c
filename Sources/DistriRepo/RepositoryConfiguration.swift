// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore
import SystemPackage

/// The repositories that a machine is configured to use: `repos.d/*.repo` below `/etc/distri`.
///
/// A line is a URL or path; what follows a space is reserved. Empty lines and lines that start with `#` say nothing.
public struct RepositoryConfiguration: Sendable, Hashable {
  /// URLs and paths: files in the order of their names, lines in theirs, each once.
  public var roots: [String]

  /// The largest file that is read, in bytes.
  public static let maximumFileByteCount = 1 << 20

  /// Reads the configuration.
  ///
  /// - Parameter directory: the one that holds `repos.d`. Where that does not exist, no repository is configured.
  /// - Throws: ``RepositoryError/system(operation:path:_:)``; ``RepositoryError/tooLarge(url:limit:)``;
  ///   ``RepositoryError/invalidURL(_:)`` for a line that cannot be one.
  public init(directory: FilePath) throws(RepositoryError) {
    roots = []
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
    roots = []
    try add(text)
  }

  private mutating func add(_ text: String) throws(RepositoryError) {
    for line in text.split(whereSeparator: \.isNewline) {
      guard let word = line.split(whereSeparator: \.isWhitespace).first, !word.hasPrefix("#") else { continue }
      let root = String(word)
      if !root.isHTTP { _ = try FileTransport.path(of: root) }
      if !roots.contains(root) { roots.append(root) }
    }
  }
}
