// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import CSandbox
import Glibc
import Synchronization
import SystemPackage

/// One run of a command in a sandbox, on a thread of its own: the kernel ends the sandbox with the thread that made it, and
/// waiting must not block Swift's cooperative threads.
final class SandboxProcess: Sendable {
  private struct State {
    var descriptor: Int32?
    var isCancelled = false
  }
  private let state = Mutex(State())
  private let showsOuterProcesses: Bool

  /// - Parameter showsOuterProcesses: as ``NamespaceSandbox/showsOuterProcesses``.
  init(showsOuterProcesses: Bool) { self.showsOuterProcesses = showsOuterProcesses }

  /// Kills the command now, or when it starts.
  func kill() {
    state.withLock { state in
      state.isCancelled = true
      if let descriptor = state.descriptor { _ = csandbox_kill(descriptor) }
    }
  }

  /// Runs the commands in turn until one fails; an empty one ends at once with success.
  ///
  /// - Returns: how the last one that ran ended.
  func run(
    _ commands: [[String]], in plan: SandboxPlan, io: StandardStreams, whenEnded: @escaping @Sendable (Int, CommandEnd) -> Void
  ) async throws -> ExitStatus {
    try await onThread { try self.runAndWait(commands, in: plan, io: io, whenEnded: whenEnded) }
  }

  private func runAndWait(
    _ commands: [[String]], in plan: SandboxPlan, io: StandardStreams, whenEnded: (Int, CommandEnd) -> Void
  ) throws -> ExitStatus {
    let null = try Self.openNull()
    defer { try? null.close() }
    let streams = [(io.input, 0), (io.output, 1), (io.error, 2)].map { stream, number -> Int32 in
      switch stream {
      case .null: null.rawValue
      case .inherited: Int32(number)
      case .descriptor(let descriptor): descriptor.rawValue
      }
    }
    let caller = CallerIdentity(
      userMap: try Self.read("/proc/self/uid_map"), groupMap: try Self.read("/proc/self/gid_map"),
      deniesGroups: try Self.read("/proc/self/setgroups").hasPrefix("deny"))
    let group = ControlGroup(for: plan.limits)
    // The kernel's own limit does not count root's processes, in no namespace.
    if plan.limits.processes != nil, !group.has(.pids), caller.userID == 0 {
      throw BuildError.sandbox(operation: Self.limitOfProcesses, .notSupported)
    }
    let compiled = try CompiledPlan(
      plan, commands: commands, streams: streams, caller: caller, group: group, showsOuterProcesses: showsOuterProcesses)
    var process = csandbox_process()
    var report = csandbox_report()
    let isStarted = try state.withLock { state throws(CancellationError) in
      guard !state.isCancelled else { throw CancellationError() }
      var copy = unsafe compiled.plan
      guard unsafe csandbox_spawn(&copy, &process, &report) == 0 else { return false }
      state.descriptor = process.descriptor
      return true
    }
    guard isStarted else { throw compiled.error(for: report, commands: commands) }
    defer {
      unsafe csandbox_wait(&process)
      state.withLock { $0.descriptor = nil }
      _ = Glibc.close(process.descriptor)
    }
    var ended = 0
    var status = ExitStatus.signalled(SIGKILL)
    let deadline = plan.limits.time.map { csandbox_deadline($0.nanoseconds) } ?? -1
    var result: Int32 = 0
    while true {
      result = unsafe csandbox_next(&process, &report, deadline)
      guard result == 1 else { break }
      guard report.stage == 0 else { throw compiled.error(for: report, commands: commands) }
      let signal = report.value & 0x7f
      status = signal == 0 ? .exited((report.value >> 8) & 0xff) : .signalled(signal)
      ended += 1
      whenEnded(Int(report.index), CommandEnd(status: status, peakMemory: UInt64(max(0, report.peak)) << 10))
    }
    let step = BuildPlan.line(commands[min(status.isSuccess ? ended : max(ended - 1, 0), commands.count - 1)])
    if result < 0, let time = plan.limits.time {
      _ = csandbox_kill(process.descriptor)
      throw BuildError.limitExceeded(.time(time), step: step, log: nil)
    }
    // Fewer reports than commands: the sandbox itself was killed, by us or for want of memory.
    if status.isSuccess, ended < commands.count { status = .signalled(SIGKILL) }
    if !status.isSuccess, let limit = Self.exceeded(plan.limits, group) {
      throw BuildError.limitExceeded(limit, step: step, log: nil)
    }
    return status
  }

  /// What errors call the attempt to limit the number of processes.
  static let limitOfProcesses = "limit the number of processes"

  /// The limit that a build came to which failed.
  private static func exceeded(_ limits: SandboxPlan.Limits, _ group: borrowing ControlGroup) -> SandboxPlan.Limit? {
    if let memory = limits.memory, group.wasExceeded(.memory) { return .memory(memory) }
    if let processes = limits.processes, group.wasExceeded(.pids) { return .processes(processes) }
    return nil
  }

  private static func openNull() throws(BuildError) -> FileDescriptor {
    do {
      return try FileDescriptor.open(FilePath("/dev/null"), .readWrite, options: .closeOnExec)
    } catch {
      throw .system(operation: "open", path: "/dev/null", error as? Errno ?? .ioError)
    }
  }

  private static func read(_ path: FilePath) throws(BuildError) -> String {
    do {
      let file = try FileDescriptor.open(path, .readOnly, options: .closeOnExec)
      defer { try? file.close() }
      let bytes = unsafe try [UInt8](unsafeUninitializedCapacity: 4096) { buffer, count in
        count = try unsafe file.read(into: UnsafeMutableRawBufferPointer(buffer))
      }
      return String(decoding: bytes, as: UTF8.self)
    } catch {
      throw .system(operation: "read", path: path, error as? Errno ?? .ioError)
    }
  }
}

extension Duration {
  /// Clamped to what 64 bits hold, at least 0.
  fileprivate var nanoseconds: Int64 {
    let (seconds, attoseconds) = components
    let (product, overflow) = max(seconds, 0).multipliedReportingOverflow(by: 1_000_000_000)
    return overflow ? .max : max(0, product.addingReportingOverflow(attoseconds / 1_000_000_000).partialValue)
  }
}
