// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import CInit
import Glibc

/// A started program.
struct Process {
  /// Its number.
  let identifier: pid_t

  /// What a program runs in.
  enum Session {
    /// That of process 1.
    case inherited
    /// One of its own, without a terminal: signals of the console do not reach it.
    case own
    /// One of its own on /dev/console.
    case console
  }

  /// Starts a program. `arguments` include the zeroth. `ready` is inherited as descriptor 3.
  init(
    path: String, arguments: [String], environment: [String] = Process.environment, session: Session = .inherited,
    ready: Int32 = -1
  ) throws(System.CallFailure) {
    let flags =
      switch session {
      case .inherited: 0
      case .own: CINIT_NEW_SESSION
      case .console: CINIT_ON_CONSOLE
      }
    let process = Self.withCStrings(arguments) { arguments in
      Self.withCStrings(environment) { cinit_spawn(path, arguments, $0, UInt32(flags), ready) }
    }
    guard process > 0 else { throw System.CallFailure("start \(path)") }
    identifier = process
  }

  /// Waits for the end, and meanwhile collects orphans, as process 1 has to.
  ///
  /// - Returns: the exit status, 128 + signal for a program that was killed.
  func wait() -> Int32 {
    var status: Int32 = 0
    while true {
      let ended = waitpid(-1, &status, 0)
      if ended == identifier { return cinit_exit_status(status) }
      if ended < 0 && errno != EINTR { return 255 }
    }
  }

  /// Replaces this process by a program; returns only on failure.
  static func become(path: String, arguments: [String]) -> System.CallFailure {
    withCStrings(arguments) { arguments in
      withCStrings(environment) { _ = execve(path, arguments, $0) }
    }
    return System.CallFailure("start \(path)")
  }

  /// The same for every program, whatever the boot loader left behind.
  static let environment = ["PATH=/bin:/sbin:/usr/bin:/usr/sbin", "HOME=/root", "TERM=linux", "LANG=C.UTF-8"]

  private static func withCStrings<R>(_ strings: [String], _ body: ([UnsafeMutablePointer<CChar>?]) -> R) -> R {
    let pointers = strings.map { strdup($0) }
    defer { for pointer in pointers { free(pointer) } }
    return body(pointers + [nil])
  }
}
