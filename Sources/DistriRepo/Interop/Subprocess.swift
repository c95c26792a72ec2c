// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import Glibc
import SystemPackage

/// A program that gets bytes and gives bytes. Its standard error is ours.
enum Subprocess {
  enum Failure: Error, CustomStringConvertible {
    case cannotStart(Errno)
    case timedOut
    case tooMuchOutput
    case exited(Int32)

    var description: String {
      switch self {
      case .cannotStart(let errno): "the command cannot be started: \(errno)"
      case .timedOut: "the command took too long"
      case .tooMuchOutput: "the command printed too much"
      case .exited(let status): "the command ended with status \(status)"
      }
    }
  }

  /// Runs the program on a thread of its own to its end.
  ///
  /// - Throws: ``Failure``.
  static func run(
    _ command: [String], environment: [String], input: [UInt8], maximumByteCount: Int, timeLimit: Duration
  ) async throws -> [UInt8] {
    try await withCheckedThrowingContinuation { continuation in
      let job = Job(
        command: command, environment: environment, input: input, maximumByteCount: maximumByteCount, timeLimit: timeLimit,
        continuation)
      job.start()
    }
  }

  /// What the thread has to do.
  private final class Job: Sendable {
    let command: [String]
    let environment: [String]
    let input: [UInt8]
    let maximumByteCount: Int
    let deadline: ContinuousClock.Instant
    let continuation: CheckedContinuation<[UInt8], any Error>

    init(
      command: [String], environment: [String], input: [UInt8], maximumByteCount: Int, timeLimit: Duration,
      _ continuation: CheckedContinuation<[UInt8], any Error>
    ) {
      self.command = command
      self.environment = environment
      self.input = input
      self.maximumByteCount = maximumByteCount
      deadline = .now + timeLimit
      self.continuation = continuation
    }

    func start() {
      var thread = pthread_t()
      let context = unsafe Unmanaged.passRetained(self)
      let result = unsafe pthread_create(
        &thread, nil,
        { context in
          let job = unsafe context.map { unsafe Unmanaged<Job>.fromOpaque($0).takeRetainedValue() }
          job?.finish()
          return nil
        }, context.toOpaque())
      guard result == 0 else {
        unsafe context.release()
        return continuation.resume(throwing: Failure.cannotStart(Errno(rawValue: result)))
      }
      pthread_detach(thread)
    }

    func finish() { continuation.resume(with: Result { try run() }) }

    private func run() throws -> [UInt8] {
      // Sockets: closed on exec from the start, and writing to one that nobody reads raises no signal.
      let input = try Self.socketPair()
      let output: (own: FileDescriptor, other: FileDescriptor)
      do {
        output = try Self.socketPair()
      } catch {
        for end in [input.own, input.other] { try? end.close() }
        throw error
      }
      defer { try? output.own.close() }
      let child: pid_t
      do {
        child = try spawn(input: input.other, output: output.other)
      } catch {
        for end in [input.own, input.other, output.other] { try? end.close() }
        throw error
      }
      try? input.other.close()
      try? output.other.close()
      let result = Result { try exchange(input.own, output.own) }
      if case .failure = result { kill(child, SIGKILL) }
      var status: Int32 = 0
      while unsafe waitpid(child, &status, 0) < 0 && errno == EINTR {}
      let bytes = try result.get()
      guard status == 0 else { throw Failure.exited(status & 0x7f == 0 ? status >> 8 & 0xff : 128 + status & 0x7f) }
      return bytes
    }

    private static func socketPair() throws -> (own: FileDescriptor, other: FileDescriptor) {
      var ends: [Int32] = [0, 0]
      let kind = Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue)
      guard unsafe socketpair(AF_UNIX, kind, 0, &ends) == 0 else { throw Errno(rawValue: errno) }
      return (FileDescriptor(rawValue: ends[0]), FileDescriptor(rawValue: ends[1]))
    }

    private func spawn(input: FileDescriptor, output: FileDescriptor) throws -> pid_t {
      var actions = unsafe posix_spawn_file_actions_t()
      unsafe posix_spawn_file_actions_init(&actions)
      defer { unsafe posix_spawn_file_actions_destroy(&actions) }
      unsafe posix_spawn_file_actions_adddup2(&actions, input.rawValue, 0)
      unsafe posix_spawn_file_actions_adddup2(&actions, output.rawValue, 1)
      var attributes = posix_spawnattr_t()
      unsafe posix_spawnattr_init(&attributes)
      defer { unsafe posix_spawnattr_destroy(&attributes) }
      // The tools ignore SIGPIPE; a shell's pipeline relies on it.
      var signals = sigset_t()
      unsafe sigemptyset(&signals)
      unsafe sigaddset(&signals, SIGPIPE)
      unsafe posix_spawnattr_setsigdefault(&attributes, &signals)
      unsafe posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGDEF))
      let arguments: [UnsafeMutablePointer<CChar>?] = unsafe command.map { unsafe strdup($0) } + [nil]
      let variables: [UnsafeMutablePointer<CChar>?] = unsafe environment.map { unsafe strdup($0) } + [nil]
      defer { unsafe (arguments + variables).forEach { unsafe free($0) } }
      var child = pid_t()
      guard let program = unsafe arguments[0] else { throw Failure.cannotStart(.noSuchFileOrDirectory) }
      let result = unsafe posix_spawnp(&child, program, &actions, &attributes, arguments, variables)
      guard result == 0 else { throw Failure.cannotStart(Errno(rawValue: result)) }
      return child
    }

    /// Feeds the program and collects what it says until it closes its output.
    private func exchange(_ input: FileDescriptor, _ output: FileDescriptor) throws -> [UInt8] {
      var rest = self.input[...]
      var isFeeding = true
      defer { if isFeeding { try? input.close() } }
      var collected: [UInt8] = []
      while true {
        if isFeeding && rest.isEmpty {
          try? input.close()
          isFeeding = false
        }
        var polls = [pollfd(fd: output.rawValue, events: Int16(POLLIN), revents: 0)]
        if isFeeding { polls.append(pollfd(fd: input.rawValue, events: Int16(POLLOUT), revents: 0)) }
        let left = deadline - .now
        guard left > .zero else { throw Failure.timedOut }
        let count = unsafe poll(&polls, nfds_t(polls.count), Int32(clamping: left.components.seconds * 1000 + 100))
        if count < 0 && errno != EINTR { throw Errno(rawValue: errno) }
        guard count > 0 else { continue }
        if polls.count > 1, polls[1].revents != 0 { feed(&rest, to: input) }
        guard polls[0].revents != 0 else { continue }
        var chunk = [UInt8](repeating: 0, count: 4096)
        let got = unsafe read(output.rawValue, &chunk, chunk.count)
        if got < 0 && errno == EINTR { continue }
        guard got > 0 else { return collected }
        collected += chunk.prefix(got)
        guard collected.count <= maximumByteCount else { throw Failure.tooMuchOutput }
      }
    }

    /// A program that reads no further has read enough.
    private func feed(_ rest: inout ArraySlice<UInt8>, to input: FileDescriptor) {
      let sent = unsafe rest.withUnsafeBytes {
        unsafe send(input.rawValue, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL | MSG_DONTWAIT))
      }
      if sent > 0 {
        rest = rest.dropFirst(sent)
      } else if errno != EAGAIN && errno != EINTR {
        rest = []
      }
    }
  }
}
