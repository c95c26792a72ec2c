// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

/// What a person writes to name a package: `nano`, `nano-amd64` or `nano-amd64-7.2-3`.
///
/// The first two mean the newest version. File names (`….squashfs`, `….meta.textproto`, `….squashfs.gz`, `….log`), link targets
/// (`../less-amd64-530-17/bin/less`) and build-log paths (`_build/git/build-amd64-2.9.5-3.log`) are understood, too.
public struct PackageQuery: Sendable, Hashable, CustomStringConvertible {
  /// The package's name.
  public let name: String
  /// The architecture, where one was given.
  public let architecture: Architecture?
  /// The one version meant, where one was given.
  public let exact: PackageID?

  /// Parses a name, a full name or a file name, but no path.
  ///
  /// - Throws: ``StoreError/invalidName(_:_:)`` that says what is wrong with it.
  public init(parsing text: some StringProtocol) throws(StoreError) {
    if let defect = Self.defect(of: text) { throw .invalidName(String(text), defect) }
    let stem = Self.withoutFileExtension(Substring(text))
    guard stem.utf8.count <= PackageID.maximumByteCount else { throw .invalidName(String(text), .tooLong) }
    let words = stem.split(separator: "-", omittingEmptySubsequences: false)
    guard let index = words.lastIndex(where: { Architecture(rawValue: String($0)) != nil }), index > 0,
      let architecture = Architecture(rawValue: String(words[index]))
    else {
      guard !stem.isEmpty else { throw .invalidName(String(text), .empty) }
      self.init(name: String(stem), architecture: nil, exact: nil)
      return
    }
    let name = String(stem[..<words[index - 1].endIndex])
    guard !name.isEmpty else { throw .invalidName(String(text), .empty) }
    guard index + 1 < words.count else {
      self.init(name: name, architecture: architecture, exact: nil)
      return
    }
    let version = stem[words[index + 1].startIndex...]
    guard !version.isEmpty else { throw .invalidName(String(text), .noVersion) }
    self.init(
      name: name, architecture: architecture,
      exact: PackageID(checkedName: name, architecture: architecture, version: version))
  }

  /// Parses the first component of a path that is a full name: a link target, a path below `/ro`, a build log.
  ///
  /// A file `build-<architecture>-<version>.log` belongs to the package that its directory is named after.
  ///
  /// - Throws: ``StoreError/invalidName(_:_:)`` when no component is one.
  public init(parsingPath path: some StringProtocol) throws(StoreError) {
    let components = path.split(separator: "/")
    for (index, component) in components.enumerated() where component != "." && component != ".." {
      guard let query = try? PackageQuery(parsing: component), let id = query.exact else { continue }
      if id.name == "build", component.hasSuffix(".log"), index > 0 {
        self = try PackageQuery(parsing: "\(components[index - 1])-\(id.architecture)-\(id.version)")
      } else {
        self = query
      }
      return
    }
    throw .invalidName(String(path), .noVersion)
  }

  private init(name: String, architecture: Architecture?, exact: PackageID?) {
    self.name = name
    self.architecture = architecture
    self.exact = exact
  }

  /// Whether the package is one that was asked for.
  public func matches(_ package: PackageID, defaultArchitecture: Architecture = .host) -> Bool {
    if let exact { return package == exact }
    return package.name == name && package.architecture == (architecture ?? defaultArchitecture)
  }

  /// The newest of the packages that match: highest revision, compared as a number.
  public func newest(of packages: some Sequence<PackageID>, defaultArchitecture: Architecture = .host) -> PackageID? {
    packages.lazy.filter { matches($0, defaultArchitecture: defaultArchitecture) }.newest()
  }

  /// The query as a person would write it.
  public var description: String {
    if let exact { return exact.description }
    return architecture.map { "\(name)-\($0)" } ?? name
  }

  private static let fileExtensions = [".squashfs.gz", ".squashfs.zst", ".squashfs", ".meta.textproto", ".log"]

  private static func withoutFileExtension(_ text: Substring) -> Substring {
    for ending in fileExtensions where text.hasSuffix(ending) { return text.dropLast(ending.count) }
    return text
  }

  private static func defect(of text: some StringProtocol) -> StoreError.NameDefect? {
    if text.isEmpty { return .empty }
    if text.utf8.first == UInt8(ascii: ".") { return .hidden }
    for byte in text.utf8 where !(0x21...0x7e).contains(byte) || byte == UInt8(ascii: "/") { return .forbiddenByte(byte) }
    return nil
  }
}
