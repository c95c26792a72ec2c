// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import Foundation
import SystemPackage
import TestSupport

/// The comparers and generators of `Tests/Compare`, which ask as programs of their own.
package enum Script {
  private static let folder = FilePath(#filePath).removingLastComponent().removingLastComponent().appending("Compare")

  /// Runs one of them, and gives what it said.
  package static func run(_ name: String, _ arguments: [String]) async throws -> ToolProcess.Outcome {
    try await ToolProcess.run("python3", [folder.appending(name).string] + arguments)
  }
}

/// Runs a program that must succeed, and gives its output.
@discardableResult
package func succeed(_ program: String, _ arguments: [String], in folder: FilePath? = nil) async throws -> String {
  let outcome = try await ToolProcess.run(program, arguments, in: folder)
  if outcome.status != 0 {
    throw TestFailure(
      "\(program) \(arguments.joined(separator: " ")) ended with \(outcome.status): \(outcome.errors)\(outcome.output)")
  }
  return outcome.output
}

/// The kernel's own mount of an image; unmounted when the body ends, also by an error.
package func withKernelMount<R>(of image: FilePath, at folder: FilePath, _ body: (FilePath) async throws -> R) async throws -> R {
  try FileManager.default.createDirectory(atPath: folder.string, withIntermediateDirectories: true)
  try await succeed("mount", ["-t", "squashfs", "-o", "loop,ro", image.string, folder.string])
  do {
    let result = try await body(folder)
    try await succeed("umount", [folder.string])
    return result
  } catch {
    _ = try? await ToolProcess.run("umount", ["-l", folder.string])
    throw error
  }
}

/// `distri-fuse mount --foreground` as a process of its own, which a crash ends without ending the tests.
package final class FuseProcess: Sendable {
  private let process: Process
  package let mountPoint: FilePath

  /// Returns when the view answers, by showing a name.
  package init(_ store: TestStore, _ options: [String] = [], waitingFor name: String = "bin") async throws {
    process = Process()
    mountPoint = store.mountPoint
    process.executableURL = URL(fileURLWithPath: ToolProcess.binaries.appending("distri-fuse").string)
    process.arguments = ["mount", "--foreground"] + options + [store.path.string, store.mountPoint.string]
    process.environment = ProcessInfo.processInfo.environment.merging(["SWIFT_BACKTRACE": "enable=no"]) { $1 }
    try process.run()
    let point = store.mountPoint.appending(name).string
    let process = process
    let answers = try await eventually { FileManager.default.fileExists(atPath: point) || !process.isRunning }
    guard answers, process.isRunning else { throw TestFailure("distri-fuse mount \(options) does not answer: see its words above") }
  }

  deinit { if process.isRunning { kill(process.processIdentifier, SIGTERM) } }

  /// Its number.
  package var identifier: Int32 { process.processIdentifier }

  /// Whether it lives still.
  package var isRunning: Bool { process.isRunning }

  /// Ends it as a user does, and gives its exit status.
  package func end() async throws -> Int32 {
    if process.isRunning { kill(process.processIdentifier, SIGTERM) }
    let process = process
    try await onThread { process.waitUntilExit() }
    let status = process.terminationReason == .uncaughtSignal ? 128 + process.terminationStatus : process.terminationStatus
    if status != 0 { _ = try? await ToolProcess.run("umount", ["-l", mountPoint.string]) }
    return status
  }
}
