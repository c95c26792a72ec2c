// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import DistriBuild
import DistriStore
import FoundationEssentials
import SystemPackage
import ToolSupport

/// `distri-build env`: the sandbox of a definition, without building it.
struct EnvCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "env",
    abstract: "Run a shell or a command in the sandbox of a definition.",
    discussion: """
      The source is unpacked and patched, the dependencies are there, no step has run. What is changed in there is gone afterwards.
      Without a command, a shell opens. The exit status is that of the command.

        distri-build env --definitions pkgs --store /roimg hello -- sh -c '/usr/src/hello-*/configure --help'
      """)

  @OptionGroup var storeOptions: StoreOptions
  @OptionGroup var definitionOptions: DefinitionOptions
  @OptionGroup var limitOptions: LimitOptions

  @Option(help: ArgumentHelp("Where the source is unpacked. Without it, _build beside the definitions.", valueName: "dir"))
  var work: String?

  @Option(help: "What ${DISTRI_JOBS} says.")
  var jobs = ProcessInfo.processInfo.activeProcessorCount

  @Flag(help: "Print the environment of the steps, a variable a line, and run nothing.")
  var print = false

  @Argument(help: ArgumentHelp("Name of a definition, or its directory.", valueName: "package|dir"))
  var package: String

  @Argument(parsing: .postTerminator, help: ArgumentHelp("The command, after --.", valueName: "command"))
  var command: [String] = []

  func validate() throws {
    if print, !command.isEmpty { throw ValidationError("--print runs no command.") }
    if !(1...4096).contains(jobs) { throw ValidationError("--jobs is a number from 1 on.") }
  }

  func run() async throws {
    let store = try LocalStore(path: storeOptions.storePath)
    var builder = Builder(
      store: store, dependencyRoot: MountedDependencies(store: store), fetcher: definitionOptions.sourceCache,
      work: definitionOptions.workPath(work))
    builder.jobs = jobs
    builder.limits = limitOptions.limits
    let file = try DefinitionFile(directory: definitionOptions.directory(of: package))
    let task = Task { [builder, command, print] in
      try await builder.withEnvironment(of: file) { stop in
        if print {
          for (name, value) in stop.plan.sandbox.environment.sorted(by: { $0.key < $1.key }) {
            Terminal.standardOutput.write("\(name)=\(value)\n")
          }
          return DistriBuild.ExitStatus.exited(0)
        }
        return try await DebugShell.run(command.isEmpty ? DebugShell.shell(for: stop) : command, at: stop)
      }
    }
    let status = try await Interruption.cancelling(task) {
      Terminal.standardError.write("distri-build: interrupted\n")
    }
    if !status.isSuccess { throw ExitCode(status.shellStatus) }
  }
}
