// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriBuild
import Foundation
import SystemPackage
import TestSupport

/// The host's programs, read-only, and nothing else of it.
func hostPrograms(_ more: [SandboxPlan.Operation] = []) -> SandboxPlan {
  SandboxPlan(
    operations: [
      .bind(from: "/usr", to: "/usr", readOnly: true), .symbolicLink(at: "/bin", to: "usr/bin"),
      .symbolicLink(at: "/lib", to: "usr/lib"), .symbolicLink(at: "/lib64", to: "usr/lib64"), .proc(at: "/proc"),
      .devices(at: "/dev"), .tmpfs(at: "/tmp"),
    ] + more, environment: ["PATH": "/usr/bin"])
}

/// Runs a shell script and returns what it wrote and how it ended.
func shell(_ script: String, in plan: SandboxPlan = hostPrograms()) async throws -> (
  String, DistriBuild.ExitStatus
) {
  let directory = try TemporaryDirectory()
  let path = directory.path.appending("output")
  let file = try FileDescriptor.open(path, .readWrite, options: .create, permissions: .ownerReadWrite)
  defer { try? file.close() }
  let status = try await NamespaceSandbox().run(["sh", "-c", script], in: plan, io: .log(file))
  return (try String(contentsOfFile: path.string, encoding: .utf8), status)
}
