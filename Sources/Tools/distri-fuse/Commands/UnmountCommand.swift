// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import DistriFS
import SystemPackage

struct UnmountCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "unmount",
    abstract: "Unmount a view, also one whose process is dead.",
    discussion: """
        distri-fuse unmount /ro
      """)

  @Argument(help: ArgumentHelp("Where the view is.", valueName: "mount point"))
  var mountPoint: String

  @Flag(help: "Also while it is in use: who uses it keeps what is open.")
  var lazy = false

  func run() throws { try Mount.unmount(FilePath(mountPoint), lazily: lazy) }
}
