// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriArchive
import DistriStore
import SystemPackage

/// A version of a Go module, as a source names it: `distri+gomod://<module>@<version>`.
public struct GoModule: Sendable, Hashable {
  /// The module's path, such as `github.com/BurntSushi/toml`.
  public let path: String
  /// Such as `v1.2.3`.
  public let version: String

  /// The scheme of such sources.
  public static let scheme = "distri+gomod"

  /// Reads a source's URL.
  ///
  /// - Throws: ``BuildError/source(_:reason:)`` when it is none, or module or version have characters that the go command refuses, too.
  public init(url: String) throws(BuildError) {
    let parts = url.dropFirst("\(Self.scheme)://".count).split(separator: "@", omittingEmptySubsequences: false)
    guard url.hasPrefix("\(Self.scheme)://"), parts.count == 2 else {
      throw .source(url, reason: "is not \(Self.scheme)://<module>@<version>")
    }
    path = String(parts[0])
    version = String(parts[1])
    guard path.split(separator: "/", omittingEmptySubsequences: false).allSatisfy(Self.isName), Self.isName(version[...]) else {
      throw .source(url, reason: "has a module or version that the go command does not take")
    }
  }

  /// Where a module proxy has a file of this version: `github.com/!burnt!sushi/toml/@v/v0.3.1.zip`. Capitals are `!` and the small letter.
  ///
  /// - Parameter ending: `info`, `mod` or `zip`.
  public func proxyPath(ending: String) -> String { "\(Self.escaped(path))/@v/\(Self.escaped(version)).\(ending)" }

  /// The letters, digits and punctuation of module paths; no component that is empty or starts with a dot.
  private static func isName(_ text: Substring) -> Bool {
    !text.isEmpty && text.utf8.count < 256 && text.first != "."
      && text.utf8.allSatisfy { byte in
        (0x30...0x39).contains(byte) || (0x41...0x5a).contains(byte) || (0x61...0x7a).contains(byte) || "-._~+".utf8.contains(byte)
      }
  }

  /// As module proxies write a path or version: a capital is `!` and the small letter.
  static func escaped(_ text: String) -> String {
    text.map { $0.isUppercase ? "!\($0.lowercased())" : String($0) }.joined()
  }
}

extension GoModule {
  /// How many components wrap the files of a module's zip: those of `<module>@<version>`.
  private var wrappingComponents: Int { path.split(separator: "/").count }

  /// Unpacks the module's files.
  ///
  /// - Throws: ``StoreError/invalidArchive(_:entry:reason:)``; what extracting throws.
  func unpack(_ archive: FilePath, into directory: FilePath, options: TreeExtractor.Options) throws {
    var tree = try ArchiveTree(path: archive, strippingComponents: wrappingComponents)
    _ = try TreeExtractor.extract(&tree, into: directory, options: options)
  }

  /// Lays the module out as the go command's download cache has it: the zip, its `go.mod`, and the version. All comes from the zip, whose
  /// hash the definition has.
  ///
  /// - Throws: as ``unpack(_:into:options:)``; ``BuildError/system(operation:path:_:)``.
  func layOut(_ archive: FilePath, in directory: FilePath) throws {
    let cache = directory.appending("cache").appending("download")
    func place(_ ending: String) -> FilePath { cache.pushing(FilePath(proxyPath(ending: ending))) }
    try place("zip").removingLastComponent().makeDirectories()
    try place("mod").write(try goMod(in: archive))
    try place("info").write(Array("{\"Version\":\"\(version)\"}\n".utf8))
    try archive.rename(to: place("zip"))
    // Not the time of the download: the same source always has the same date.
    for ending in ["zip", "mod", "info"] { try place(ending).setModificationTime(Self.date) }
  }

  /// The zips of modules have no times of their own, so that theirs is the one that Go's own tools write into them.
  static let date: Int64 = 312_768_000

  /// A module without `go.mod` is taken to have one that only names it.
  private func goMod(in archive: FilePath) throws -> [UInt8] {
    var tree = try ArchiveTree(path: archive, strippingComponents: wrappingComponents)
    let name = try TreePath(parsing: "go.mod")
    while let entry = try tree.next() {
      if entry.path == name, case .regular = entry.kind { return try tree.readContents(limit: 16 << 20) }
    }
    return Array("module \(path)\n".utf8)
  }
}
