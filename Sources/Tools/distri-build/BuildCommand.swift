// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Dispatch
import DistriBuild
import DistriStore
import FoundationEssentials
import Glibc
import SystemPackage
import ToolSupport

/// The options that build and scaffold share.
struct DefinitionOptions: ParsableArguments {
  @Option(help: ArgumentHelp("The directory that holds a directory per definition.", valueName: "dir"))
  var definitions = "."

  @Option(
    help: ArgumentHelp(
      "Archives of sources, looked up by name and SHA-256 before the network; what is downloaded stays there. Without it, _build/sources beside the definitions.",
      valueName: "dir"))
  var sources: String?

  @Option(
    help: ArgumentHelp("The module proxy for sources distri+gomod://, a URL or a directory of its layout.", valueName: "url"))
  var goProxy = SourceCache.publicGoProxy

  var definitionsPath: FilePath { FilePath(definitions) }

  /// Where builds happen, unless told otherwise: `_build` beside the directory of definitions.
  var defaultWork: FilePath { definitionsPath.appending("..").appending("_build").lexicallyNormalized() }

  var sourceCache: SourceCache {
    SourceCache(directory: sources.map { FilePath($0) } ?? defaultWork.appending("sources"), goProxy: goProxy)
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
      """)

  @OptionGroup var storeOptions: StoreOptions
  @OptionGroup var definitionOptions: DefinitionOptions

  @Option(
    help: ArgumentHelp("Where builds happen and their logs stay. Without it, _build beside the definitions.", valueName: "dir"))
  var work: String?

  @Option(help: "How many jobs a build step may start at once.")
  var jobs = ProcessInfo.processInfo.activeProcessorCount

  @Flag(help: "Keep source, build directory and installed files of a build that succeeds.")
  var keep = false

  @Argument(help: ArgumentHelp("Names of definitions, or their directories.", valueName: "package|dir"))
  var packages: [String]

  func validate() throws {
    if packages.isEmpty { throw ValidationError("Name at least one definition.") }
    if !(1...4096).contains(jobs) { throw ValidationError("--jobs is a number from 1 on.") }
  }

  func run() async throws {
    let store = try LocalStore(path: storeOptions.storePath)
    var builder = Builder(
      store: store, dependencyRoot: MountedDependencies(store: store), fetcher: definitionOptions.sourceCache,
      work: workPath)
    builder.jobs = jobs
    builder.keepsFiles = keep
    builder.report = { Terminal.standardError.write("\($0)\n") }
    let files = try packages.map { try DefinitionFile(directory: absolute(directory(of: $0))) }
    let task = Task { [builder] in
      for file in files {
        for package in try await builder.build(file) {
          Terminal.standardError.write(
            "package successfully created in \(store.path.appending(package.imageFileName))\n")
          Terminal.standardOutput.write("\(package)\n")
        }
      }
    }
    try await cancelling(task, on: [SIGINT, SIGTERM, SIGHUP])
  }

  private var workPath: FilePath { absolute(work.map { FilePath($0) } ?? definitionOptions.defaultWork) }

  /// A word with a slash, or a directory with a definition, is a path; everything else a name.
  private func directory(of word: String) -> FilePath {
    let path = FilePath(word)
    let isDefinition = FileManager.default.fileExists(atPath: path.appending(DefinitionFile.fileName).string)
    return word.contains("/") || isDefinition ? path : definitionOptions.definitionsPath.appending(word)
  }

  private func absolute(_ path: FilePath) -> FilePath {
    path.isAbsolute ? path : FilePath(FileManager.default.currentDirectoryPath).pushing(path).lexicallyNormalized()
  }

  /// Ends the task when the process is told to end, so that nothing stays mounted.
  private func cancelling(_ task: Task<Void, any Error>, on signals: [Int32]) async throws {
    let sources = signals.map { number in
      signal(number, SIG_IGN)
      let source = DispatchSource.makeSignalSource(signal: number, queue: .global())
      source.setEventHandler { task.cancel() }
      source.resume()
      return source
    }
    defer { for source in sources { source.cancel() } }
    do {
      try await task.value
    } catch is CancellationError {
      Terminal.standardError.write("distri-build: interrupted; what the build had made so far is in \(workPath)\n")
      throw ExitCode(130)
    }
  }
}
