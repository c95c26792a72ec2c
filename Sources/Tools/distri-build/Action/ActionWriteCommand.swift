// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import DistriBuild
import DistriStore
import FoundationEssentials
import SystemPackage
import ToolSupport

/// `distri-build action write`: the input root of a build, as a directory.
struct ActionWriteCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "write",
    abstract: "Write all that a build needs into a directory, to be built there.",
    discussion: """
      Prints a line per file: SHA-256, size, whether it is a program (x or -), and path; then the
      command. The same inputs give the same lines on every machine that has the same distri-build
      and libraries. Without --out, nothing is written.

        distri-build action write --definitions pkgs --store /roimg hello --out /tmp/action
      """)

  @OptionGroup var storeOptions: StoreOptions
  @OptionGroup var definitionOptions: DefinitionOptions

  @Option(help: ArgumentHelp("The directory, which must not be there yet.", valueName: "dir"))
  var out: String?

  @Option(
    help: "How many jobs a build step may start at once. Without it, as many as the machine has processors that runs the action.")
  var jobs: Int?

  @Argument(help: ArgumentHelp("Name of a definition, or its directory.", valueName: "package|dir"))
  var package: String

  func validate() throws {
    if let jobs, !(1...4096).contains(jobs) { throw ValidationError("--jobs is a number from 1 on.") }
  }

  func run() async throws {
    let composition = try ActionComposition(
      store: LocalStore(path: storeOptions.storePath), work: definitionOptions.workPath(nil),
      sources: definitionOptions.sourceOptions)
    defer { composition.digests.write() }
    var planner = composition.planner
    planner.jobs = jobs
    let file = try DefinitionFile(directory: definitionOptions.directory(of: package))
    let action = try await planner.action(for: BuildOrder(file: file, choices: [:], jobs: 1))
    if let out { try action.inputs.write(to: absolutePath(out)) }
    for file in action.inputs.files {
      Terminal.standardOutput.write(
        "\(file.digest.sha256) \(file.digest.byteCount) \(file.isExecutable ? "x" : "-") \(file.path)\n")
    }
    Terminal.standardOutput.write(BuildPlan.line(action.arguments) + "\n")
  }
}

/// What actions are made with, from the tool's options.
struct ActionComposition {
  let digests: FileDigests
  let planner: ActionPlanner

  /// - Parameters:
  ///   - work: where builds happen; digests are kept there.
  ///   - builder: the distri-build that is run; this one, unless told otherwise.
  init(store: LocalStore, work: FilePath, sources: SourceOptions, builder: FilePath = "/proc/self/exe") throws {
    digests = FileDigests(path: work.appending("file-digests"))
    var cache = sources.cache(below: work)
    cache.digests = digests
    planner = ActionPlanner(
      packages: ActionPackages(store: store, digests: digests), sources: cache,
      tool: try ActionTool(program: builder, patchelf: Self.program(ActionLayout.patchelf), digests: digests))
  }

  /// A program of the host, as a shell would find it.
  private static func program(_ name: String) -> FilePath? {
    let directories = (ProcessInfo.processInfo.environment["PATH"] ?? "").split(separator: ":")
    return directories.map { FilePath(String($0)).appending(name) }
      .first { $0.isAbsolute && FileManager.default.isExecutableFile(atPath: $0.string) }
  }
}
