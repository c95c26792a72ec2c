// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import DistriBuild
import DistriStore
import SystemPackage
import ToolSupport

extension ActionIntake.Extent: ExpressibleByArgument {}

/// Which other machines build, and what they have.
struct ClusterOptions: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      "Build on these servers of the Remote Execution API, separated by commas, which share a storage: grpc://host:port[/instance], or grpcs:// with TLS.",
      valueName: "url"))
  var executor: String?

  @Option(
    help: ArgumentHelp(
      "Take what is known from the action cache of these servers, and build on this machine only what is not.", valueName: "url"))
  var cache: String?

  @Flag(help: "Fail where the cache knows nothing.")
  var cacheOnly = false

  @Flag(help: "Give the cache what is built on this machine.")
  var cacheWrite = false

  @Option(
    help: ArgumentHelp(
      "What comes from the servers: outputs (packages and logs), all (debug symbols, sources and bills of materials, too), or none (logs; packages stay there, and what is built next takes them there).",
      valueName: "what"))
  var download = ActionIntake.Extent.outputs

  @Option(
    help: ArgumentHelp(
      "What a worker has to be, as the cluster calls it, such as OSFamily=linux. May be given several times.",
      valueName: "name=value"))
  var platform: [String] = []

  @Option(
    help: ArgumentHelp(
      "The distri-build that workers run: who shares a cache names the same, since it is an input, too. Without it, this one.",
      valueName: "file"))
  var builder: String?

  @Option(help: ArgumentHelp("A file with a bearer token for the servers.", valueName: "file"))
  var remoteTokenFile: String?

  @Option(help: ArgumentHelp("Authorities (PEM) that may vouch for the servers. Without it, the system's.", valueName: "file"))
  var remoteAuthorities: String?

  @Option(help: ArgumentHelp("A certificate (PEM) that the servers know this client by; with --remote-key.", valueName: "file"))
  var remoteCertificate: String?

  @Option(help: ArgumentHelp("The certificate's key (PEM).", valueName: "file"))
  var remoteKey: String?

  static let noLimits = "--memory, --processes and --timeout limit builds on this machine; workers have limits of their own."

  /// Whether anything is asked of another machine.
  var isUsed: Bool { executor != nil || cache != nil }

  func validate() throws {
    if executor != nil, cache != nil {
      throw ValidationError("--executor has a cache of its own; --cache is for builds on this machine.")
    }
    if cache == nil, cacheOnly || cacheWrite { throw ValidationError("--cache-only and --cache-write need --cache.") }
    if cacheOnly, cacheWrite { throw ValidationError("With --cache-only nothing is built that could be written.") }
    for property in platform where !property.contains("=") || property.hasPrefix("=") {
      throw ValidationError("--platform \(property) is not name=value.")
    }
    #if !RemoteExecution
    if isUsed {
      throw ValidationError(
        "This distri-build was made without remote execution. Make it with: swift build -c release --traits RemoteExecution")
    }
    #endif
  }
}
