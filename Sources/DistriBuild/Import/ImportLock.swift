// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore
import SystemPackage

/// What was made of which Debian packages, and which revision it got; committed beside the import definition.
///
/// Text: a paragraph per package, sorted by name.
///
///     package nano-amd64-7.2-1+deb12u1-1
///     digest 5d1c…                          # of everything that the package is made of
///     needs gcc-libs glibc ncurses          # the run-time closure, by name
///     deb nano 7.2-1+deb12u1 amd64 87f2…    # name, version, architecture, SHA-256
public struct ImportLock: Sendable, Hashable {
  /// One package.
  public struct Entry: Sendable, Hashable {
    /// The full name that it got.
    public var package: PackageID
    /// SHA-256, in hexadecimal digits, of the inputs: debs, their definition, the rules of the importer.
    public var digest: String
    /// The names of the run-time closure, sorted.
    public var needs: [String]
    /// What it was made of, in the definition's order.
    public var debs: [Deb]
  }

  /// One Debian package.
  public struct Deb: Sendable, Hashable {
    /// Its name.
    public var name: String
    /// Debian's version.
    public var version: String
    /// Debian's architecture.
    public var architecture: String
    /// SHA-256 in hexadecimal digits.
    public var sha256: String
  }

  /// By package name.
  public var entries: [String: Entry] = [:]

  /// Makes an empty lock.
  public init() {}

  /// Parses a lock.
  ///
  /// - Throws: ``BuildError/invalidDefinition(_:line:column:reason:)``.
  public init(bytes: [UInt8], path: FilePath) throws(BuildError) {
    var current: Entry?
    for (index, line) in String(decoding: bytes, as: UTF8.self).split(separator: "\n", omittingEmptySubsequences: false)
      .enumerated()
    {
      func defect(_ reason: String) -> BuildError { .invalidDefinition(path, line: index + 1, column: 1, reason: reason) }
      let words = line.prefix { $0 != "#" }.split(separator: " ")
      guard let keyword = words.first else { continue }
      if keyword == "package" {
        try finish(current, defect)
        guard words.count == 2, let package = try? PackageID(parsing: words[1]), package.revision > 0 else {
          throw defect("«package» wants a full name with a revision")
        }
        current = Entry(package: package, digest: "", needs: [], debs: [])
        continue
      }
      guard current != nil else { throw defect("a line before the first «package»") }
      switch keyword {
      case "digest" where words.count == 2: current?.digest = String(words[1])
      case "needs": current?.needs = words.dropFirst().map(String.init)
      case "deb" where words.count == 5:
        guard words[4].utf8.count == 64, words[4].allSatisfy(\.isHexDigit), !words[1].contains("/"), !words[2].contains("/") else {
          throw defect("«deb» wants name, version, architecture and SHA-256")
        }
        current?.debs.append(
          Deb(name: String(words[1]), version: String(words[2]), architecture: String(words[3]), sha256: String(words[4])))
      default: throw defect("«\(String(line).printable)» is no line of a lock")
      }
    }
    try finish(current) { .invalidDefinition(path, line: 1, column: 1, reason: $0) }
  }

  private mutating func finish(_ entry: Entry?, _ defect: (String) -> BuildError) throws(BuildError) {
    guard let entry else { return }
    guard !entry.debs.isEmpty, !entry.digest.isEmpty else { throw defect("\(entry.package) has no digest or no debs") }
    guard entries.updateValue(entry, forKey: entry.package.name) == nil else {
      throw defect("\(entry.package.name) comes twice")
    }
  }

  /// Reads a lock; one that is not there is empty.
  ///
  /// - Throws: ``BuildError/system(operation:path:_:)``, and as ``init(bytes:path:)``.
  public init(path: FilePath) throws(BuildError) {
    self.init()
    if path.exists { self = try ImportLock(bytes: try path.contents(limit: 16 << 20), path: path) }
  }

  /// The text, the same for the same entries.
  public var text: String {
    var result = "# What was made of which Debian packages. Written by distri-build import --update-lock.\n"
    for entry in entries.values.sorted(by: { $0.package < $1.package }) {
      result += "\npackage \(entry.package)\ndigest \(entry.digest)\n"
      result += (["needs"] + entry.needs).joined(separator: " ") + "\n"
      for deb in entry.debs { result += "deb \(deb.name) \(deb.version) \(deb.architecture) \(deb.sha256)\n" }
    }
    return result
  }

  /// The full name for a package of a digest: the revision stays as long as neither it nor anything of its closure changes.
  ///
  /// - Parameter changed: the names in the closure whose own digest is not the lock's.
  func package(
    name: String, architecture: Architecture, upstream: String, digest: String, changed: Bool
  ) throws(StoreError) -> PackageID {
    var revision: UInt64 = 1
    if let entry = entries[name] {
      revision = entry.package.revision
      if changed || entry.digest != digest || entry.package.upstream != upstream || entry.package.architecture != architecture {
        revision += 1
      }
    }
    return try PackageID(name: name, architecture: architecture, upstream: upstream, revision: revision)
  }
}

extension ImportLock {
  /// Writes the text, so that there is always either the old or the new one.
  ///
  /// - Throws: ``BuildError/system(operation:path:_:)``.
  public func write(to path: FilePath) throws(BuildError) {
    let new = FilePath("\(path).new")
    try new.write(Array(text.utf8))
    try new.rename(to: path)
  }
}
