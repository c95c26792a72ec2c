// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import DistriBuild
import DistriFS
import DistriStore
import FoundationEssentials
import Glibc
import SystemPackage
import ToolSupport

struct RunCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "run",
    abstract: "Run a command in a world of a store's packages.",
    discussion: """
      The command sees the packages on /ro, and as /bin, /lib, /usr and so on; of this machine, /home, /root, /tmp, /etc, /var, /run, /dev,
      /proc, /sys and the current directory. Nothing of this machine changes. The exit status is the command's, or 128 and the signal.

        distri-fuse run --store ./store -- nano --version
        distri-fuse run --store ./store --packages bash,gcc -- bash
      """)

  @OptionGroup var store: StoreOptions

  @OptionGroup var selection: PackageSelection

  @Argument(parsing: .postTerminator, help: ArgumentHelp("The command and its arguments, after --.", valueName: "command"))
  var command: [String] = []

  func run() async throws {
    guard !command.isEmpty else { throw ValidationError("which command? For example: distri-fuse run --store ./store -- bash") }
    let store = try LocalStore(path: store.storePath)
    let only = try selection.resolve(in: store)
    // For as long as the command runs, a collector leaves them alone. Where we may not write, there is nothing to be done about it.
    var held: PackageReservation?
    if let only { held = try? await store.reserve(only) }
    defer { withExtendedLifetime(held) {} }
    let view = try PackageFileSystem(store: store, only: only)
    let place = try PrivateDirectory()
    defer { place.remove() }
    var options = MountOptions()
    options.source = Mount.canonical(store.path).string
    options.honorsPrivileges = HostView.isRoot
    options.allowsOtherUsers = HostView.isRoot
    let status = try await withMount(of: view, at: place.path, options: options) { mount in
      try await Signals.passedToChildren {
        try await NamespaceSandbox().run(command, in: HostView.plan(showing: mount.mountPoint, view.view.packages), io: .inherited)
      }
    }
    throw ExitCode(status.shellStatus)
  }
}

/// An empty directory that nobody else can enter.
struct PrivateDirectory {
  let path: FilePath

  init() throws {
    path = FilePath(FileManager.default.temporaryDirectory.path).appending("distri-run-\(UUID().uuidString)")
    try FileManager.default.createDirectory(
      atPath: path.string, withIntermediateDirectories: false, attributes: [.posixPermissions: 0o700])
  }

  /// Only if it is empty: never what is mounted there.
  func remove() { _ = rmdir(path.string) }
}
