// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore
import SystemPackage

/// Builds packages from definitions: ``build(_:)`` is the list of what happens, in order.
public struct Builder: Sendable {
  /// Where dependencies come from and packages go.
  public var store: any PackageCatalog & ImageSource & PackageSink
  /// Where debug symbols go; nil drops them. By default the store's section, if the store is a directory.
  public var debugStore: LocalStore?
  /// Where sources go that debuggers show; nil drops them. By default the store's section, if the store is a directory.
  public var sourceStore: LocalStore?
  /// Shows the dependencies to the steps.
  public var dependencyRoot: any DependencyRoot
  /// Brings sources.
  public var fetcher: any SourceFetcher
  /// Runs the steps.
  public var sandbox: any Sandbox = NamespaceSandbox()
  /// Where builds happen and logs stay: `<work>/<package>/`. On a disk with room.
  public var work: FilePath
  /// What is built for.
  public var architecture = Architecture.host
  /// How many jobs a step may start at once.
  public var jobs = 1
  /// Packages to take for names of definitions, instead of the newest of the store.
  public var choices: [String: PackageID] = [:]
  /// The digest of the inputs, where somebody else has computed it; nil: of what is here.
  public var inputDigest: String?
  /// The command of the program that rewrites ELF files.
  public var patchelf = ["patchelf"]
  /// How much memory, processes and time the steps may take.
  public var limits = SandboxPlan.Limits()
  /// Who looks into builds, and where.
  public var inspection: BuildInspection?
  /// Whether the build's directories stay when it is done; when it fails, they stay anyway.
  public var keepsFiles = false
  /// How images are written.
  public var compression: ImageWriter.Compression = .none
  /// Hears what has been done.
  public var report: @Sendable (BuildEvent) -> Void = { _ in }

  /// Makes a builder.
  public init(
    store: any PackageCatalog & ImageSource & PackageSink, dependencyRoot: any DependencyRoot, fetcher: any SourceFetcher,
    work: FilePath
  ) {
    self.store = store
    if let local = store as? LocalStore {
      debugStore = try? LocalStore(path: local.path, section: .debug, patience: local.patience)
      sourceStore = try? LocalStore(path: local.path, section: .sources, patience: local.patience)
    }
    self.dependencyRoot = dependencyRoot
    self.fetcher = fetcher
    self.work = work
  }

  /// Builds a definition and puts the resulting packages into the store, all or none.
  ///
  /// - Returns: the package, then those split from it.
  /// - Throws: ``BuildError``, ``StoreError``, and what fetcher and dependency root throw.
  public func build(_ file: DefinitionFile) async throws -> [PackageID] {
    let definition = file.definition
    let package = try await file.freshPackage(in: store, for: architecture)
    let resolution = try await DependencyResolution(definition, for: architecture, in: store, choices: choices)
    let dependencies = try await resolution.buildDependencies()
    var digest = inputDigest
    if digest == nil { digest = try await InputDigest(definition: file, resolution: resolution, store: store).text }
    let contents = try await PackageSet(dependencies, named: Set(resolution.inputs()), in: store)
    let workspace = try await Workspace(for: file, package: package, below: work, jobs: jobs)
    report(.started(package, dependencies: dependencies, log: workspace.log))

    let sourceDate = try await timed("source") { try await prepareSource(definition, workspace) }
    let (plan, symbols, original) = try await dependencyRoot.withRoot(of: dependencies, reserving: package) { view in
      var plan = try Planner(
        definition, layout: workspace.layout, dependencies: dependencies, contents: contents, view: view, sourceDate: sourceDate
      ).plan()
      plan.sandbox.limits = limits
      let execution = Execution(plan: plan, sandbox: sandbox, log: workspace.log, report: report, inspection: inspection)
      try await execution.prepare(patches: definition.patches)
      let source = definition.hasWritableSource ? workspace.layout.source : nil
      let original = try await onThread { try source.map(SourcePackage.paths(in:)) }
      try await execution.runSteps()
      try workspace.checkInstalled()
      let symbols = try await execution.splitDebugSymbols(acknowledgement: definition.missingDebugSymbolsReason)
      return (plan, symbols, original)
    }
    var tree = try await onThread { try workspace.takeInstalled(modificationTime: sourceDate) }
    report(ignored: try workspace.strayFiles())
    report(cleaned: try InstalledFiles(layout: workspace.layout, install: definition.install).clean(&tree))

    let variables = Variables(layout: workspace.layout, dependencies: dependencies)
    let installation = Installation(
      package: package, instructions: definition.install, variables: variables, source: workspace.layout.source)
    try installation.apply(to: &tree)
    try await inspectInstalled(tree, plan, in: workspace)
    try workspace.addWrappers(to: &tree, variables)
    let splits = try SplitPackages(package: package, splits: definition.splitPackages).split(&tree)
    var parts = try await timed("run-time dependencies") {
      try await finish(tree, splits, definition, plan, contents, resolution)
    }
    try installation.applyCapabilities(to: &parts[0].tree)
    let source = SourcePackage(layout: workspace.layout, original: original)
    try await timed("image") { [parts] in
      let metadata = try metadata(of: parts, definition, resolution, plan, digest ?? "")
      try await write(parts, metadata, symbols, source, sourceDate: sourceDate)
    }
    for part in parts {
      for remark in part.remarks { report(.remark(part.package, remark)) }
      report(.runtimeDependencies(part.package, part.closure))
    }
    if !keepsFiles { try await onThread { try workspace.remove() } }
    return parts.map(\.package)
  }

  // MARK: The parts

  private func prepareSource(_ definition: Definition, _ workspace: Workspace) async throws -> Int64 {
    try await SourcePreparation(definition: definition, directory: workspace.layout.definition, fetcher: fetcher)
      .prepare(workspace.layout.source, archives: workspace.directory.appending("archive"))
  }

  private func finish(
    _ tree: PackageTree, _ splits: [(PackageID, PackageTree)], _ definition: Definition, _ plan: BuildPlan,
    _ contents: PackageSet, _ resolution: DependencyResolution
  ) async throws -> [PackageFinisher.Part] {
    let siblings = Dictionary(uniqueKeysWithValues: splits.map { ($0.0.name, $0.0) })
    func named(_ names: [String], _ reason: String) throws -> DependencyReasons {
      let packages = try Set(names.compactMap { siblings[$0] }).union(resolution.resolve(names.filter { siblings[$0] == nil }))
      return DependencyReasons(packages, reason)
    }
    let byDefinition = "named in the definition"
    var own = try named(definition.runtimeDependencies, byDefinition)
    own.formUnion(try named(plan.runtimeDependencies, "named by \(definition.builder?.fieldName ?? "the builder")"))
    var parts = [PackageFinisher.Part(package: plan.layout.package, tree: tree, named: own)]
    for (split, (package, tree)) in zip(definition.splitPackages, splits) {
      parts.append(.init(package: package, tree: tree, named: try named(split.runtimeDependencies, byDefinition)))
    }
    let linker = try BuildEnvironment(dependencies: contents, architecture: architecture).dynamicLinker()
    return try await PackageFinisher(
      dependencies: contents, store: store, dynamicLinker: linker, rewriter: ELFRewriter(command: patchelf)
    ).finish(parts)
  }

  private func metadata(
    of parts: [PackageFinisher.Part], _ definition: Definition, _ resolution: DependencyResolution, _ plan: BuildPlan,
    _ digest: String
  ) throws -> [PackageMetadata] {
    let unions = try definition.runtimeUnions.map { union in
      guard let base = try resolution.resolve([union.package]).first else {
        throw BuildError.missingDependency(union.package, of: definition.name)
      }
      return PackageMetadata.RuntimeUnion(directory: try TreePath(parsing: union.directory), package: base)
    }
    return parts.enumerated().map { index, part in
      PackageMetadata(
        runtimeDependencies: part.closure, sourcePackage: definition.name, version: part.package.version,
        runtimeUnions: index == 0 ? unions : [], inputDigest: digest, license: definition.license,
        summary: definition.summary, homepage: definition.homepage, dependencyReasons: part.reasons.metadata,
        sourceURL: definition.source, sourceHash: definition.hash, buildDependencies: plan.dependencies)
    }
  }

  private func write(
    _ parts: [PackageFinisher.Part], _ metadata: [PackageMetadata], _ symbols: DebugSymbols, _ source: SourcePackage,
    sourceDate: Int64
  ) async throws {
    let writer = ImageWriter(options: .init(compression: compression, modificationTime: sourceDate))
    let output = PackageOutput(store: store, debugStore: debugStore, sourceStore: sourceStore, writer: writer)
    let package = source.layout.package
    let (items, debug, sources) = try await onThread { [wantsSource = sourceStore != nil] in
      var items: [PackageOutput.Item] = [], debug: [(PackageID, PackageTree)] = []
      for (part, metadata) in zip(parts, metadata) {
        var tree = part.tree
        if let found = try symbols.tree(of: tree) {
          debug.append((part.package, found))
          DebugSymbols.link(part.package, in: &tree)
        }
        items.append(.init(package: part.package, tree: tree, metadata: metadata))
      }
      let needsSource = wantsSource && !symbols.isEmpty
      let sources = try needsSource ? [(package, source.tree(for: symbols, modificationTime: sourceDate))] : []
      return (items, debug, sources)
    }
    try await output.write(items, debug: debug, sources: sources)
  }

  private func report(cleaned changes: [String]) {
    if !changes.isEmpty { report(.cleaned(changes)) }
  }

  private func report(ignored paths: [String]) {
    if !paths.isEmpty { report(.ignored(paths)) }
  }

  private func timed<R>(_ what: String, _ body: () async throws -> R) async throws -> R {
    let start = ContinuousClock.now
    report(.began(what))
    let result = try await body()
    report(.finished(what, ContinuousClock.now - start))
    return result
  }
}
