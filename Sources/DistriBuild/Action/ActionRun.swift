// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore
import SystemPackage

/// The other side of an ``Action``: builds in an input root, of its files alone.
public struct ActionRun: Sendable {
  /// The input root; absolute.
  public let root: FilePath
  /// What is to be built.
  public let order: ActionOrder
  /// The definition.
  public let file: DefinitionFile
  /// Dependencies of the input root, results in ``ActionLayout/results``.
  public let store: ActionStore

  /// Reads the order of an input root.
  ///
  /// - Throws: ``BuildError/invalidDefinition(_:line:column:reason:)``; ``BuildError/system(operation:path:_:)``; ``StoreError``.
  public init(root: FilePath) throws {
    self.root = root
    let path = root.appending(ActionOrder.fileName)
    order = try ActionOrder(bytes: try path.contents(limit: TextParser.maximumByteCount + 1), path: path)
    file = try DefinitionFile(directory: root.appending(ActionLayout.definitions).appending(order.definition))
    let dependencies = root.appending(ActionLayout.store), results = root.appending(ActionLayout.results)
    // A definition may need nothing at all, and nobody makes directories without files.
    for directory in [dependencies, results] where directory.isAbsent { try directory.makeDirectories() }
    store = ActionStore(dependencies: try LocalStore(path: dependencies), results: try LocalStore(path: results))
  }

  /// Builds, and writes log and bills of materials beside the packages. The log is there after a failure, too.
  ///
  /// - Parameters:
  ///   - dependencyRoot: shows packages of ``ActionStore/dependencies``.
  ///   - work: where it is built; a directory with room.
  ///   - configure: sets what else the builder should have.
  /// - Returns: the packages.
  /// - Throws: as ``Builder/build(_:)``.
  public func build(
    dependencyRoot: any DependencyRoot, work: FilePath, configure: (inout Builder) -> Void = { _ in }
  ) async throws -> [PackageID] {
    var builder = Builder(
      store: store, dependencyRoot: dependencyRoot,
      fetcher: ActionSources(directory: root.appending(ActionLayout.sources)), work: work)
    builder.debugStore = try LocalStore(path: store.results.path, section: .debug)
    builder.sourceStore = try LocalStore(path: store.results.path, section: .sources)
    // Workers run an action in a sandbox of theirs, in which it is alone.
    builder.sandbox = NamespaceSandbox(showsOuterProcesses: true)
    builder.architecture = order.architecture
    builder.choices = order.choices
    builder.inputDigest = order.inputDigest
    let tool = root.appending(ActionLayout.tool)
    if tool.appending(ActionLayout.patchelf).exists {
      builder.patchelf = ActionTool.command(of: ActionLayout.patchelf, in: tool)
    }
    configure(&builder)
    let package = try file.packages(for: order.architecture)[0]
    do {
      let packages = try await builder.build(file)
      try takeLog(of: package, work)
      for package in packages {
        let bill = try await BillOfMaterials(of: package, in: store)
        try store.results.path.appending("\(package).spdx.json").write(Array(bill.json.utf8))
      }
      return packages
    } catch {
      try? takeLog(of: package, work)
      throw error
    }
  }

  private func takeLog(of package: PackageID, _ work: FilePath) throws(BuildError) {
    let log = Workspace.log(of: package, below: work), place = store.results.path.appending(ActionLayout.log)
    do { try log.rename(to: place) } catch .system(_, _, .improperLink) { try log.copy(to: place) }
  }
}

/// The stores of an action: what it is built of is read, and never written; what it makes goes elsewhere.
public struct ActionStore: PackageCatalog, ImageSource, PackageSink {
  /// What the build sees or names.
  public let dependencies: LocalStore
  /// Where packages go.
  public let results: LocalStore

  /// The dependencies.
  ///
  /// - Throws: as ``LocalStore/packages()``.
  public func packages() throws -> [PackageID] { try dependencies.packages() }

  /// What a package says of itself.
  ///
  /// - Throws: as ``LocalStore/metadata(of:)``.
  public func metadata(of package: PackageID) throws -> PackageMetadata {
    do { return try dependencies.metadata(of: package) } catch .notFound { return try results.metadata(of: package) }
  }

  /// A package's image.
  ///
  /// - Throws: as ``LocalStore/image(of:)``.
  public func image(of package: PackageID) throws -> PackageImage {
    do { return try dependencies.image(of: package) } catch .notFound { return try results.image(of: package) }
  }

  /// Adds to the results.
  ///
  /// - Throws: as ``LocalStore/transaction(_:)``.
  public func transaction(_ body: (borrowing StagingArea) async throws -> Void) async throws {
    try await results.transaction(body)
  }
}

/// Sources of the input root, by their SHA-256.
private struct ActionSources: SourceFetcher {
  let directory: FilePath

  func fetch(_ source: SourceReference, to path: FilePath) async throws {
    guard let name = try? EntryName(source.hash), !directory.appending(name.description).isAbsent else {
      throw BuildError.source(source.url, reason: "is not among the files of the action")
    }
    let file = directory.appending(name.description)
    try await onThread { try file.copy(to: path) }
  }
}

/// How the command of an action ended, by its exit status: which of those who are involved has to do something.
public enum ActionEnd: Sendable, Hashable {
  /// What was ordered is there.
  case success
  /// A step failed or came to a limit, or what it left cannot be packed: the definition wants a change.
  case buildFailed
  /// The input root is not what it should be: whoever has made it.
  case invalidInputs
  /// The machine cannot run builds: no user namespaces, no `/dev/fuse`, no room. Another one may.
  case machineUnable
  /// Somebody has ended it, or the machine has.
  case killed

  /// The exit status of each that has one.
  public static let statuses: [ActionEnd: Int32] = [.success: 0, .buildFailed: 1, .invalidInputs: 65, .machineUnable: 69]

  /// What a status means; those of shells for signals, too.
  public init(status: Int32) {
    if let found = Self.statuses.first(where: { $0.value == status })?.key { self = found } else { self = .killed }
  }

  /// What an error of ``ActionRun/build(dependencyRoot:work:configure:)`` is.
  public init(of error: any Error) {
    switch error {
    case BuildError.stepFailed, BuildError.limitExceeded, BuildError.invalidPackage: self = .buildFailed
    case BuildError.system(_, _, .noSuchFileOrDirectory): self = .invalidInputs
    case BuildError.sandbox, BuildError.system, BuildError.tool, BuildError.workspaceInUse: self = .machineUnable
    case StoreError.system, StoreError.locked: self = .machineUnable
    case is BuildError, is StoreError: self = .invalidInputs
    default: self = .machineUnable
    }
  }
}
