// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import DistriRepo
import FoundationEssentials
import SystemPackage
import ToolSupport

/// The options that say how files are brought over the network.
struct TransferOptions: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      "Give a server up that brings fewer bytes a second, for so long (by default 1024:30), and ask the next mirror.",
      valueName: "bytes[:seconds]"))
  var lowSpeed: LowSpeed?

  @Flag(help: "Ask nothing of the network: only repositories in directories, and what the store has.")
  var offline = false

  @Option(
    help: ArgumentHelp(
      "Ask through this proxy; by default through that of http_proxy, https_proxy, all_proxy and no_proxy.",
      valueName: "url"))
  var proxy: String?

  @Option(help: ArgumentHelp("Trust servers by the certificates of this file (PEM) instead of the system's.", valueName: "file"))
  var cacert: String?

  @Option(
    help: ArgumentHelp(
      "When compressed images are fetched: auto (not from this machine), always or never.", valueName: "when"))
  var compressed = Repository.Options.Compression.automatic

  @Flag(help: "Fetch images as a whole, even where blocks of another version could be used.")
  var noDelta = false

  /// The fewest bytes a second that a server may bring for some seconds.
  struct LowSpeed: ExpressibleByArgument {
    var bytesPerSecond: UInt32
    var seconds: Int64

    init?(argument: String) {
      let parts = argument.split(separator: ":", omittingEmptySubsequences: false)
      guard parts.count <= 2, let bytes = UInt32(parts[0]), bytes > 0 else { return nil }
      guard let seconds = parts.count == 2 ? Int64(parts[1]) : 30, (1...86_400).contains(seconds) else { return nil }
      bytesPerSecond = bytes
      self.seconds = seconds
    }
  }

  func validate() throws {
    if offline, proxy != nil { throw ValidationError("--offline asks no proxy") }
    if let cacert, !FileManager.default.isReadableFile(atPath: cacert) {
      throw ValidationError("--cacert: cannot read «\(cacert)»")
    }
  }

  /// - Parameter hasMirrors: whether somebody else can be asked, so that it is not worth while to try one server often.
  func transport(forMirrors hasMirrors: Bool = false) throws -> StandardTransport {
    if offline { return .offline }
    var options = CurlTransport.Options()
    options.usesProxyOfEnvironment = true
    options.proxy = proxy
    options.certificateAuthorities = cacert.map { FilePath($0) }
    if hasMirrors { options.maximumAttempts = 2 }
    if let lowSpeed {
      options.minimumBytesPerSecond = lowSpeed.bytesPerSecond
      options.slownessTimeLimit = .seconds(lowSpeed.seconds)
    }
    return try StandardTransport(options: options)
  }

  /// Whether a repository may be asked; says so where not.
  func mayAsk(_ root: String) -> Bool {
    let isRemote = ["http://", "https://"].contains { root.lowercased().hasPrefix($0) }
    if offline, isRemote { Terminal.standardError.write("distri-fetch: offline: \(root.withoutCredentials) is left out\n") }
    return !(offline && isRemote)
  }
}

extension Repository.Options.Compression: ExpressibleByArgument {}
