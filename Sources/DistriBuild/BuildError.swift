// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore
import SystemPackage

/// What can go wrong between a definition and its packages. The payload is the subject; the sentence is made in ``description``.
public enum BuildError: Error, Sendable, Equatable {
  /// A sandbox that cannot be made. `operation` as in ``SandboxPlan/Operation/description``.
  case sandbox(operation: String, Errno)
  /// A definition that does not parse, or asks for what makes no sense. Line and column count from 1, the column in bytes.
  case invalidDefinition(FilePath, line: Int, column: Int, reason: String)
  /// The store lacks a package that a definition or package asks for.
  case missingDependency(String, of: String)
  /// Definitions that need each other: each circle by the names of its definitions, the first one again at its end.
  case dependencyCycles([[String]])
  /// A source that cannot be had, is not what its hash says, or cannot be unpacked. `source` is a URL or path.
  case source(String, reason: String)
  /// A build step that failed. `tail` holds the last lines of its output.
  case stepFailed(step: String, ExitStatus, log: FilePath, tail: [String])
  /// A build step that came to a limit of its sandbox. `log` is nil where the output is kept elsewhere.
  case limitExceeded(SandboxPlan.Limit, step: String, log: FilePath?)
  /// What the steps left cannot become the package. `pass` is the pass that found out.
  case invalidPackage(String, pass: String, reason: String)
  /// Another build works in a package's directory.
  case workspaceInUse(FilePath)
  /// A program of the host that is missing or failed, such as `patchelf` or `apt-get`.
  case tool(String, reason: String)
  /// A shared object that a program of the host needs, and that is nowhere where the loader looks.
  case missingObject(String, neededBy: String)
  /// A system call failed.
  case system(operation: String, path: FilePath, Errno)
}

extension BuildError: CustomStringConvertible {
  /// A sentence for people that says what to do where that is known.
  public var description: String {
    switch self {
    case .sandbox(let operation, let errno):
      "\(operation): \(errno)\(Self.advice(operation, errno))"
    case .invalidDefinition(let path, let line, let column, let reason):
      "\(path):\(line):\(column): \(reason)"
    case .missingDependency(let name, let dependant):
      "\(dependant) needs «\(name.printable)», which is not in the store; build, import or install it first"
    case .dependencyCycles(let cycles):
      (["definitions need each other; one of each circle has to come from the store:"]
        + cycles.map { "  \($0.joined(separator: " → "))" }).joined(separator: "\n")
    case .source(let source, let reason):
      "\(source.printable): \(reason)"
    case .stepFailed(let step, let status, let log, let tail):
      (["step «\(step)» failed with \(status); its whole output is in \(log)"] + tail.map { "  | \($0)" })
        .joined(separator: "\n")
    case .limitExceeded(let limit, let step, let log):
      "step «\(step)» came to its limit of \(limit) and was ended; raise the limit\(Self.advice(limit))"
        + (log.map { "; its output is in \($0)" } ?? "")
    case .invalidPackage(let package, let pass, let reason):
      "\(package): \(pass): \(reason)"
    case .workspaceInUse(let directory):
      "another build works in \(directory); wait for its end, or give this one another directory"
    case .tool(let program, let reason):
      "\(program): \(reason)"
    case .missingObject(let name, let user):
      "\(user) needs \(name), which was not found where the loader looks"
    case .system(let operation, let path, let errno):
      "\(operation) \(path): \(errno)"
    }
  }

  private static func advice(_ limit: SandboxPlan.Limit) -> String {
    if case .time = limit { return "" }
    return ", or let fewer jobs run at once"
  }

  private static func advice(_ operation: String, _ errno: Errno) -> String {
    if operation == SandboxProcess.limitOfProcesses {
      return "; root needs a control group with the controller «pids», and none can be made below /sys/fs/cgroup"
    }
    if operation.hasPrefix("proc on "), errno == .notPermitted {
      return "; the container that we are in covers parts of its /proc (docker: --security-opt systempaths=unconfined)"
    }
    guard operation == SandboxStage.createNamespaces.description else { return "" }
    return switch errno {
    case .notPermitted, .permissionDenied:
      "; run as root, or let ordinary users make user namespaces (sysctl kernel.unprivileged_userns_clone=1, "
        + "kernel.apparmor_restrict_unprivileged_userns=0)"
    case .noSpace: "; raise the limits user.max_*_namespaces (sysctl)"
    default: ""
    }
  }
}
