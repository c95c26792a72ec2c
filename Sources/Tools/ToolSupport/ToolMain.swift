// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Dispatch
import FoundationEssentials
import Glibc

/// Runs a tool's command: the `main` of every executable.
public enum ToolMain {
  /// Parses the arguments, runs the command, and ends the process with a status of ``ExitStatus``.
  ///
  /// An error becomes one line on standard error that starts with the tool's name.
  public static func run(_ root: any ParsableCommand.Type) async -> Never {
    do {
      var command = try parse(root, nil)
      if var asynchronous = command as? any AsyncParsableCommand {
        try await asynchronous.run()
      } else {
        try command.run()
      }
      exit(0)
    } catch {
      end(root, with: error)
    }
  }

  /// The same from a `main` that is not asynchronous: the process has one thread until the command starts others, so that it can fork.
  ///
  /// - Parameter arguments: what to parse instead of the command line.
  public static func runSynchronously(_ root: any ParsableCommand.Type, arguments: [String]? = nil) -> Never {
    do {
      var command = try parse(root, arguments)
      try (command as? any PreparedCommand)?.prepare()
      if let asynchronous = command as? any AsyncParsableCommand {
        // Used by the task alone from here on.
        nonisolated(unsafe) var command = asynchronous
        Task.detached {
          do {
            try await command.run()
            exit(0)
          } catch {
            end(root, with: error)
          }
        }
        // What is bound to the main actor runs here.
        dispatchMain()
      }
      try command.run()
      exit(0)
    } catch {
      end(root, with: error)
    }
  }

  private static func parse(_ root: any ParsableCommand.Type, _ arguments: [String]?) throws -> any ParsableCommand {
    // A reader that goes away is an error of that write, not the end of the process by a signal.
    signal(SIGPIPE, SIG_IGN)
    return try root.parseAsRoot(arguments)
  }

  /// Says what is wrong, and ends the process.
  public static func end(_ root: any ParsableCommand.Type, with error: any Error) -> Never {
    if isForArgumentParser(error) { root.exit(withError: error) }
    let name = root.configuration.commandName ?? CommandLine.arguments.first ?? "distri"
    if !(error is any SilentError) { Terminal.standardError.write("\(name): \(error)\n") }
    exit(ExitStatus.of(error).rawValue)
  }

  /// Help, version, usage errors and plain exit codes: ArgumentParser says them best.
  private static func isForArgumentParser(_ error: any Error) -> Bool {
    if error is ExitCode || error is CleanExit || error is ValidationError { return true }
    // CommandError, which wraps what the parser itself finds, is not public.
    return String(reflecting: type(of: error)).hasPrefix("ArgumentParser.")
  }
}

/// A command that has to do something while the process has one thread, before it runs.
public protocol PreparedCommand: ParsableCommand {
  /// Is called by ``ToolMain/runSynchronously(_:arguments:)`` before the command's `run()`.
  func prepare() throws
}

/// An error about which all has been said: it is an exit status only.
public protocol SilentError: ExitStatusProviding {}
