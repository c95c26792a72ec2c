// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import DistriBuild
import DistriStore
import FoundationEssentials
import SystemPackage
import ToolSupport

/// `distri-build action run`: what a worker of a cluster runs.
struct ActionRunCommand: AsyncParsableCommand, PreparedCommand {
  static let configuration = CommandConfiguration(
    commandName: "run",
    abstract: "Build what the working directory orders, of its files alone.",
    discussion: """
      The working directory is the input root of an action. Packages, log and bills of materials are
      put below out/; nothing is written elsewhere. The machine has to let ordinary users make
      namespaces, and to have /dev/fuse; it needs no network. The status is 1 when the build failed,
      65 when the input root is not what it should be, and 69 when the machine cannot run builds.

        cd /tmp/action
        distri-build action run
      """)

  @Option(help: "How many jobs a build step may start at once. Without it, as many as the machine has processors.")
  var jobs: Int?

  func validate() throws {
    if let jobs, !(1...4096).contains(jobs) { throw ValidationError("--jobs is a number from 1 on.") }
  }

  /// An ordinary user may mount in namespaces of its own only, which a process with several threads cannot enter.
  func prepare() throws {
    do { try OwnNamespaces.enter() } catch { throw ActionFailure(error) }
    // The mode does not say all: there may be a mount on which devices cannot be opened.
    do { try FileDescriptor.open(Self.device, .readWrite, options: .closeOnExec).close() } catch {
      throw ActionFailure(MissingDevice(error: error))
    }
  }

  static let device: FilePath = "/dev/fuse"

  func run() async throws {
    let root = FilePath(FileManager.default.currentDirectoryPath)
    let task = Task { [jobs] in
      let action = try ActionRun(root: root)
      let work = root.appending("work")
      let view = MountedDependencies(store: action.store.dependencies, folder: work)
      return try await action.build(dependencyRoot: view, work: work) { builder in
        builder.jobs = jobs ?? ProcessInfo.processInfo.activeProcessorCount
        builder.report = { event in
          if case .began = event { return }
          Terminal.standardError.write("\(event)\n")
        }
      }
    }
    let packages: [PackageID]
    do {
      packages = try await Interruption.cancelling(task) { Terminal.standardError.write("distri-build: interrupted\n") }
    } catch let error as ExitCode {
      throw error
    } catch {
      throw ActionFailure(error)
    }
    for package in packages { Terminal.standardOutput.write("\(package)\n") }
  }
}

/// What went wrong, with the status that says whose turn it is.
private struct ActionFailure: ExitStatusProviding, CustomStringConvertible {
  let error: any Error

  init(_ error: any Error) { self.error = error }

  var description: String { "\(error)" }
  var exitStatus: ExitCode { ExitCode(ActionEnd.statuses[ActionEnd(of: error)] ?? 1) }
}

/// There is nothing to mount with.
private struct MissingDevice: Error, CustomStringConvertible {
  let error: any Error

  var description: String {
    "\(ActionRunCommand.device) cannot be opened: \(error); let the worker bind it into its actions (buildbox: --bind-mount=/dev/fuse:/dev/fuse)"
  }
}
