// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import DistriBuild
import DistriStore
import SystemPackage
import ToolSupport

#if RemoteExecution
import DistriRemote
#endif

extension ClusterOptions {
  /// Runs the body with the executor that is asked for: the given one of this machine, or one that asks other machines.
  ///
  /// - Parameters:
  ///   - workers: how many builds run at once.
  ///   - work: where builds happen and logs stay.
  func withExecutor<R: Sendable>(
    else local: LocalExecutor, store: LocalStore, work: FilePath, sources: SourceOptions, workers: Int,
    _ body: (any Executor) async throws -> R
  ) async throws -> R {
    #if RemoteExecution
    if let servers = executor ?? cache {
      let composition = try ActionComposition(
        store: store, work: work, sources: sources, builder: builder.map { absolutePath($0) } ?? "/proc/self/exe")
      defer { composition.digests.write() }
      var planner = composition.planner
      planner.platform = platformProperties
      var intake = ActionIntake(packages: planner.packages, work: work)
      intake.extent = download
      let endpoints = try servers.split(separator: ",").map { try RemoteEndpoint(parsing: String($0)) }
      return try await RemoteCluster.with(endpoints, remoteOptions(workers, servers: endpoints.count)) {
        [planner, intake] cluster in
        if executor != nil { return try await body(RemoteExecutor(cluster, planner: planner, intake: intake)) }
        return try await body(
          CachedExecutor(cluster, planner: planner, intake: intake, else: cacheOnly ? nil : local, writes: cacheWrite))
      }
    }
    #endif
    return try await body(local)
  }

  #if RemoteExecution
  private func remoteOptions(_ workers: Int, servers: Int) -> RemoteOptions {
    var options = RemoteOptions()
    options.tokenFile = remoteTokenFile.map { FilePath($0) }
    options.authorities = remoteAuthorities.map { FilePath($0) }
    options.certificate = remoteCertificate.map { FilePath($0) }
    options.key = remoteKey.map { FilePath($0) }
    options.actionsPerEndpoint = (workers + servers - 1) / max(1, servers)
    return options
  }
  #endif

  private var platformProperties: [String: String] {
    Dictionary(
      platform.map { property in
        let parts = property.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
        return (String(parts[0]), String(parts[1]))
      }
    ) { _, last in last }
  }

  /// How many servers are named.
  var executorCount: Int { executor.map { $0.split(separator: ",").count } ?? 0 }
}

#if RemoteExecution
extension RemoteError: ExitStatusProviding {
  /// The status with which the tool ends.
  public var exitStatus: ExitCode {
    switch self {
    case .invalidEndpoint: ToolSupport.ExitStatus.usage
    case .invalidCredentials, .callFailed(_, _, "unauthenticated", _), .callFailed(_, _, "permissionDenied", _):
      ToolSupport.ExitStatus.permission
    case .callFailed, .unsupported: ToolSupport.ExitStatus.unavailable
    case .invalidAnswer, .invalidAction: ToolSupport.ExitStatus.badData
    case .missingContent, .notCached: ToolSupport.ExitStatus.notFound
    case .changedFile: ToolSupport.ExitStatus.tryAgain
    case .actionFailed(_, _, let status, _, _):
      ActionEnd(status: Int32(clamping: status)) == .buildFailed ? ExitCode(1) : ToolSupport.ExitStatus.unavailable
    case .system(_, _, let errno): ToolSupport.ExitStatus.of(errno: errno)
    }
  }
}
#endif
