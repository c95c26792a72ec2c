// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore

/// Builds one definition of a batch, wherever that happens.
public protocol Executor: Sendable {
  /// Builds exactly what the order says. When it returns, the packages can be had by what is built next.
  ///
  /// - Returns: the packages, the main one first.
  /// - Throws: ``BuildError``, or what the medium throws; `CancellationError` when the task was cancelled.
  func build(_ order: BuildOrder, report: @escaping @Sendable (BuildEvent) -> Void) async throws -> [PackageID]
}

/// What is to be built, with everything decided.
public struct BuildOrder: Sendable {
  /// The definition.
  public var file: DefinitionFile
  /// The packages that the definition's names stand for.
  public var choices: [String: PackageID]
  /// How many jobs a step may start at once.
  public var jobs: Int

  /// Makes an order.
  public init(file: DefinitionFile, choices: [String: PackageID], jobs: Int) {
    self.file = file
    self.choices = choices
    self.jobs = jobs
  }
}

/// Builds on this machine, with a ``Builder``.
public struct LocalExecutor: Executor {
  private let builder: Builder

  /// - Parameter builder: what it has set is the same for all builds, but for ``Builder/jobs``, ``Builder/choices`` and
  ///   ``Builder/report``.
  public init(_ builder: Builder) { self.builder = builder }

  /// Builds into the builder's store.
  ///
  /// - Throws: as ``Builder/build(_:)``.
  public func build(_ order: BuildOrder, report: @escaping @Sendable (BuildEvent) -> Void) async throws -> [PackageID] {
    var builder = builder
    builder.jobs = order.jobs
    builder.choices = order.choices
    builder.report = report
    return try await builder.build(order.file)
  }
}
