// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Glibc
import SystemPackage
import ToolSupport
import ViewSupervisor

/// Starts a daemon: a fork of this process, as long as it has one thread.
enum Launcher {
  /// Runs the body in a process and session of its own, and returns when that has called the function that it is given. What it says until then
  /// on standard error is the caller's.
  ///
  /// - Parameter kept: descriptors of the caller that the daemon needs; locks and pipes of the caller do not live on in it.
  /// - Throws: `ExitCode` with the status of the process when it ends instead; it has said why.
  static func inBackground(keeping kept: [FileDescriptor], _ body: (_ ready: () throws -> Void) throws -> Void)
    throws
  {
    let (reader, writer) = try FileDescriptor.pipe()
    let process = try ProcessCalls.fork()
    if process == 0 {
      setsid()
      ProcessCalls.detach([.standardInput, .standardOutput])
      ProcessCalls.closeOthers(than: kept + [writer])
      do {
        // A caller that is gone does not want it any more.
        func ready() throws {
          try writer.writeAll("ready\n".utf8)
          try writer.close()
        }
        try body(ready)
        exit(0)
      } catch {
        ToolMain.end(DistriFuse.self, with: error)
      }
    }
    try writer.close()
    defer { try? reader.close() }
    var byte = [UInt8](repeating: 0, count: 1)
    if try byte.withUnsafeMutableBytes({ try reader.read(into: $0) }) > 0 { return }
    throw ExitCode(ProcessCalls.waitForEnd(of: process).exitStatus)
  }
}
