// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import FoundationEssentials
import Glibc
import SystemPackage
import ToolSupport

/// A program that goes on in the background: started anew, never forked, since a forked Swift process has lost its threads.
enum Daemon {
  /// Runs this program again with other arguments in a session of its own, and returns when it says that it is ready.
  ///
  /// - Throws: `ExitCode` with the status of the program when it ends instead; it has said why.
  static func start(_ arguments: [String], replacing word: String, by words: String) throws {
    guard let position = arguments.dropFirst().firstIndex(of: word) else { throw Errno.invalidArgument }
    var command = arguments
    command.replaceSubrange(position...position, with: words.split(separator: " ").map(String.init) + ["--readiness-fd", "3"])
    let (reader, writer) = try FileDescriptor.pipe()
    defer { try? reader.close() }
    let process = try spawn(command, readiness: writer)
    try writer.close()
    var byte = [UInt8](repeating: 0, count: 1)
    if try byte.withUnsafeMutableBytes({ try reader.read(into: $0) }) > 0 { return }
    var status: Int32 = 0
    while waitpid(process, &status, 0) < 0 && errno == EINTR {}
    let signal = status & 0x7f
    throw ExitCode(signal == 0 ? status >> 8 & 0xff : 128 + signal)
  }

  private static func spawn(_ command: [String], readiness: FileDescriptor) throws -> pid_t {
    var actions = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&actions)
    defer { posix_spawn_file_actions_destroy(&actions) }
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
    posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0)
    // A descriptor that is 3 already would keep its close-on-exec flag.
    let source = readiness.rawValue == 3 ? fcntl(3, F_DUPFD, 10) : readiness.rawValue
    posix_spawn_file_actions_adddup2(&actions, source, 3)
    // Locks and pipes of the caller must not live on in the daemon.
    for descriptor in inherited() where descriptor > 3 && descriptor != source {
      posix_spawn_file_actions_addclose(&actions, descriptor)
    }
    let words = command.map { strdup($0) } + [nil]
    defer { words.forEach { free($0) } }
    var process: pid_t = 0
    let error = posix_spawn(&process, "/proc/self/exe", &actions, nil, words, environ)
    guard error == 0 else { throw Errno(rawValue: error) }
    return process
  }

  /// The open descriptors that a program started now would get.
  private static func inherited() -> [Int32] {
    let names = (try? FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd")) ?? []
    return names.compactMap { Int32($0) }.filter {
      let flags = fcntl($0, F_GETFD)
      return flags >= 0 && flags & FD_CLOEXEC == 0
    }
  }

  /// Leaves the caller's terminal, so that its Ctrl-C and its end mean nothing to us.
  static func leaveSession() { setsid() }

  /// Says that all is well, and lets go of the caller's terminal.
  static func reportReadiness(to descriptor: FileDescriptor?) {
    guard let descriptor else { return }
    if let null = try? FileDescriptor.open("/dev/null", .readWrite) {
      _ = try? null.duplicate(as: .standardError)
      try? null.close()
    }
    _ = try? descriptor.writeAll("ready\n".utf8)
    try? descriptor.close()
  }
}
