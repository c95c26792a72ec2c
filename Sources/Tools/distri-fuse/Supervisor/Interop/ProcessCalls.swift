// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import CSupervisor
import Glibc
import SystemPackage

/// Processes, signals and descriptors, for programs of one thread.
package enum ProcessCalls {
  /// How a process ended.
  package enum End: Equatable {
    case exited(Int32)
    case killed(Int32)

    init(status: Int32) {
      let signal = status & 0x7f
      self = signal == 0 ? .exited(status >> 8 & 0xff) : .killed(signal)
    }

    /// As a shell has it.
    package var exitStatus: Int32 {
      switch self {
      case .exited(let status): status
      case .killed(let signal): 128 + signal
      }
    }

    var description: String {
      switch self {
      case .exited(let status): "exit status \(status)"
      case .killed(let signal): "signal \(signal)"
      }
    }
  }

  /// fork(2): 0 in the child.
  ///
  /// - Throws: `EBUSY` where the process has several threads.
  package static func fork() throws(Errno) -> pid_t {
    let process = csupervisor_fork()
    guard process >= 0 else { throw Errno(rawValue: errno) }
    return process
  }

  /// How the child has ended; nil while it runs.
  static func end(of process: pid_t) -> End? {
    var status: Int32 = 0
    return waitpid(process, &status, WNOHANG) == process ? End(status: status) : nil
  }

  /// Waits for the end of a child.
  package static func waitForEnd(of process: pid_t) -> End {
    var status: Int32 = 0
    while waitpid(process, &status, 0) < 0 && errno == EINTR {}
    return End(status: status)
  }

  /// Stops a child, and returns true when it has stopped; false when it goes on after two seconds of trying, or has ended.
  static func stop(_ process: pid_t) -> Bool { csupervisor_stop(process) == 0 }

  /// Milliseconds of a clock that only goes forward.
  static var now: Int64 {
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    return Int64(time.tv_sec) * 1000 + Int64(time.tv_nsec) / 1_000_000
  }

  /// Raises the limit of open files as far as it goes, and gives it.
  @discardableResult
  static func raiseDescriptorLimit() -> Int {
    var limit = rlimit()
    guard getrlimit(__rlimit_resource_t(7), &limit) == 0 else { return 1024 }
    limit.rlim_cur = limit.rlim_max
    _ = setrlimit(__rlimit_resource_t(7), &limit)
    _ = getrlimit(__rlimit_resource_t(7), &limit)
    return Int(clamping: limit.rlim_cur)
  }

  /// Puts `/dev/null` in the place of the descriptors.
  package static func detach(_ descriptors: [FileDescriptor]) {
    guard let null = try? FileDescriptor.open("/dev/null", .readWrite) else { return }
    for descriptor in descriptors { _ = try? null.duplicate(as: descriptor) }
    if null.rawValue > 2 { try? null.close() }
  }

  /// A small text file, such as those of /proc; empty where it cannot be read.
  static func text(of path: FilePath) -> String {
    guard let file = try? FileDescriptor.open(path, .readOnly, options: .closeOnExec) else { return "" }
    defer { try? file.close() }
    var bytes = [UInt8](repeating: 0, count: 4096)
    let count = (try? bytes.withUnsafeMutableBytes { try file.read(into: $0) }) ?? 0
    return String(decoding: bytes[..<count], as: UTF8.self)
  }

  /// Writes a line to the system's log.
  static func log(_ line: String) { csupervisor_log(line) }

  /// Keeps this program in memory.
  static func stayResident() { csupervisor_stay_resident() }

  /// Closes all descriptors above 2 but these.
  package static func closeOthers(than kept: [FileDescriptor]) {
    csupervisor_close_others(kept.map(\.rawValue), kept.count)
  }

  /// Runs the body on a new thread, while the first thread of a forked process does nothing for good.
  ///
  /// Swift's run-time and its `Mutex` remember the number of each thread for their locks, and that of a forked process' first thread is its
  /// parent's: the next who waits for such a lock would wait for ever.
  static func leaveFirstThread(_ body: @escaping @Sendable () -> Never) throws(Errno) -> Never {
    try detachThread { body() }
    while true { pause() }
  }

  /// Runs the body on a thread of its own.
  static func detachThread(_ body: @escaping @Sendable () -> Void) throws(Errno) {
    final class Box: Sendable {
      let body: @Sendable () -> Void
      init(_ body: @escaping @Sendable () -> Void) { self.body = body }
    }
    var thread = pthread_t()
    let box = Unmanaged.passRetained(Box(body))
    let status = pthread_create(
      &thread, nil,
      { @Sendable argument in
        if let argument { Unmanaged<Box>.fromOpaque(argument).takeRetainedValue().body() }
        return nil
      }, box.toOpaque())
    guard status == 0 else {
      box.release()
      throw Errno(rawValue: status)
    }
    pthread_detach(thread)
  }
}

/// The signals of a supervisor or server, read from a descriptor.
struct SignalQueue {
  let descriptor: FileDescriptor

  /// Blocks the signals for this thread and those it starts.
  init() throws(Errno) {
    let number = csupervisor_signals()
    guard number >= 0 else { throw Errno(rawValue: errno) }
    descriptor = FileDescriptor(rawValue: number)
  }

  /// The next signal; nil when there is none.
  func next() -> Int32? {
    let number = csupervisor_next_signal(descriptor.rawValue)
    return number == 0 ? nil : number
  }

  /// What crashes ends the process at once: no handler of the runtime that could hang.
  static func letCrashesEndTheProcess() { csupervisor_reset_signals(0) }
}
