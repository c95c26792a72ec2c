// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import SystemPackage

/// Runs a command in a world that a ``SandboxPlan`` describes.
public protocol Sandbox: Sendable {
  /// Makes the smallest sandbox and throws it away.
  ///
  /// - Throws: ``BuildError/sandbox(operation:_:)`` with a sentence that a person can act on.
  func checkAvailability() async throws
  /// Runs the command and returns how it ended. A status other than zero is a result, no error.
  ///
  /// The command is searched in the plan's `PATH` unless it contains a slash. When the task is cancelled, the command is killed.
  ///
  /// - Throws: ``BuildError/sandbox(operation:_:)`` that names the first operation of the plan that failed;
  ///   ``BuildError/limitExceeded(_:step:log:)`` when a command failed and one of the plan's limits was hit; `CancellationError`.
  func run(_ command: [String], in plan: SandboxPlan, io: StandardStreams) async throws -> ExitStatus
  /// Runs commands one after the other in one and the same sandbox, until one fails: each sees what the others changed.
  ///
  /// - Parameter whenEnded: called for each command with its index.
  /// - Returns: how the last one ended; success when there are none.
  /// - Throws: as ``run(_:in:io:)``.
  func run(
    sequence commands: [[String]], in plan: SandboxPlan, io: StandardStreams,
    whenEnded: @escaping @Sendable (Int, CommandEnd) -> Void
  ) async throws -> ExitStatus
}

extension Sandbox {
  /// Runs one command.
  ///
  /// - Throws: ``BuildError/sandbox(operation:_:)``; `CancellationError` when the task was cancelled.
  public func run(_ command: [String], in plan: SandboxPlan, io: StandardStreams) async throws -> ExitStatus {
    try await run(sequence: [command], in: plan, io: io) { _, _ in }
  }
}

/// What a command reads from and writes to.
public struct StandardStreams: Sendable, Hashable {
  /// One stream. The descriptor must stay open until the command has ended.
  public enum Stream: Sendable, Hashable {
    /// Empty to read from, swallows what is written.
    case null
    /// The caller's own.
    case inherited
    /// An open file, pipe or terminal.
    case descriptor(FileDescriptor)
  }

  /// Descriptor 0.
  public var input: Stream
  /// Descriptor 1.
  public var output: Stream
  /// Descriptor 2.
  public var error: Stream

  /// Makes streams.
  public init(input: Stream = .null, output: Stream = .null, error: Stream = .null) {
    self.input = input
    self.output = output
    self.error = error
  }

  /// The caller's own three.
  public static let inherited = StandardStreams(input: .inherited, output: .inherited, error: .inherited)
  /// Nothing to read, all output swallowed.
  public static let null = StandardStreams()
  /// Nothing to read, output and errors into one file.
  public static func log(_ file: FileDescriptor) -> StandardStreams {
    StandardStreams(output: .descriptor(file), error: .descriptor(file))
  }
}

/// A command that has ended.
public struct CommandEnd: Sendable, Hashable {
  /// How it ended.
  public var status: ExitStatus
  /// The most memory that one of its processes had at a time, in bytes; 0 where nobody knows. A small command seems to have what the program
  /// had that started it.
  public var peakMemory: UInt64

  /// Makes one.
  public init(status: ExitStatus, peakMemory: UInt64 = 0) {
    self.status = status
    self.peakMemory = peakMemory
  }
}

/// How a command ended.
public enum ExitStatus: Sendable, Hashable, CustomStringConvertible {
  /// By itself, with a status from 0 to 255.
  case exited(Int32)
  /// By a signal.
  case signalled(Int32)

  /// Whether the command ended with status 0.
  public var isSuccess: Bool { self == .exited(0) }

  /// The status as a shell reports it: 128 and the number of the signal.
  public var shellStatus: Int32 {
    switch self {
    case .exited(let status): status
    case .signalled(let signal): 128 &+ signal
    }
  }

  /// The rest of a sentence.
  public var description: String {
    switch self {
    case .exited(let status): "exit status \(status)"
    case .signalled(let signal): "signal \(signal)"
    }
  }
}
