// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore
import SystemPackage

/// A point of a build where somebody may look around in its sandbox.
public enum BuildStage: String, Sendable, Hashable, CaseIterable {
  /// The source is unpacked and patched.
  case beforeSteps = "before-steps"
  /// The steps are done; what they installed is in `/dest/tmp`.
  case afterSteps = "after-steps"
  /// The install instructions are done; the package as it will be is in its place below `/ro`.
  case afterInstall = "after-install"
  /// A step failed, or a patch did not apply.
  case failure
}

/// Who looks into a build, and where.
public struct BuildInspection: Sendable {
  /// The points.
  public var stages: Set<BuildStage>
  /// Is called at each of them; the build goes on when it returns, and fails with what it throws.
  public var inspect: @Sendable (BuildStop) async throws -> Void

  /// Makes an inspection.
  public init(at stages: Set<BuildStage>, _ inspect: @escaping @Sendable (BuildStop) async throws -> Void) {
    self.stages = stages
    self.inspect = inspect
  }

  func reach(
    _ stage: BuildStage, _ plan: BuildPlan, _ sandbox: any Sandbox, failure: BuildError? = nil
  ) async throws {
    guard stages.contains(stage) else { return }
    var plan = plan
    // A person may take longer than a build.
    plan.sandbox.limits.time = nil
    try await inspect(BuildStop(stage: stage, failure: failure, plan: plan, sandbox: sandbox))
  }
}

/// A build that waits for somebody who looks around.
public struct BuildStop: Sendable {
  /// Where it is.
  public let stage: BuildStage
  /// Why it stopped, for ``BuildStage/failure``.
  public let failure: BuildError?
  /// What the build does; its sandbox is the one of the steps, or of the patches.
  public let plan: BuildPlan
  let sandbox: any Sandbox

  /// Runs a command where the steps run, with their files and environment, and the variables on top of that.
  ///
  /// - Throws: as ``Sandbox/run(_:in:io:)``.
  public func run(_ command: [String], io: StandardStreams, variables: [String: String] = [:]) async throws -> ExitStatus {
    var plan = plan.sandbox
    plan.environment.merge(variables) { $1 }
    return try await sandbox.run(command, in: plan, io: io)
  }
}

extension Builder {
  /// Prepares a build up to its first step, and calls the body there; nothing is built, and nothing stays.
  ///
  /// - Throws: ``BuildError``, ``StoreError``, what fetcher and dependency root throw, and what the body throws.
  public func withEnvironment<R: Sendable>(of file: DefinitionFile, _ body: (BuildStop) async throws -> R) async throws -> R {
    let definition = file.definition
    let package: PackageID
    do {
      package = try definition.package(for: architecture)
    } catch {
      throw file.error(at: "version", "\(error)")
    }
    let resolution = try await DependencyResolution(definition, for: architecture, in: store, choices: choices)
    let dependencies = try await resolution.buildDependencies()
    let contents = try await PackageSet(dependencies, named: Set(resolution.inputs()), in: store)
    // Not where builds happen: one that failed keeps its files there.
    let workspace = try await Workspace(for: file, package: package, below: work.appending("env"), jobs: jobs)
    report(.started(package, dependencies: dependencies, log: workspace.log))
    do {
      let sourceDate = try await SourcePreparation(definition: definition, directory: workspace.layout.definition, fetcher: fetcher)
        .prepare(workspace.layout.source, archives: workspace.directory.appending("archive"))
      let result = try await dependencyRoot.withRoot(of: dependencies, reserving: package) { view in
        var plan = try Planner(
          definition, layout: workspace.layout, dependencies: dependencies, contents: contents, view: view, sourceDate: sourceDate
        ).plan()
        plan.sandbox.limits = limits
        try await Execution(plan: plan, sandbox: sandbox, log: workspace.log, report: report).prepare(patches: definition.patches)
        return try await body(BuildStop(stage: .beforeSteps, failure: nil, plan: plan, sandbox: sandbox))
      }
      try await onThread { try workspace.remove() }
      return result
    } catch {
      try? workspace.remove()
      throw error
    }
  }

  /// Stops at ``BuildStage/afterInstall``, with the files as they are in the tree.
  func inspectInstalled(_ tree: PackageTree, _ plan: BuildPlan, in workspace: Workspace) async throws {
    guard let inspection, inspection.stages.contains(.afterInstall) else { return }
    let directory = workspace.directory.appending("package")
    try await onThread {
      var stream = tree.stream()
      try TreeExtractor.extract(&stream, into: directory)
    }
    try await dependencyRoot.withRoot(of: plan.dependencies, reserving: plan.layout.package) { view in
      var plan = plan
      plan.sandbox.operations[0] = .bind(from: view, to: "/ro", readOnly: true)
      plan.sandbox.operations.append(.bind(from: directory, to: plan.layout.home))
      try await inspection.reach(.afterInstall, plan, sandbox)
    }
    try await onThread { try directory.removeAll() }
  }
}
