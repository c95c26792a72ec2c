// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import DistriBuild
import DistriStore
import FoundationEssentials
import SystemPackage
import ToolSupport

/// Where sources come from.
struct SourceOptions: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      "Archives of sources, looked up by name and SHA-256 before the network; what is downloaded stays there. Without it, _build/sources beside the definitions.",
      valueName: "dir"))
  var sources: String?

  @Option(
    help: ArgumentHelp(
      "The module proxy for sources distri+gomod://, a URL or a directory of its layout. Without it, the first of $GOPROXY.",
      valueName: "url"))
  var goProxy: String?

  /// - Parameter work: where builds happen; archives are below it unless the options say otherwise.
  func cache(below work: FilePath) -> SourceCache {
    SourceCache(
      directory: sources.map { absolutePath($0) } ?? work.appending("sources"), goProxy: goProxy ?? Self.goProxyOfEnvironment)
  }

  /// The first proxy of the list that the go command takes, too.
  private static var goProxyOfEnvironment: String? {
    let words = (ProcessInfo.processInfo.environment["GOPROXY"] ?? "").split { $0 == "," || $0 == "|" }.map(String.init)
    return words.first { $0 != "direct" && $0 != "off" }
  }
}

/// The options that build and scaffold share.
struct DefinitionOptions: ParsableArguments {
  @Option(help: ArgumentHelp("The directory that holds a directory per definition.", valueName: "dir"))
  var definitions = "."

  @OptionGroup var sourceOptions: SourceOptions

  var definitionsPath: FilePath { FilePath(definitions) }

  /// Where builds happen, unless told otherwise: `_build` beside the directory of definitions.
  var defaultWork: FilePath { definitionsPath.appending("..").appending("_build").lexicallyNormalized() }

  var sourceCache: SourceCache { sourceOptions.cache(below: defaultWork) }

  /// Where builds happen, as an absolute path.
  func workPath(_ option: String?) -> FilePath { absolutePath(option ?? defaultWork.string) }

  /// A word with a slash, or a directory with a definition, is a path; everything else a name.
  func directory(of word: String) -> FilePath {
    let path = FilePath(word)
    let isDefinition = FileManager.default.fileExists(atPath: path.appending(DefinitionFile.fileName).string)
    return absolutePath((word.contains("/") || isDefinition ? path : definitionsPath.appending(word)).string)
  }
}

/// `distri-build build`: definitions become packages.
struct BuildCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "build",
    abstract: "Build packages from their definitions.",
    discussion: """
      Each build runs in a sandbox that has the package's dependencies, its source and no network. The newest version of each
      dependency in the store is used; the result is put into the store, and its full name printed. The output of the steps goes to
      <work>/<package>/build-<architecture>-<version>.log.

        distri-build build --definitions pkgs --store /roimg --sources ~/sources hello nano
        distri-build build --definitions pkgs --store /roimg --cache grpc://10.0.0.7:8980/main hello
      """)

  @OptionGroup var storeOptions: StoreOptions
  @OptionGroup var definitionOptions: DefinitionOptions
  @OptionGroup var limitOptions: LimitOptions
  @OptionGroup(title: "Other machines") var clusterOptions: ClusterOptions

  @Option(
    help: ArgumentHelp("Where builds happen and their logs stay. Without it, _build beside the definitions.", valueName: "dir"))
  var work: String?

  @Option(help: "How many jobs a build step may start at once.")
  var jobs = ProcessInfo.processInfo.activeProcessorCount

  @Option(
    help: ArgumentHelp(
      "Open a shell in the sandbox at this stage; may be given several times. After a failure on a terminal, one is offered anyway.",
      valueName: "stage"))
  var debug: [BuildStage] = []

  @Flag(help: "Keep source, build directory and installed files of a build that succeeds.")
  var keep = false

  @Flag(
    help: ArgumentHelp(
      "Build each twice, in different directories and with another number of jobs; what differs is an error that names the file."))
  var check = false

  @Argument(help: ArgumentHelp("Names of definitions, or their directories.", valueName: "package|dir"))
  var packages: [String]

  func validate() throws {
    if packages.isEmpty { throw ValidationError("Name at least one definition.") }
    if clusterOptions.executor != nil, limitOptions.isUsed { throw ValidationError(ClusterOptions.noLimits) }
    if clusterOptions.isUsed, check || keep || !debug.isEmpty {
      throw ValidationError("--check, --keep and --debug are for builds on this machine.")
    }
    if !debug.isEmpty, !PseudoTerminal.isPossible { throw ValidationError("--debug needs a terminal for its shell.") }
    if !(1...4096).contains(jobs) { throw ValidationError("--jobs is a number from 1 on.") }
  }

  func run() async throws {
    let store = try LocalStore(path: storeOptions.storePath)
    var builder = Builder(
      store: store, dependencyRoot: MountedDependencies(store: store), fetcher: definitionOptions.sourceCache,
      work: workPath)
    builder.jobs = jobs
    builder.keepsFiles = keep
    builder.limits = limitOptions.limits
    builder.inspection = DebugShell(stages: Set(debug)).inspection
    let isElsewhere = clusterOptions.isUsed
    let report: @Sendable (BuildEvent) -> Void = { event in
      if case .began = event, !isElsewhere { return }
      Terminal.standardError.write("\(event)\n")
    }
    builder.report = report
    let files = try packages.map { try DefinitionFile(directory: definitionOptions.directory(of: $0)) }
    let task = Task { [builder, check, jobs, workPath, clusterOptions, sources = definitionOptions.sourceOptions] in
      try await clusterOptions.withExecutor(
        else: LocalExecutor(builder), store: store, work: workPath, sources: sources, workers: 1
      ) { executor in
        for file in files {
          if check {
            try await Self.build(file, twiceWith: builder, store, below: workPath)
            continue
          }
          for package in try await executor.build(BuildOrder(file: file, choices: [:], jobs: jobs), report: report) {
            if try store.contains(package) {
              Terminal.standardError.write("package successfully created in \(store.path.appending(package.imageFileName))\n")
            }
            Terminal.standardOutput.write("\(package)\n")
          }
        }
      }
    }
    let isLocal = clusterOptions.executor == nil
    try await Interruption.cancelling(task) {
      let remains = isLocal ? "; what the build had made so far is in \(workPath)" : ""
      Terminal.standardError.write("distri-build: interrupted\(remains)\n")
    }
  }

  /// Builds a definition twice; ends the program where the results differ.
  private static func build(
    _ file: DefinitionFile, twiceWith builder: Builder, _ store: LocalStore, below work: FilePath
  ) async throws {
    let scratch = work.appending("check").appending(file.definition.name)
    let outcome = try await ReproducibilityCheck(builder: builder, store: store, scratch: scratch).run(file)
    for finding in outcome.differences {
      let other = finding.other == .store ? "what the store has" : "its second build"
      Terminal.standardError.write("\(finding.package) (\(finding.section.rawValue)) differs from \(other):\n")
      for difference in finding.differences { Terminal.standardError.write("  \(difference)\n") }
    }
    guard outcome.differences.isEmpty else { throw ExitCode(1) }
    for package in outcome.packages {
      Terminal.standardError.write("\(package) was built twice to the same bytes\n")
      Terminal.standardOutput.write("\(package)\n")
    }
  }

  private var workPath: FilePath { definitionOptions.workPath(work) }
}
