// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import DistriBuild
import DistriFS
import DistriRepo
import RepositorySupport
import ToolSupport

struct BuildTool: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "distri-build",
    abstract: "Make packages: from definitions and upstream's source, or of Debian's packages.",
    discussion: """
      A definition is a directory with a build.textproto. Write one, build it, look at the result:

        distri-build scaffold --definitions pkgs --store /roimg https://ftp.gnu.org/gnu/hello/hello-2.10.tar.gz
        distri-build build --definitions pkgs --store /roimg hello
        distri-fuse run --store /roimg -- hello
      """,
    subcommands: [
      ImportCommand.self, ScaffoldCommand.self, BuildCommand.self, BatchCommand.self, BumpCommand.self, LintCommand.self,
      PatchCommand.self, EnvCommand.self, LogCommand.self, WhyCommand.self, SbomCommand.self, ActionCommand.self,
    ])
}

extension BuildError: ExitStatusProviding {
  /// The status with which the tool ends.
  public var exitStatus: ExitCode {
    switch self {
    case .missingDependency, .missingObject: ToolSupport.ExitStatus.notFound
    case .sandbox(_, let errno), .system(_, _, let errno): ToolSupport.ExitStatus.of(errno: errno)
    case .tool: ToolSupport.ExitStatus.unavailable
    case .stepFailed, .limitExceeded: ExitCode(1)
    default: ToolSupport.ExitStatus.badData
    }
  }
}

extension MountError: ExitStatusProviding {
  /// The status with which the tool ends.
  public var exitStatus: ExitCode { ToolSupport.ExitStatus.unavailable }
}
