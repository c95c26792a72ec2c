// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import DistriBuild
import DistriFS
import DistriStore
import FoundationEssentials
import SystemPackage
import ToolSupport
import ViewSupervisor

struct DistriFuse: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "distri-fuse",
    abstract: "Show the packages of a store as a file system.",
    discussion: """
      Each package has a directory of its full name, and bin, lib, share and so on hold links into the packages. What arrives in the
      store or leaves it is seen at once.

        distri-fuse mount /roimg /ro
        /ro/bin/nano --version
        distri-fuse unmount /ro

      Without mounting anything for others, in a world of the store's packages:

        distri-fuse run --store ./store -- nano --version
      """,
    subcommands: [
      MountCommand.self, UnmountCommand.self, StatusCommand.self, RescanCommand.self, RunCommand.self, ConflictsCommand.self,
    ])
}

extension MountError: ExitStatusProviding {
  /// The status with which the tool ends.
  public var exitStatus: ExitCode {
    switch self {
    case .notMounted: ToolSupport.ExitStatus.notFound
    case .busy: ToolSupport.ExitStatus.tryAgain
    case .refused: ToolSupport.ExitStatus.unavailable
    case .invalidMountPoint(_, let errno), .system(_, _, let errno): ToolSupport.ExitStatus.of(errno: errno)
    }
  }
}

extension TakeOverFailure: ExitStatusProviding {
  /// The status with which the tool ends.
  package var exitStatus: ExitCode { ToolSupport.ExitStatus.unavailable }
}

extension ServerFailure: SilentError {
  /// The server's.
  package var exitStatus: ExitCode { ExitCode(status) }
}

extension BuildError: ExitStatusProviding {
  /// The status with which the tool ends.
  public var exitStatus: ExitCode {
    switch self {
    case .sandbox(_, .noSuchFileOrDirectory): ExitCode(127)
    case .sandbox(_, let errno), .system(_, _, let errno): ToolSupport.ExitStatus.of(errno: errno)
    default: ToolSupport.ExitStatus.software
    }
  }
}

/// Which packages of a store are shown.
struct PackageSelection: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      "Show these packages and what they need at run time, nothing else: names separated by commas, such as nano,bash-amd64.",
      valueName: "names"))
  var packages: String?

  /// The packages and their run-time closure; nil for all.
  func resolve(in store: LocalStore) throws -> [PackageID]? {
    guard let packages else { return nil }
    var result: Set<PackageID> = []
    for name in packages.split(separator: ",") {
      let package = try store.resolve(String(name))
      result.insert(package)
      result.formUnion(try store.metadata(of: package).runtimeDependencies)
    }
    return result.sorted()
  }
}

/// Prints a value as JSON, the same text for the same value.
func printJSON(_ value: some Encodable) throws {
  let encoder = JSONEncoder()
  encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
  Terminal.standardOutput.write(String(decoding: try encoder.encode(value), as: UTF8.self) + "\n")
}
