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

  /// Kills the command now, or when it starts.
  func kill() {
    state.withLock { state in
      state.isCancelled = true
      if let descriptor = state.descriptor { _ = csandbox_kill(descriptor) }
    }
  }

  /// Runs the command; an empty one ends at once with success.
  func run(_ command: [String], in plan: SandboxPlan, io: StandardStreams) async throws -> ExitStatus {
    try await withCheckedThrowingContinuation { continuation in
      let errno = Thread.start { continuation.resume(with: Result { try self.runAndWait(command, in: plan, io: io) }) }
      if let errno { continuation.resume(throwing: BuildError.sandbox(operation: "start a thread", errno)) }
    }
  }

  private func runAndWait(_ command: [String], in plan: SandboxPlan, io: StandardStreams) throws -> ExitStatus {
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
      userMap: try Self.read("/proc/self/uid_map"), groupMap: try Self.read("/proc/self/gid_map"))
    let compiled = try CompiledPlan(plan, command: command, streams: streams, caller: caller)
    var process = csandbox_process()
    var failure = csandbox_failure()
    let isStarted = try state.withLock { state throws(CancellationError) in
      guard !state.isCancelled else { throw CancellationError() }
      var copy = unsafe compiled.plan
      guard unsafe csandbox_spawn(&copy, &process, &failure) == 0 else { return false }
      state.descriptor = process.descriptor
      return true
    }
    guard isStarted else { throw compiled.error(for: failure, command: command) }
    let result = unsafe csandbox_wait(&process)
    state.withLock { $0.descriptor = nil }
    _ = Glibc.close(process.descriptor)
    guard result.failure.stage == 0 else { throw compiled.error(for: result.failure, command: command) }
    let signal = result.status & 0x7f
    return signal == 0 ? .exited((result.status >> 8) & 0xff) : .signalled(signal)
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

/// A thread that runs one closure.
private enum Thread {
  private final class Work: Sendable {
    let body: @Sendable () -> Void
    init(_ body: @escaping @Sendable () -> Void) { self.body = body }
  }

  /// - Returns: the error, when there is no thread to be had and the body will not run.
  static func start(_ body: @escaping @Sendable () -> Void) -> Errno? {
    var thread = pthread_t()
    let context = unsafe Unmanaged.passRetained(Work(body)).toOpaque()
    let result = unsafe pthread_create(
      &thread, nil,
      { context in
        if let context = unsafe context { unsafe Unmanaged<Work>.fromOpaque(context).takeRetainedValue().body() }
        return nil
      }, context)
    guard result == 0 else {
      unsafe Unmanaged<Work>.fromOpaque(context).release()
      return Errno(rawValue: result)
    }
    pthread_detach(thread)
    return nil
  }
}
