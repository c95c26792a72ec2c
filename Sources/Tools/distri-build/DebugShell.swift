// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import DistriBuild
import FoundationEssentials
import Glibc
import SystemPackage
import ToolSupport

extension BuildStage: ExpressibleByArgument {}

/// A shell in the sandbox of a build.
struct DebugShell {
  /// Where it opens by itself. After a failure it is offered in any case, if somebody is there.
  var stages: Set<BuildStage>

  /// What goes on at each stop of a build.
  var inspection: BuildInspection {
    let isPossible = PseudoTerminal.isPossible
    return BuildInspection(at: isPossible ? stages.union([.failure]) : []) { stop in
      if let failure = stop.failure {
        Terminal.standardError.write("distri-build: \(failure)\n")
        guard stages.contains(.failure) || Self.ask("Open a shell where it failed?") else { return }
      }
      try await Self.open(at: stop)
    }
  }

  /// Opens a shell and waits for its end, however that comes.
  static func open(at stop: BuildStop) async throws {
    Terminal.standardError.write(
      """
      A shell in the sandbox of \(stop.plan.layout.package), \(words(for: stop)).
      What the steps install goes below \(stop.plan.layout.insideDestination). The build goes on when you leave the shell.

      """)
    _ = try await run(shell(for: stop), at: stop)
  }

  /// Runs a command at a stop, on a terminal of its own where there is one.
  static func run(_ command: [String], at stop: BuildStop) async throws -> DistriBuild.ExitStatus {
    guard PseudoTerminal.isPossible else { return try await stop.run(command, io: .inherited) }
    let terminal = ProcessInfo.processInfo.environment["TERM"] ?? "dumb"
    return try await PseudoTerminal.with { descriptor in
      let stream = StandardStreams.Stream.descriptor(descriptor)
      return try await stop.run(
        command, io: StandardStreams(input: stream, output: stream, error: stream),
        variables: ["TERM": terminal, "PS1": "\(stop.plan.layout.package) \\w\\$ "])
    }
  }

  /// bash without files of a home that is not there; the prompt comes from the environment.
  static func shell(for stop: BuildStop) -> [String] {
    let hasBash = stop.plan.dependencies.contains { $0.name == "bash" }
    return hasBash ? ["bash", "--norc", "--noprofile", "-i"] : ["sh", "-i"]
  }

  private static func words(for stop: BuildStop) -> String {
    switch stop.stage {
    case .beforeSteps: "before its first step"
    case .afterSteps: "after its last step"
    case .afterInstall: "with the package in its place, \(stop.plan.layout.home)"
    case .failure: "as the step that failed left it"
    }
  }

  private static func ask(_ question: String) -> Bool {
    Terminal.standardError.write("\(question) [y/N] ")
    return readLine()?.lowercased().hasPrefix("y") ?? false
  }
}
