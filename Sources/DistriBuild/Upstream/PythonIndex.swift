// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore

/// An index of Python projects: the simple API, as HTML (PEP 503) or JSON (PEP 691).
public struct PythonIndex: Sendable {
  /// A file of a project.
  public struct File: Sendable, Hashable {
    /// Its name.
    public var name: String
    let address: WebAddress
    /// As the index has it; empty where it has none.
    public var sha256: String
    /// Whether upstream has withdrawn it.
    public var isYanked: Bool
  }

  let pages: any PageFetcher
  /// The address of the index: below it lies a directory for each project.
  let url: String

  /// - Parameter url: below it lies a directory for each project.
  public init(pages: any PageFetcher, url: String) {
    self.pages = pages
    self.url = url
  }

  /// The page of a project.
  func page(of project: String) throws(BuildError) -> String {
    let name = Self.normalized(project)
    guard let index = WebAddress(url) else { throw .source(url, reason: "is no http:// or https:// URL of a Python index") }
    guard !name.isEmpty, name.utf8.count <= 128, name.utf8.allSatisfy(Self.isOfName) else {
      throw .source(project, reason: "is no name of a Python project")
    }
    return index.appending(name) + "/"
  }

  /// The source archive of a version, by default of the newest release.
  ///
  /// - Throws: ``BuildError/source(_:reason:)`` when there is none; what bringing the page throws.
  func archive(of project: String, version: String?) async throws -> (file: File, version: String, page: String) {
    let page = try page(of: project)
    let files = try Self.files(on: try await pages.page(page))
    var archives: [String: File] = [:]
    for file in files where !file.isYanked || version != nil {
      guard let found = Self.version(of: file.name, project) else { continue }
      // Of several the usual one.
      if archives[found] == nil || file.name.hasSuffix(".tar.gz") { archives[found] = file }
    }
    let place = page.withoutCredentials
    guard !archives.isEmpty else {
      throw BuildError.source(place, reason: "has no source archive (sdist); what is built here is built from source")
    }
    if let version {
      guard let file = archives[version] else {
        let known = archives.keys.sorted().suffix(10).joined(separator: ", ")
        throw BuildError.source(place, reason: "has no source archive of \(version.printable); it has \(known)")
      }
      return (file, version, page)
    }
    let newest =
      UpstreamVersion.newest(of: archives.keys, after: "0") ?? UpstreamVersion.newest(of: archives.keys, after: "0a0") ?? ""
    guard let file = archives[newest] else {
      throw BuildError.source(place, reason: "has no version that can be compared; name one: \(project)==VERSION")
    }
    return (file, newest, page)
  }

  private static func isOfName(_ byte: UInt8) -> Bool {
    (0x30...0x39).contains(byte) || (0x61...0x7a).contains(byte) || byte == UInt8(ascii: "-")
  }

  /// Lower case, with one `-` for each run of `-`, `_` and `.`, as PEP 503 has it.
  static func normalized(_ name: String) -> String {
    name.lowercased().split(omittingEmptySubsequences: true) { "-_.".contains($0) }.joined(separator: "-")
  }

  private static let endings = [".tar.gz", ".zip", ".tar.bz2", ".tar.xz"]

  /// The version in the name of a project's source archive; nil for what is none.
  static func version(of file: String, _ project: String) -> String? {
    // No file system has longer names.
    guard file.utf8.count <= 255, let ending = endings.first(where: file.hasSuffix) else { return nil }
    let stem = file.dropLast(ending.count), name = normalized(project)
    // Names may have dashes, and so may versions of long ago.
    for index in stem.indices where stem[index] == "-" {
      let version = stem[stem.index(after: index)...]
      if normalized(String(stem[..<index])) == name, version.first?.isNumber == true,
        version.utf8.count <= UpstreamVersion.maximumByteCount
      {
        return String(version)
      }
    }
    return nil
  }

  /// The files that a page links to. Of other HTML pages the links, too.
  ///
  /// - Throws: ``BuildError/source(_:reason:)`` for JSON that does not parse.
  public static func files(on page: FetchedPage) throws(BuildError) -> [File] {
    guard let base = WebAddress(page.url) else { return [] }
    if page.bytes.first(where: { $0 > 0x20 }) == UInt8(ascii: "{") { return try jsonFiles(on: page, base) }
    var result: [File] = []
    for link in PageLinks(page.bytes) {
      guard let address = base.resolving(link.reference), let name = address.components.last else { continue }
      result.append(
        File(
          name: name, address: address, sha256: Fragment.sha256(of: link.reference) ?? "",
          isYanked: link.attributes.contains("data-yanked")))
    }
    return result
  }

  private static func jsonFiles(on page: FetchedPage, _ base: WebAddress) throws(BuildError) -> [File] {
    let value: JSONValue
    do throws(TextDefect) {
      value = try JSONValue(page.bytes)
    } catch {
      throw .source(page.url.withoutCredentials, reason: "is no JSON at byte \(error.offset + 1): \(error.reason)")
    }
    return (value["files"]?.list ?? []).compactMap { file in
      guard let name = file["filename"]?.string, let address = file["url"]?.string.flatMap(base.resolving),
        address.components.last == name
      else { return nil }
      let hash = file["hashes"]?["sha256"]?.string.flatMap { Fragment.sha256(of: "#sha256=\($0)") }
      return File(name: name, address: address, sha256: hash ?? "", isYanked: file["yanked"]?.isSet ?? false)
    }
  }
}
