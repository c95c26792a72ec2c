// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriBuild
import DistriRepo
import FoundationEssentials
import SystemPackage

/// Sources of a directory first, then of the network; what the network brings stays in the directory.
struct SourceCache: SourceFetcher {
  /// The directory.
  let directory: FilePath

  func fetch(_ source: SourceReference, to path: FilePath) async throws {
    let file: FilePath
    if let found = try find(source) { file = found } else { file = try await download(source) }
    try FileManager.default.copyItem(atPath: file.string, toPath: path.string)
  }

  /// The file of the source's name, or of Debian's name for it, or any that hashes to what the definition says.
  func find(_ source: SourceReference) throws -> FilePath? {
    for name in source.fileName.map(Self.names) ?? [] {
      let file = directory.appending(name)
      guard FileManager.default.fileExists(atPath: file.string) else { continue }
      if source.hash.isEmpty { return file }
      if try Checksum.sha256(of: file) == source.hash { return file }
    }
    guard !source.hash.isEmpty, let names = try? FileManager.default.contentsOfDirectory(atPath: directory.string) else {
      return nil
    }
    for name in names.sorted() where !name.hasPrefix(".") {
      let file = directory.appending(name)
      if try Checksum.sha256(of: file) == source.hash { return file }
    }
    return nil
  }

  /// Brings the source over the network into the directory.
  func download(_ source: SourceReference) async throws -> FilePath {
    guard let name = source.fileName else { throw BuildError.source(source.url, reason: "names no file") }
    guard source.scheme != nil else {
      throw BuildError.source(source.url, reason: "is neither beside its definition nor in \(directory) (see --sources)")
    }
    try FileManager.default.createDirectory(atPath: directory.string, withIntermediateDirectories: true)
    let file = directory.appending(name)
    let hash = source.hash.isEmpty ? nil : Self.bytes(ofHex: source.hash)
    var options = CurlTransport.Options()
    options.usesProxyOfEnvironment = true
    try await StandardTransport(options: options)
      .download(source.url, to: file, sha256: hash, subject: source.url, maximumByteCount: 8 << 30)
    return file
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
