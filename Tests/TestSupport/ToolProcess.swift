// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import Foundation
import SystemPackage

/// Runs a built tool, or any program, and collects what it says.
public struct ToolProcess: Sendable {
  /// What a finished program left.
  public struct Outcome: Sendable {
    /// The exit status, or 128 and the signal's number.
    public let status: Int32
    /// All of its standard output.
    public let output: String
    /// All of its standard error.
    public let errors: String
  }

  /// The folder of the built tools: `DISTRI_BIN`, or where this test lies.
  public static var binaries: FilePath {
    if let folder = ProcessInfo.processInfo.environment["DISTRI_BIN"] { return FilePath(folder) }
    let test = (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")) ?? CommandLine.arguments[0]
    return FilePath(test).removingLastComponent()
  }

  /// Runs a program to its end. A name without `/` is one of our tools if there is such a file, else looked up in `PATH`.
  @discardableResult
  public static func run(
    _ program: String, _ arguments: [String] = [], input: String = "", environment: [String: String] = [:],
    in folder: FilePath? = nil
  ) async throws -> Outcome {
    try await withCheckedThrowingContinuation { continuation in
      Thread.detachNewThread {
        continuation.resume(
          with: Result { try runToEnd(program, arguments, input: input, environment: environment, in: folder) })
      }
    }
  }

  private static func runToEnd(
    _ program: String, _ arguments: [String], input: String, environment: [String: String], in folder: FilePath?
  ) throws -> Outcome {
    let process = Process()
    let own = binaries.appending(program)
    if program.contains("/") {
      process.executableURL = URL(fileURLWithPath: program)
      process.arguments = arguments
    } else if FileManager.default.isExecutableFile(atPath: own.string) {
      process.executableURL = URL(fileURLWithPath: own.string)
      process.arguments = arguments
    } else {
      process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
      process.arguments = [program] + arguments
    }
    process.environment = ProcessInfo.processInfo.environment.merging(environment) { $1 }
    if let folder { process.currentDirectoryURL = URL(fileURLWithPath: folder.string) }
    // Files instead of pipes: nothing can fill up, and a daemon that keeps them open does not keep us waiting.
    let directory = try TemporaryDirectory()
    func file(_ name: String, _ contents: String) throws -> FileHandle {
      let path = directory.path.appending(name).string
      try contents.write(toFile: path, atomically: false, encoding: .utf8)
      guard let handle = FileHandle(forUpdatingAtPath: path) else { throw Errno.noSuchFileOrDirectory }
      return handle
    }
    process.standardInput = try file("in", input)
    let output = try file("out", "")
    let errors = try file("err", "")
    process.standardOutput = output
    process.standardError = errors
    try process.run()
    process.waitUntilExit()
    func text(_ handle: FileHandle) throws -> String {
      try handle.seek(toOffset: 0)
      return String(decoding: try handle.readToEnd() ?? Data(), as: UTF8.self)
    }
    let status = process.terminationStatus
    return Outcome(
      status: process.terminationReason == .uncaughtSignal ? 128 + status : status, output: try text(output),
      errors: try text(errors))
  }
}
