// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

#if RemoteExecution

import DistriBuild
import DistriStore

/// Builds on other machines: makes an action of an order, has it executed, and takes what comes.
public struct RemoteExecutor: Executor {
  private let cluster: RemoteCluster
  private let planner: ActionPlanner
  private let intake: ActionIntake

  /// How many lines of a failed command's output an error has.
  private static let outputLineCount = 24

  /// - Parameters:
  ///   - planner: makes the actions.
  ///   - intake: takes the results, for the planner's packages.
  public init(_ cluster: RemoteCluster, planner: ActionPlanner, intake: ActionIntake) {
    self.cluster = cluster
    self.planner = planner
    self.intake = intake
  }

  /// Builds on a server of the cluster, or takes what is known.
  ///
  /// - Throws: ``RemoteError``; ``BuildError`` for what cannot be an action, or a result that is not what was ordered.
  public func build(_ order: BuildOrder, report: @escaping @Sendable (BuildEvent) -> Void) async throws -> [PackageID] {
    _ = try await order.file.freshPackage(in: planner.packages.store, for: planner.architecture)
    let action = try await planner.action(for: order)
    do {
      return try await build(action, skipsCache: false, report)
    } catch RemoteError.missingContent {
      // The cache knew a result whose files are gone.
      return try await build(action, skipsCache: true, report)
    }
  }

  private func build(_ action: Action, skipsCache: Bool, _ report: @escaping @Sendable (BuildEvent) -> Void) async throws
    -> [PackageID]
  {
    if !skipsCache, let result = try await cluster.result(of: action) {
      report(.known)
      return try await intake.take(result, of: action, from: cluster)
    }
    let execution = try await cluster.execute(action, skipsCache: skipsCache) { report(.began($0.description)) }
    guard execution.status == 0 else {
      let log = try? await intake.takeLog(execution.result, of: action, from: cluster)
      let lines = String(decoding: execution.output, as: UTF8.self).split(whereSeparator: \.isNewline)
      throw RemoteError.actionFailed(
        action.packages[0], execution.endpoint, status: execution.status,
        output: lines.suffix(Self.outputLineCount).map { String($0) }, log: log)
    }
    if execution.isCached { report(.known) }
    report(.began("take what was made on \(execution.endpoint)"))
    return try await intake.take(execution.result, of: action, from: cluster)
  }
}

/// Takes what is known to come of a build, and has another executor build what is not.
public struct CachedExecutor: Executor {
  private let cluster: RemoteCluster
  private let planner: ActionPlanner
  private let intake: ActionIntake
  private let builder: (any Executor)?
  private let writes: Bool

  /// - Parameters:
  ///   - builder: builds into the store of the planner's packages; nil to fail where nothing is known.
  ///   - writes: whether the cache gets what was built.
  public init(
    _ cluster: RemoteCluster, planner: ActionPlanner, intake: ActionIntake, else builder: (any Executor)?, writes: Bool = false
  ) {
    self.cluster = cluster
    self.planner = planner
    self.intake = intake
    self.builder = builder
    self.writes = writes
  }

  /// Takes what is known, or builds.
  ///
  /// - Throws: ``RemoteError/notCached(_:action:)``; what the other executor throws; as ``RemoteExecutor/build(_:report:)``.
  public func build(_ order: BuildOrder, report: @escaping @Sendable (BuildEvent) -> Void) async throws -> [PackageID] {
    _ = try await order.file.freshPackage(in: planner.packages.store, for: planner.architecture)
    let action = try await planner.action(for: order)
    do {
      if let result = try await cluster.result(of: action) {
        report(.known)
        return try await intake.take(result, of: action, from: cluster)
      }
    } catch RemoteError.missingContent where builder != nil {
      // As good as unknown.
    }
    guard let builder else { throw RemoteError.notCached(action.packages[0], action: try cluster.digest(of: action)) }
    let packages = try await builder.build(order, report: report)
    if writes {
      report(.began("give the cache what was made"))
      let (result, contents) = try await ActionResult.local(of: action, in: planner.packages, work: intake.work)
      try await cluster.add(result, of: action, contents: contents)
    }
    return packages
  }
}

extension RemoteCluster.Event: CustomStringConvertible {
  /// What a status line says.
  public var description: String {
    switch self {
    case .uploading(let count, let endpoint): "send \((count + (1 << 20) - 1) >> 20) MiB to \(endpoint)"
    case .queued(let endpoint): "wait for a worker of \(endpoint)"
    case .executing(let endpoint): "build on \(endpoint)"
    case .lost(let endpoint, let reason): "\(endpoint) is lost, it is tried again where there is room: \(reason)"
    }
  }
}

#endif
