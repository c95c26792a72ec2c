// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore
import SystemPackage

/// Debian's archive as apt knows it: the sources and lists that are configured on this machine, and apt's own solver.
///
/// What is installed on this machine plays no part: apt is given an empty status file.
public struct AptArchive: Sendable {
  private let directory: FilePath
  private let options: [String]

  /// - Parameters:
  ///   - directory: an empty directory for apt's caches and the empty status file; the caller removes it.
  ///   - options: further configuration of apt, such as `Dir::Etc::sourcelist=/some/file`.
  /// - Throws: ``BuildError/system(operation:path:_:)``.
  public init(directory: FilePath, options: [String] = []) throws(BuildError) {
    self.directory = directory
    try directory.appending("cache/archives/partial").makeDirectories()
    let status = directory.appending("status")
    try status.write([])
    let ours = [
      "Dir::State::status=\(status)", "Dir::Cache=\(directory.appending("cache"))", "APT::Install-Recommends=false",
      "APT::Install-Suggests=false", "APT::Sandbox::User=", "Dpkg::Use-Pty=false", "Debug::NoLocking=true",
    ]
    self.options = (ours + options).flatMap { ["-o", $0] }
  }

  /// The Debian packages that are needed to install these, themselves included.
  ///
  /// - Throws: ``BuildError/tool(_:reason:)`` with apt's words when there is no solution or no such package.
  public func closure(of packages: [String]) async throws -> [DebianRecord] {
    let output = try await apt("apt-get", ["--print-uris", "--yes", "--quiet", "install"] + packages.sorted())
    let versions = String(decoding: output, as: UTF8.self).split(separator: "\n").compactMap(Self.nameAndVersion)
    guard !versions.isEmpty else {
      throw BuildError.tool("apt-get", reason: "found nothing to install for \(packages.joined(separator: " "))")
    }
    return try await records(of: versions)
  }

  /// A line of `--print-uris`: `'URL' name_version_arch.deb size hash`.
  static func nameAndVersion(_ line: Substring) -> String? {
    let words = line.split(separator: " ")
    guard words.count >= 3, words[0].first == "'", words[1].hasSuffix(".deb") else { return nil }
    let parts = words[1].dropLast(4).split(separator: "_")
    guard parts.count == 3, let version = percentDecoded(parts[1]) else { return nil }
    return "\(parts[0])=\(version)"
  }

  static func percentDecoded(_ text: Substring) -> String? {
    var bytes: [UInt8] = [], rest = Array(text.utf8)[...]
    while let byte = rest.popFirst() {
      guard byte == UInt8(ascii: "%") else {
        bytes.append(byte)
        continue
      }
      guard rest.count >= 2, let value = UInt8(String(decoding: rest.prefix(2), as: UTF8.self), radix: 16) else { return nil }
      bytes.append(value)
      rest = rest.dropFirst(2)
    }
    return String(decoding: bytes, as: UTF8.self)
  }

  /// What the archive says of packages, named as `name=version`.
  private func records(of versions: [String]) async throws -> [DebianRecord] {
    let output = try await apt("apt-cache", ["show", "--no-all-versions"] + versions)
    var records: [String: DebianRecord] = [:]
    for fields in DebianRecord.paragraphs(String(decoding: output, as: UTF8.self)) {
      if let record = DebianRecord(fields: fields) { records["\(record.name)=\(record.version)"] = record }
    }
    return try versions.map { version in
      guard let record = records[version] else {
        throw BuildError.tool("apt-cache", reason: "says nothing of \(version); run apt-get update")
      }
      return record
    }
  }

  /// Downloads packages, each of exactly that version, into a directory.
  ///
  /// - Throws: ``BuildError/tool(_:reason:)`` with apt's words when the archive does not have one of the versions.
  public func download(_ packages: [DebianRecord], into directory: FilePath) async throws {
    _ = try await apt("apt-get", ["--quiet", "download"] + packages.map { "\($0.name)=\($0.version)" }, in: directory)
  }

  private func apt(_ program: String, _ arguments: [String], in directory: FilePath? = nil) async throws -> [UInt8] {
    do {
      return try await HostCommand(program: program, arguments: options + arguments, directory: directory, package: "apt").run()
    } catch BuildError.tool(let program, let reason) {
      throw BuildError.tool(program, reason: "\(reason)\n(where apt's lists are empty or old, run apt-get update first)")
    }
  }
}
