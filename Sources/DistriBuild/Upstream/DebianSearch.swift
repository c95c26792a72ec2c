// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore

/// Indexes of Debian archives, each brought and read once.
actor DebianIndexes {
  private let pages: any PageFetcher
  /// Where names of packages are looked up.
  let urls: [String]
  private var indexes: [String: Task<DebianIndex, any Error>] = [:]

  init(pages: any PageFetcher, urls: [String]) {
    self.pages = pages
    self.urls = urls
  }

  func index(_ url: String) async throws -> DebianIndex {
    if let known = indexes[url] { return try await known.value }
    let task = Task { [pages] in
      let text = try await pages.index(url)
      return try await onThread { try DebianIndex(text, subject: url.withoutCredentials) }
    }
    indexes[url] = task
    return try await task.value
  }
}

extension UpstreamSearch {
  /// By `debian_packages`: each is the URL of a `Packages` or `Sources` file that has the definition's package, or the name of a package in the
  /// indexes that were given.
  func debianRelease(of file: DefinitionFile, _ pull: Definition.Pull, present: String) async throws -> Release? {
    let rules = try PullRules(file)
    var found: [String: (entry: DebianIndex.Entry, index: String)] = [:]
    for word in pull.debianPackages {
      let isIndex = WebAddress(word) != nil
      let names = isIndex ? Self.names(of: file.definition) : [word]
      let urls = isIndex ? [word] : indexes.urls
      if urls.isEmpty {
        throw BuildError.source(
          word, reason: "is a package of Debian's, and no index is known; name a Sources or Packages file by --debian-index")
      }
      let count = found.count
      var isKnown = false
      for url in urls {
        let index = try await indexes.index(url)
        for name in names {
          guard let entry = try index.newest(name) else { continue }
          isKnown = true
          guard let version = try Self.upstream(of: entry, rules, file, present: present) else { continue }
          if let known = found[version], DebianVersion(entry.version) <= DebianVersion(known.entry.version) { continue }
          found[version] = (entry, url)
        }
      }
      guard isKnown || found.count > count else {
        let place = urls.map(\.withoutCredentials).joined(separator: ", ")
        throw BuildError.source(place, reason: "does not have the package \(names.joined(separator: " or "))")
      }
    }
    guard let version = UpstreamVersion.newest(of: found.keys, after: present, forcesSemantic: rules.forcesSemantic),
      let (entry, index) = found[version]
    else { return nil }
    return try Self.release(version, entry, index, file, present: present)
  }

  /// What a package may be called in an index: as its file is, or as the definition is.
  private static func names(of definition: Definition) -> [String] {
    let file = SourceReference(url: definition.source).fileName ?? ""
    let name = file.contains("_") ? [String(file.prefix { $0 != "_" })] : []
    return name + [definition.name]
  }

  /// Without epoch, Debian's revision and, unless the present version has one, the mark of a repacked archive.
  private static func upstream(
    of entry: DebianIndex.Entry, _ rules: PullRules, _ file: DefinitionFile, present: String
  ) throws(BuildError) -> String? {
    var text = entry.version[...]
    if let colon = text.firstIndex(of: ":") { text = text[text.index(after: colon)...] }
    if let dash = text.lastIndex(of: "-") { text = text[..<dash] }
    let marks = ["dfsg", "ds", "repack"]
    if !marks.contains(where: { present.contains("+\($0)") }) {
      for mark in marks {
        for sign in ["+", "~", "."] {
          if let range = text.firstRange(of: sign + mark) { text = text[..<range.lowerBound] }
        }
      }
    }
    do throws(RegularExpression.Defect) {
      return try rules.version(of: String(text), present: present)
    } catch {
      throw file.error(at: "pull", "release_replace_all \(error)")
    }
  }

  private static func release(
    _ version: String, _ entry: DebianIndex.Entry, _ index: String, _ file: DefinitionFile, present: String
  ) throws -> Release {
    let source = file.definition.source
    let name = entry.path.split(separator: "/").last.map(String.init) ?? ""
    let isDebianFile = name.hasSuffix(".deb") || SourceReference(url: source).fileName?.contains(".orig.tar.") == true
    guard isDebianFile else {
      // Debian announces only; the source is upstream's.
      guard let address = WebAddress(source) else {
        throw file.error(at: "source", "the source has no address that the one of \(version) could be made of")
      }
      let path = ReleasePlaces.replacing(present, with: version, inPath: address.path)
      guard path != address.path else { throw file.error(at: "source", "the source does not say the version \(present)") }
      let new = "\(address.scheme)://\(address.authority)\(path)\(address.query)"
      return Release(version: version, source: new, location: new)
    }
    guard !entry.path.split(separator: "/").contains(".."), SourceReference(url: entry.path).fileName == name else {
      throw BuildError.source(index.withoutCredentials, reason: "names «\(entry.path.printable)», which is no path of an archive")
    }
    // An archive with distributions, or one whose index lies at its root.
    let root =
      index.firstRange(of: "/dists/").map { String(index[..<$0.lowerBound]) }
      ?? String(index.prefix(upTo: index.lastIndex(of: "/") ?? index.endIndex))
    let location = "\(root)/\(entry.path.hasPrefix("./") ? String(entry.path.dropFirst(2)) : entry.path)"
    let isPlain = SourceReference(url: source).scheme == nil
    return Release(version: version, source: isPlain ? name : location.withoutCredentials, location: location, sha256: entry.sha256)
  }
}
