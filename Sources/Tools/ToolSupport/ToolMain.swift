// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import FoundationEssentials
import Glibc

/// Runs a tool's command: the `main` of every executable.
public enum ToolMain {
  /// Parses the arguments, runs the command, and ends the process with a status of ``ExitStatus``.
  ///
  /// An error becomes one line on standard error that starts with the tool's name.
  public static func run(_ root: any ParsableCommand.Type) async -> Never {
    // A reader that goes away is an error of that write, not the end of the process by a signal.
    signal(SIGPIPE, SIG_IGN)
    do {
      var command = try root.parseAsRoot()
      if var asynchronous = command as? any AsyncParsableCommand {
        try await asynchronous.run()
      } else {
        try command.run()
      }
      exit(0)
    } catch {
      if isForArgumentParser(error) { root.exit(withError: error) }
      let name = root.configuration.commandName ?? CommandLine.arguments.first ?? "distri"
      Terminal.standardError.write("\(name): \(error)\n")
      exit(ExitStatus.of(error).rawValue)
    }
  }

  /// Help, version, usage errors and plain exit codes: ArgumentParser says them best.
  private static func isForArgumentParser(_ error: any Error) -> Bool {
    if error is ExitCode || error is CleanExit || error is ValidationError { return true }
    // CommandError, which wraps what the parser itself finds, is not public.
    return String(reflecting: type(of: error)).hasPrefix("ArgumentParser.")
  }
}
