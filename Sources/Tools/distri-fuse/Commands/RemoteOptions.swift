// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import DistriFS
import DistriRepo
import FoundationEssentials
import Glibc
import RepositorySupport
import SystemPackage
import ToolSupport

/// The options of a view of a repository.
struct RemoteOptions: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      "Show the packages of this repository, and fetch only what is read of them. With a store, those that it has come from there.",
      valueName: "url"))
  var remote: String?

  @Option(
    help: ArgumentHelp(
      "Who has the same files as --remote, and is asked when that does not answer, is slow, or gives wrong ones. May be repeated.",
      valueName: "url"))
  var mirror: [String] = []

  @OptionGroup var trust: TrustOptions

  @Flag(
    help:
      "Show a repository that this machine trusts no root of: its index, which proves the rest, is then proven by nothing but TLS.")
  var insecureUnsigned = false

  @Option(
    help: ArgumentHelp(
      "Where fetched parts are kept, for all mounts; by default /var/cache/distri/remote, or distri/remote in the user's cache directory.",
      valueName: "dir"))
  var cache: String?

  @Option(help: ArgumentHelp("What they may take together: bytes, or a number and K, M or G.", valueName: "size"))
  var cacheSize: ByteCount = ByteCount(4 << 30)

  @Option(help: ArgumentHelp("Trust servers by the certificates of this file (PEM) instead of the system's.", valueName: "file"))
  var cacert: String?

  /// What is to be shown; nil when that is a store.
  func recipe() throws -> RepositoryRecipe? {
    guard let remote else { return nil }
    let places = ([remote] + mirror).map { place in
      var place = place
      while place.utf8.count > 1, place.hasSuffix("/") { place.removeLast() }
      return place.contains("://") ? place : Self.absolute(FilePath(place)).string
    }
    let cache = Self.absolute(cache.map { FilePath($0) } ?? Self.defaultCache)
    return RepositoryRecipe(
      root: places[0], mirrors: Array(places.dropFirst()),
      trust: Self.absolute(FilePath(trust.directory ?? TrustOptions.defaultDirectory)), isUnsigned: insecureUnsigned,
      cache: cache, cacheLimit: cacheSize.bytes,
      certificates: cacert.map { Self.absolute(FilePath($0)) })
  }

  private static var defaultCache: FilePath {
    if geteuid() == 0 { return "/var/cache/distri/remote" }
    let environment = ProcessInfo.processInfo.environment
    let base = environment["XDG_CACHE_HOME"] ?? environment["HOME"].map { "\($0)/.cache" } ?? "/tmp"
    return FilePath(base).appending("distri/remote")
  }

  private static func absolute(_ path: FilePath) -> FilePath {
    path.isAbsolute ? path : FilePath(FileManager.default.currentDirectoryPath).pushing(path)
  }
}

/// A number of bytes, as people write it.
struct ByteCount: ExpressibleByArgument {
  let bytes: UInt64

  init(_ bytes: UInt64) { self.bytes = bytes }

  init?(argument: String) {
    let units: [Character: UInt64] = ["K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40]
    let unit = argument.last.flatMap { units[Character($0.uppercased())] }
    guard let number = UInt64(unit == nil ? argument[...] : argument.dropLast()) else { return nil }
    let (bytes, isTooLarge) = number.multipliedReportingOverflow(by: unit ?? 1)
    guard !isTooLarge else { return nil }
    self.bytes = bytes
  }

  var defaultValueDescription: String {
    let units: [(String, UInt64)] = [("G", 1 << 30), ("M", 1 << 20), ("K", 1 << 10)]
    let unit = units.first { bytes >= $0.1 && bytes % $0.1 == 0 } ?? ("", 1)
    return "\(bytes / unit.1)\(unit.0)"
  }
}
