// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import FoundationEssentials
import Glibc
import SystemPackage

/// A program of the system that does a part of our work.
struct ChildProcess {
  /// What a program may take that reads what anybody may have made.
  struct Limits: CustomStringConvertible {
    var processorSeconds = 60
    var memory = 2 << 30
    /// Of each file that it writes, in bytes.
    var fileByteCount = 1 << 40

    var description: String { "\(processorSeconds) s of processor time, or wrote more than \(fileByteCount >> 30) GiB" }

    /// The program as prlimit(1) starts it.
    fileprivate func command(_ program: FilePath, _ arguments: [String]) throws -> (FilePath, [String]) {
      let limits = ["--cpu=\(processorSeconds):\(processorSeconds + 1)", "--as=\(memory)", "--fsize=\(fileByteCount)", "--core=0"]
      return (try ChildProcess.locate("prlimit", package: "util-linux"), limits + [program.string] + arguments)
    }
  }

  let identifier: pid_t

  /// Where a program is: in `PATH`, or where administration programs are for people whose `PATH` lacks that.
  ///
  /// - Throws: ``MkimageError/missingTool(_:package:)``.
  static func locate(_ tool: String, package: String) throws(MkimageError) -> FilePath {
    let path = ProcessInfo.processInfo.environment["PATH"] ?? ""
    for directory in path.split(separator: ":").map(String.init) + ["/usr/sbin", "/sbin", "/usr/bin", "/bin"] {
      let candidate = FilePath(directory).appending(tool)
      if access(candidate.string, X_OK) == 0 { return candidate }
    }
    throw .missingTool(tool, package: package)
  }

  /// Starts a program. Descriptors that are not named stay as they are here; -1 is `/dev/null`.
  ///
  /// - Parameter environment: replaces ours where given.
  init(_ program: FilePath, _ arguments: [String], environment: [String: String]? = nil, descriptors: [Int32: Int32] = [:]) throws {
    var actions = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&actions)
    defer { posix_spawn_file_actions_destroy(&actions) }
    for (target, source) in descriptors.sorted(by: { $0.key < $1.key }) {
      if source >= 0 {
        posix_spawn_file_actions_adddup2(&actions, source, target)
      } else {
        posix_spawn_file_actions_addopen(&actions, target, "/dev/null", O_RDWR, 0)
      }
    }
    // Threads of the concurrency runtime block all signals, and we ignore SIGPIPE: neither is for the program to inherit.
    var attributes = posix_spawnattr_t()
    posix_spawnattr_init(&attributes)
    defer { posix_spawnattr_destroy(&attributes) }
    var signals = sigset_t()
    sigemptyset(&signals)
    posix_spawnattr_setsigmask(&attributes, &signals)
    sigaddset(&signals, SIGPIPE)
    posix_spawnattr_setsigdefault(&attributes, &signals)
    posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF))
    let values = environment ?? ProcessInfo.processInfo.environment
    var process: pid_t = 0
    let code = Self.withCStrings([program.string] + arguments) { arguments in
      Self.withCStrings(values.map { "\($0)=\($1)" }.sorted()) {
        posix_spawn(&process, program.string, &actions, &attributes, arguments, $0)
      }
    }
    guard code == 0 else {
      throw MkimageError.toolFailed(program.string, status: 127, words: "\(Errno(rawValue: code))")
    }
    identifier = process
  }

  /// Waits for the end.
  ///
  /// - Returns: the exit status, 128 + signal for a program that was killed.
  func wait() -> Int32 {
    var status: Int32 = 0
    while waitpid(identifier, &status, 0) < 0 {
      guard errno == EINTR else { return 255 }
    }
    return status & 0x7f == 0 ? (status >> 8) & 0xff : 128 + (status & 0x7f)
  }

  /// Runs a program to its end; what it says is kept for the error.
  ///
  /// - Parameters:
  ///   - input: a file for standard input, otherwise nothing.
  ///   - limits: on what it may take; nil for none.
  ///   - work: a directory for what it says.
  /// - Returns: what it wrote to standard output.
  /// - Throws: ``MkimageError/toolFailed(_:status:words:)`` when it fails, or when it complains and `mayComplain` is false.
  @discardableResult
  static func run(
    _ program: FilePath, _ arguments: [String], environment: [String: String] = [:], input: FilePath? = nil, limits: Limits? = nil,
    work: FilePath, mayComplain: Bool = true
  ) throws -> [UInt8] {
    let words = try temporaryFile(in: work)
    defer { try? words.close() }
    let output = try temporaryFile(in: work)
    defer { try? output.close() }
    var values = environment
    values["PATH"] = ProcessInfo.processInfo.environment["PATH"] ?? "/usr/sbin:/usr/bin:/sbin:/bin"
    values["LC_ALL"] = "C"
    values["TZ"] = "UTC"
    let source = try input.map { try FileDescriptor.open($0, .readOnly, options: .closeOnExec) }
    defer { try? source?.close() }
    let command = try limits?.command(program, arguments) ?? (program, arguments)
    let child = try ChildProcess(
      command.0, command.1, environment: values, descriptors: [0: source?.rawValue ?? -1, 1: output.rawValue, 2: words.rawValue])
    let status = child.wait()
    let said = String(decoding: try contents(of: words), as: UTF8.self)
    // Its first line may be a banner with its version.
    let complaints = said.split(separator: "\n").filter { !$0.hasPrefix((program.lastComponent?.string ?? "") + " 1.") }
    if let limits, status == 128 + SIGXCPU || status == 128 + SIGXFSZ {
      throw MkimageError.toolFailed(program.string, status: status, words: "it took more than \(limits), and has been stopped")
    }
    guard status == 0, mayComplain || complaints.isEmpty else {
      throw MkimageError.toolFailed(program.string, status: status, words: complaints.prefix(8).joined(separator: "; "))
    }
    return try contents(of: output)
  }

  private static func temporaryFile(in directory: FilePath) throws -> FileDescriptor {
    var template = Array(directory.appending("output.XXXXXX").string.utf8CString)
    let file = mkstemp(&template)
    guard file >= 0 else { throw Errno(rawValue: errno) }
    _ = fcntl(file, F_SETFD, FD_CLOEXEC)
    unlink(template)
    return FileDescriptor(rawValue: file)
  }

  private static func contents(of file: FileDescriptor) throws -> [UInt8] {
    let count = Int(try file.seek(offset: 0, from: .end))
    var bytes = [UInt8](repeating: 0, count: count)
    let got = try bytes.withUnsafeMutableBytes { try file.read(fromAbsoluteOffset: 0, into: $0) }
    return Array(bytes.prefix(got))
  }

  private static func withCStrings<R>(_ strings: [String], _ body: ([UnsafeMutablePointer<CChar>?]) -> R) -> R {
    let pointers = strings.map { strdup($0) }
    defer { for pointer in pointers { free(pointer) } }
    return body(pointers + [nil])
  }
}
