// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore
import Synchronization
import SystemPackage

/// Runs a plan's commands in its sandbox, with their output in a log.
struct Execution: Sendable {
  let plan: BuildPlan
  let sandbox: any Sandbox
  let log: FilePath
  let report: @Sendable (BuildEvent) -> Void
  var inspection: BuildInspection?

  /// How many lines of a failed step's output the error carries.
  static let tailLineCount = 24

  /// Links the libraries that steps find, and applies patches of the definition's directory to the source.
  ///
  /// - Throws: ``BuildError/stepFailed(step:_:log:tail:)``; ``BuildError/sandbox(operation:_:)``; what an inspection throws.
  func prepare(patches: [String]) async throws {
    try startLog()
    for (name, library) in plan.libraries { try plan.layout.libraries.appending(name.description).makeLink(to: library.inView) }
    guard !patches.isEmpty else { return }
    var plan = plan.sandbox
    let inside: FilePath = "/usr/src/definition"
    plan.operations += [
      .bind(from: self.plan.layout.source, to: self.plan.layout.insideSource),
      .bind(from: self.plan.layout.definition, to: inside, readOnly: true),
    ]
    plan.workingDirectory = self.plan.layout.insideSource
    let commands = patches.map { ["patch", "-p1", "--no-backup-if-mismatch", "-i", "\(inside)/\($0)"] }
    do {
      try await run(commands, in: plan)
    } catch let error as BuildError {
      var stopped = self.plan
      stopped.sandbox = plan
      try await inspection?.reach(.failure, stopped, sandbox, failure: error)
      throw error
    }
  }

  /// Runs the steps of the plan.
  ///
  /// - Throws: as ``prepare(patches:)``, and what an inspection throws.
  func runSteps() async throws {
    try await inspection?.reach(.beforeSteps, plan, sandbox)
    do {
      try await run(plan.steps, in: plan.sandbox)
    } catch let error as BuildError {
      try await inspection?.reach(.failure, plan, sandbox, failure: error)
      throw error
    }
    try await inspection?.reach(.afterSteps, plan, sandbox)
  }

  private func startLog() throws { try log.write(Array("\(plan)\n\n".utf8)) }

  func run(_ commands: [[String]], in plan: SandboxPlan, as title: String? = nil) async throws {
    let file: FileDescriptor
    do {
      file = try FileDescriptor.open(log, .writeOnly, options: [.append, .closeOnExec])
    } catch {
      throw BuildError.system(operation: "open", path: log, error as? Errno ?? .ioError)
    }
    defer { try? file.close() }
    let start = ContinuousClock.now
    report(.began(title ?? commands.first.map(BuildPlan.line) ?? ""))
    let progress = Mutex((count: 0, time: start, peakMemory: UInt64(0)))
    let status: ExitStatus
    do {
      status = try await sandbox.run(sequence: commands, in: plan, io: .log(file)) { index, end in
        let now = ContinuousClock.now
        let before = progress.withLock { progress in
          defer { progress = (index + 1, now, max(progress.peakMemory, end.peakMemory)) }
          return progress.time
        }
        if end.status.isSuccess, title == nil {
          report(.finished(BuildPlan.line(commands[index]), now - before))
          if index + 1 < commands.count { report(.began(BuildPlan.line(commands[index + 1]))) }
        }
      }
    } catch BuildError.limitExceeded(let limit, let step, _) {
      throw BuildError.limitExceeded(limit, step: step, log: log)
    }
    guard status.isSuccess else {
      let failed = progress.withLock { min(max($0.count - 1, 0), commands.count - 1) }
      throw BuildError.stepFailed(step: BuildPlan.line(commands[failed]), status, log: log, tail: try tail())
    }
    if let title { return report(.finished(title, ContinuousClock.now - start)) }
    let peak = progress.withLock { $0.peakMemory }
    if peak > 0 { report(.usedMemory(peak)) }
  }

  private func tail() throws(BuildError) -> [String] {
    let size = try log.byteCount()
    let length: UInt64 = 32 << 10
    do {
      let file = try FileDescriptor.open(log, .readOnly, options: .closeOnExec)
      let bytes = try file.closeAfter { try file.bytes(at: size > length ? size - length : 0, atMost: Int(length)) }
      return String(decoding: bytes, as: UTF8.self).split(separator: "\n").suffix(Self.tailLineCount).map { String($0) }
    } catch {
      throw .system(operation: "read", path: log, error as? Errno ?? .ioError)
    }
  }
}
