// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser

/// The tool.
struct Mkimage: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "distri-mkimage",
    abstract: "Makes bootable disk images out of the packages of a store.",
    subcommands: [Build.self, Boot.self])
}
