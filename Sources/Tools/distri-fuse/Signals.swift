// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import Dispatch
import FoundationEssentials
import Glibc

/// What signals do while something is mounted.
enum Signals {
  /// Runs the body, in which a child process runs. The terminal's SIGINT and SIGQUIT reach that by themselves; SIGTERM and SIGHUP are handed on.
  static func passedToChildren<R: Sendable>(_ body: () async throws -> R) async throws -> R {
    let sources = watch([SIGTERM, SIGHUP, SIGINT, SIGQUIT]) { number in
      if number == SIGTERM || number == SIGHUP { for child in descendants(of: getpid()) { kill(child, number) } }
    }
    defer { sources.forEach { $0.cancel() } }
    return try await body()
  }

  private static func watch(_ numbers: [Int32], _ handler: @escaping @Sendable (Int32) -> Void) -> [any DispatchSourceSignal] {
    numbers.map { number in
      signal(number, SIG_IGN)
      let source = DispatchSource.makeSignalSource(signal: number, queue: .global())
      source.setEventHandler { handler(number) }
      source.resume()
      return source
    }
  }

  private static func descendants(of process: pid_t) -> [pid_t] {
    let threads = (try? FileManager.default.contentsOfDirectory(atPath: "/proc/\(process)/task")) ?? []
    let children = threads.flatMap { thread in
      ((try? String(contentsOfFile: "/proc/\(process)/task/\(thread)/children", encoding: .utf8)) ?? "").split(separator: " ")
        .compactMap { pid_t($0) }
    }
    return children + children.flatMap { descendants(of: $0) }
  }
}
