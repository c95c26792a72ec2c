// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriBuild
import DistriRepo
import FoundationEssentials
import SystemPackage

/// Sources of a directory first, then of the network; what the network brings stays in the directory.
struct SourceCache: SourceFetcher, SourceArchives {
  /// The directory. Go modules lie in it under the names of module proxies.
  let directory: FilePath
  /// The module proxy for what the directory lacks: a URL or path.
  var goProxy: String?
  /// What is known of the files.
  var digests = FileDigests()

  func fetch(_ source: SourceReference, to path: FilePath) async throws {
    try FileManager.default.copyItem(atPath: try await archive(of: source).string, toPath: path.string)
  }

  func archive(of source: SourceReference) async throws -> FilePath {
    if let found = try find(source) { return found }
    return try await download(source)
  }

  /// The file of the source's name, or of Debian's name for it, or any that hashes to what the definition says.
  func find(_ source: SourceReference) throws -> FilePath? {
    for name in try Self.names(of: source) {
      let file = directory.pushing(FilePath(name))
      guard FileManager.default.fileExists(atPath: file.string) else { continue }
      if source.hash.isEmpty { return file }
      if try digests.digest(of: file).sha256 == source.hash { return file }
    }
    guard !source.hash.isEmpty, let names = try? FileManager.default.contentsOfDirectory(atPath: directory.string) else {
      return nil
    }
    for name in names.sorted() where !name.hasPrefix(".") {
      let file = directory.appending(name)
      var isDirectory = false
      guard FileManager.default.fileExists(atPath: file.string, isDirectory: &isDirectory), !isDirectory else { continue }
      if try digests.digest(of: file).sha256 == source.hash { return file }
    }
    return nil
  }

  /// Brings the source over the network into the directory: whole, or not at all.
  ///
  /// - Parameter location: where it comes from, unless its URL says so.
  func download(_ source: SourceReference, from location: String? = nil) async throws -> FilePath {
    guard let name = try Self.names(of: source).first else { throw BuildError.source(source.url, reason: "names no file") }
    guard source.scheme != nil || location != nil else {
      throw BuildError.source(source.url, reason: "is neither beside its definition nor in \(directory) (see --sources)")
    }
    let file = directory.pushing(FilePath(name))
    let folder = file.removingLastComponent()
    try FileManager.default.createDirectory(atPath: folder.string, withIntermediateDirectories: true)
    removeRemains(of: file)
    let hash = source.hash.isEmpty ? nil : Self.bytes(ofHex: source.hash)
    var options = CurlTransport.Options()
    options.usesProxyOfEnvironment = true
    let url = source.scheme == GoModule.scheme ? try moduleURL(name, of: source) : location ?? source.url
    try await StandardTransport(options: options)
      .download(url, to: file, sha256: hash, subject: source.url, maximumByteCount: 8 << 30)
    return file
  }

  private func moduleURL(_ name: String, of source: SourceReference) throws -> String {
    guard let goProxy else {
      throw BuildError.source(
        source.url, reason: "is not in \(directory), and no module proxy is known; name one by --go-proxy or GOPROXY")
    }
    return "\(goProxy)\(goProxy.hasSuffix("/") ? "" : "/")\(name)"
  }

  /// Removes what a download of the same file has left that was killed. One that runs is younger.
  private func removeRemains(of file: FilePath) {
    let folder = file.removingLastComponent(), start = ".\(file.lastComponent?.string ?? "")."
    let dayAgo = Date(timeIntervalSinceNow: -86400)
    for name in (try? FileManager.default.contentsOfDirectory(atPath: folder.string)) ?? []
    where name.hasPrefix(start) && name.hasSuffix(".part") {
      let path = folder.appending(name).string
      let time = try? FileManager.default.attributesOfItem(atPath: path)[.modificationDate] as? Date
      if let time, time < dayAgo { try? FileManager.default.removeItem(atPath: path) }
    }
  }

  /// Where a source may lie, the usual place first.
  private static func names(of source: SourceReference) throws -> [String] {
    if source.scheme == GoModule.scheme { return [try GoModule(url: source.url).proxyPath(ending: "zip")] }
    return source.fileName.map(names) ?? []
  }

  /// `nano-7.2.tar.xz` is `nano_7.2.orig.tar.xz` among Debian's sources.
  private static func names(_ name: String) -> [String] {
    guard let upstream = try? UpstreamArchive(url: name), let start = name.firstRange(of: upstream.version) else { return [name] }
    return [name, "\(upstream.name)_\(upstream.version).orig\(name[start.upperBound...])"]
  }

  private static func bytes(ofHex text: String) -> [UInt8] {
    var rest = text[...]
    var result: [UInt8] = []
    while !rest.isEmpty {
      result.append(UInt8(rest.prefix(2), radix: 16) ?? 0)
      rest = rest.dropFirst(2)
    }
    return result
  }
}
