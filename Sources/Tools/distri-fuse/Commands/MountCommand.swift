// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import DistriFS
import DistriStore
import SystemPackage
import ToolSupport

struct MountCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "mount",
    abstract: "Mount the view of a store.",
    discussion: """
      Returns when the view answers, and goes on in the background until it is unmounted or gets SIGTERM. A dead view of ours on the same
      directory is cleared away first.

        distri-fuse mount /roimg /ro
        distri-fuse mount --section debug /roimg /ro-dbg
      """)

  @Argument(help: ArgumentHelp("The store: a directory of images and metadata.", valueName: "store"))
  var store: String

  @Argument(help: ArgumentHelp("An existing directory.", valueName: "mount point"))
  var mountPoint: String

  @OptionGroup var selection: PackageSelection

  @Option(help: ArgumentHelp("The part of the store: pkg, debug or src.", valueName: "section"))
  var section: LocalStore.Section = .packages

  @Flag(help: "Stay in the foreground.")
  var foreground = false

  @Flag(inversion: .prefixedNo, help: "Let other users see it; where an ordinary user mounts, /etc/fuse.conf has to allow that.")
  var allowOther = true

  @Flag(help: "Let setuid programs and device nodes of packages have effect, as on a system's own /ro. Needs root.")
  var privileged = false

  @Option(help: ArgumentHelp("How far the kernel reads ahead.", valueName: "KB"))
  var readAhead = 1024

  @Option(
    name: [.long, .customLong("ready-fd")],
    help: ArgumentHelp(
      "With --foreground: write a line to this descriptor when the view answers, and close it.", valueName: "number"))
  var readinessFd: Int32?

  func validate() throws {
    guard (0...(1 << 20)).contains(readAhead) else { throw ValidationError("--read-ahead is from 0 to 1048576") }
    guard readinessFd.map({ $0 > 2 }) ?? true else { throw ValidationError("--readiness-fd is a descriptor above 2") }
  }

  func run() async throws {
    guard foreground else { return try Daemon.start(CommandLine.arguments, replacing: "mount", by: "mount --foreground") }
    if readinessFd != nil { Daemon.leaveSession() }
    let store = try LocalStore(path: FilePath(self.store), section: section)
    let view = try PackageFileSystem(store: store, only: try selection.resolve(in: store))
    let readiness = readinessFd.map(FileDescriptor.init(rawValue:))
    try await Signals.cancelling { [self] in
      try await withMount(of: view, at: FilePath(mountPoint), options: options) { mount in
        Daemon.reportReadiness(to: readiness)
        await mount.waitUntilUnmounted()
      }
    }
  }

  private var options: MountOptions {
    var options = MountOptions()
    options.allowsOtherUsers = allowOther
    options.honorsPrivileges = privileged
    options.readAheadKilobytes = readAhead
    options.source = Mount.canonical(FilePath(store)).string
    return options
  }
}

extension LocalStore.Section: ExpressibleByArgument {}
