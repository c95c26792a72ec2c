// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import DistriFS
import SystemPackage
import ViewSupervisor

struct RescanCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "rescan",
    abstract: "Make a view look at its store now.",
    discussion: """
      A view follows its store by itself where the kernel tells of changes. Where it does not, as on a network file system that another machine
      writes to, say so; SIGUSR1 does the same. Returns when what is in the store is seen.

        distri-fuse rescan /ro
      """)

  @Argument(help: ArgumentHelp("Where the view is.", valueName: "mount point"))
  var mountPoint: String

  func run() throws {
    let path = FilePath(mountPoint)
    guard let entry = try MountTable.current().entry(at: Mount.canonical(path)), entry.isOurs else {
      throw MountError.notMounted(path)
    }
    guard let client = ControlSocket.connect(device: entry.device) else { throw TakeOverFailure.noSupervisor(path) }
    try client.send(Message(.rescan))
    // It may be replacing its server just now.
    client.waitForInput()
    guard try client.receive(waiting: true)?.kind == .done else { throw TakeOverFailure.refused(path, "it has ended") }
  }
}
