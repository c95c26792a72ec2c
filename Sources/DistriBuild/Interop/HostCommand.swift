// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import CLinux
import Glibc
import SystemPackage

/// A program of the host that does a part of the work, such as `patchelf`. Its words are kept, its terminal is not ours.
struct HostCommand: Sendable {
  /// The program, searched in `PATH` unless it contains a slash.
  var program: String
  var arguments: [String]
  /// Where it runs; nil for the caller's working directory.
  var directory: FilePath?
  /// Debian's package that has the program, for the error that says it is missing.
  var package: String

  /// Statuses that are no failure.
  var acceptedStatuses: Set<Int32> = [0]

  /// How much of what the program says is read, in bytes.
  static let maximumOutputByteCount = 256 << 20

  /// Runs the program to its end on a thread of its own.
  ///
  /// - Returns: what it wrote to its standard output.
  /// - Throws: ``BuildError/tool(_:reason:)`` when it is missing or ends with a status other than zero.
  func run() async throws -> [UInt8] {
    try await onThread { try runBlocking() }
  }

  /// As ``run()``, on the caller's thread.
  func runBlocking() throws(BuildError) -> [UInt8] {
    let output = try temporaryFile(), errors = try temporaryFile()
    defer {
      try? output.close()
      try? errors.close()
    }
    let child = try spawn(output: output, errors: errors)
    var status: Int32 = 0
    while unsafe waitpid(child, &status, 0) < 0 {
      if errno != EINTR { throw .tool(program, reason: "waiting for it failed: \(Errno(rawValue: errno))") }
    }
    if status >> 8 == 127, directory != nil { throw missing }
    guard status & 0x7f == 0, acceptedStatuses.contains((status >> 8) & 0xff) else {
      let words = (try? errors.bytes(at: 0, atMost: 16384)) ?? []
      let ending = status & 0x7f == 0 ? "ended with status \((status >> 8) & 0xff)" : "was killed by signal \(status & 0x7f)"
      let tail = String(decoding: words, as: UTF8.self).split(separator: "\n").suffix(12).joined(separator: "\n")
      throw .tool(program, reason: tail.isEmpty ? ending : "\(ending):\n\(tail)")
    }
    do throws(Errno) {
      return try output.bytes(at: 0, atMost: min(Self.maximumOutputByteCount, Int((try? output.seek(offset: 0, from: .end)) ?? 0)))
    } catch {
      throw .tool(program, reason: "its output cannot be read: \(error)")
    }
  }

  private var missing: BuildError { .tool(program, reason: "it is not installed; Debian has it in the package \(package)") }

  private func temporaryFile() throws(BuildError) -> FileDescriptor {
    let file = unsafe clinux_memfd("output")
    guard file >= 0 else { throw .tool(program, reason: "no memory for its output: \(Errno(rawValue: errno))") }
    return FileDescriptor(rawValue: file)
  }

  private func spawn(output: FileDescriptor, errors: FileDescriptor) throws(BuildError) -> pid_t {
    var actions = unsafe posix_spawn_file_actions_t()
    unsafe posix_spawn_file_actions_init(&actions)
    defer { unsafe posix_spawn_file_actions_destroy(&actions) }
    unsafe posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
    unsafe posix_spawn_file_actions_adddup2(&actions, output.rawValue, 1)
    unsafe posix_spawn_file_actions_adddup2(&actions, errors.rawValue, 2)
    // Messages and lists must not depend on the caller's language.
    let words = (directory.map { ["env", "-C", $0.string] } ?? []) + [program] + arguments
    var arguments = unsafe words.map { unsafe strdup($0) }
    unsafe arguments.append(nil)
    defer { unsafe arguments.forEach { unsafe free($0) } }
    var environment: [UnsafeMutablePointer<CChar>?] = unsafe [strdup("LC_ALL=C.UTF-8"), strdup("DEBIAN_FRONTEND=noninteractive")]
    defer { unsafe environment.prefix(2).forEach { unsafe free($0) } }
    var index = 0
    while let entry = unsafe environ[index] {
      if unsafe strncmp(entry, "LC_", 3) != 0, unsafe strncmp(entry, "LANG", 4) != 0 { unsafe environment.append(entry) }
      index += 1
    }
    unsafe environment.append(nil)
    var child: pid_t = 0
    let result = unsafe posix_spawnp(&child, words[0], &actions, nil, arguments, environment)
    switch result {
    case 0: return child
    case ENOENT: throw missing
    default: throw .tool(program, reason: "it cannot be started: \(Errno(rawValue: result))")
    }
  }
}
