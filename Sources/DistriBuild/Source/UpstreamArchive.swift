// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriArchive
import DistriStore
import SystemPackage

/// What the archive of a source tells about itself: enough to write a first definition.
public struct UpstreamArchive: Sendable, Hashable {
  /// The package's name.
  public var name: String
  /// Upstream's version.
  public var version: String

  /// Guesses name and version from a URL: `…/nano-7.2.tar.xz`, Debian's `nano_7.2.orig.tar.xz`, a forge's
  /// `…/<project>/archive/v7.2.tar.gz`.
  ///
  /// - Throws: ``BuildError/source(_:reason:)`` when the URL does not say.
  public init(url: String) throws(BuildError) {
    guard let file = SourceReference(url: url).fileName else { throw .source(url, reason: "names no file") }
    var stem = file[...]
    for ending in Self.endings where stem.hasSuffix(ending) {
      stem = stem.dropLast(ending.count)
      break
    }
    if stem.hasSuffix(".orig") { stem = stem.dropLast(".orig".count) }
    let start = Self.versionStart(in: stem)
    var version = start.map { stem[$0...] } ?? ""
    var name = start.map { stem[..<$0] } ?? stem
    while let last = name.last, "-_".contains(last) { name = name.dropLast() }
    if version.first == "v" { version = version.dropFirst() }
    if name.isEmpty { name = Substring(Self.project(in: url) ?? "") }
    self.name = name.lowercased().replacing("_", with: "-")
    self.version = String(version)
    guard !self.version.isEmpty, (try? PackageID(parsing: "\(self.name)-amd64-\(self.version)-1")) != nil else {
      throw .source(url, reason: "its file name does not tell package and version, as nano-7.2.tar.xz does")
    }
  }

  private static let endings = [
    ".tar.gz", ".tar.xz", ".tar.bz2", ".tar.zst", ".tar.lz", ".tgz", ".txz", ".tbz2", ".tar", ".zip",
  ]

  /// Where the version starts: the first digit, or v before a digit, that follows a separator or starts the name.
  private static func versionStart(in stem: Substring) -> Substring.Index? {
    stem.indices.first { index in
      let follows = index == stem.startIndex || "-_".contains(stem[stem.index(before: index)])
      let rest = stem[index...]
      return follows && (rest.first?.isNumber == true || rest.first == "v" && rest.dropFirst().first?.isNumber == true)
    }
  }

  /// `<project>` of `…/<project>/archive/…` and `…/<project>/releases/…`.
  private static func project(in url: String) -> String? {
    let parts = url.split(separator: "/")
    guard let index = parts.firstIndex(where: { ["archive", "releases", "-"].contains($0) }), index > 0 else { return nil }
    return String(parts[index - 1])
  }

  /// The builder that fits what lies at the top of an archive.
  ///
  /// - Returns: the name of its field in a definition, such as `cbuilder`; nil where nothing is recognised.
  /// - Throws: ``StoreError/invalidArchive(_:entry:reason:)``.
  public static func builder(for archive: FilePath) throws(StoreError) -> String? {
    var tree = try ArchiveTree(path: archive, strippingComponents: 1)
    var names: Set<String> = []
    do {
      while let entry = try tree.next() {
        if entry.path.components.count == 1, let name = entry.path.name { names.insert(name.description) }
      }
    } catch {
      throw error as? StoreError ?? .invalidArchive(archive, entry: nil, reason: "\(error)")
    }
    return builders.first { names.contains($0.file) }?.field
  }

  /// In order: a project that offers several is built by the first.
  private static let builders: [(file: String, field: String)] = [
    ("configure", "cbuilder"), ("meson.build", "mesonbuilder"), ("CMakeLists.txt", "cmakebuilder"), ("Makefile.PL", "perlbuilder"),
    ("Build.PL", "perlbuilder"),
    ("pyproject.toml", "pythonbuilder"), ("setup.py", "pythonbuilder"), ("go.mod", "gobuilder"),
  ]
}
