// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import SystemPackage

/// The sandbox of the Linux kernel's namespaces: for root and for ordinary users, without helpers that need setuid.
///
/// Each command gets a thread that waits for it, and ends with it: when the program dies, so does the command.
public struct NamespaceSandbox: Sandbox {
  /// Whether `/proc` of the sandbox may be that of the caller, where the kernel refuses another one because an outer sandbox covers parts of
  /// the caller's. The commands see all processes that the caller sees, then; for callers that are alone in their outer sandbox.
  public var showsOuterProcesses: Bool

  /// Makes a sandbox; it has no state.
  public init(showsOuterProcesses: Bool = false) { self.showsOuterProcesses = showsOuterProcesses }

  /// Makes the smallest sandbox and throws it away.
  ///
  /// - Throws: ``BuildError/sandbox(operation:_:)``.
  public func checkAvailability() async throws {
    let plan = SandboxPlan(
      operations: [.proc(at: "/proc"), .devices(at: "/dev"), .tmpfs(at: "/tmp")], hostname: "distri")
    _ = try await SandboxProcess(showsOuterProcesses: showsOuterProcesses).run([[]], in: plan, io: .null) { _, _ in }
  }

  /// Runs the commands in turn and returns how the last one ended.
  ///
  /// - Throws: ``BuildError/sandbox(operation:_:)``; ``BuildError/limitExceeded(_:step:log:)``; `CancellationError` when the task was
  ///   cancelled.
  public func run(
    sequence commands: [[String]], in plan: SandboxPlan, io: StandardStreams,
    whenEnded: @escaping @Sendable (Int, CommandEnd) -> Void
  ) async throws -> ExitStatus {
    if commands.isEmpty { return .exited(0) }
    guard !commands.contains(where: { $0.first?.isEmpty != false }) else {
      throw BuildError.sandbox(operation: SandboxStage.execute.description, .invalidArgument)
    }
    let process = SandboxProcess(showsOuterProcesses: showsOuterProcesses)
    let status = try await withTaskCancellationHandler {
      try await process.run(commands, in: plan, io: io, whenEnded: whenEnded)
    } onCancel: {
      process.kill()
    }
    try Task.checkCancellation()
    return status
  }
}

/// The parts of making a sandbox that are no operation of its plan.
enum SandboxStage: Int32, CustomStringConvertible {
  case makePipe = 1
  case createNamespaces, mapIDs, arrangeStreams, makePrivate, openSource, makeRoot, operation, leaveOldRoot,
    raiseLoopback
  case setHostname, startProcess, makeSession, limitCapabilities, changeIdentity, changeDirectory, execute
  case joinGroups, limitResources, filterCalls

  var description: String {
    switch self {
    case .makePipe: "make a pipe"
    case .createNamespaces: "create namespaces"
    case .mapIDs: "map user and group ids"
    case .arrangeStreams: "arrange the standard streams"
    case .makePrivate: "make mounts private"
    case .openSource, .operation: "perform an operation"
    case .makeRoot: "make the new root"
    case .leaveOldRoot: "leave the old root"
    case .raiseLoopback: "raise the loopback interface"
    case .setHostname: "set the host name"
    case .startProcess: "start the process"
    case .makeSession: "make a session"
    case .limitCapabilities: "limit capabilities"
    case .changeIdentity: "change user and group"
    case .changeDirectory: "change the working directory"
    case .execute: "execute"
    case .joinGroups: "join the control group"
    case .limitResources: "limit resources"
    case .filterCalls: "filter system calls"
    }
  }
}
