// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser

/// The tool.
struct Mkimage: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "distri-mkimage",
    abstract: "Make bootable disk images of the packages of a store.",
    discussion: """
      Needs neither root nor loop devices. The same packages give the same bytes.

        distri-mkimage build --store ./store --package bash --package nano --kernel linux-image --run 'nano --version' -o image
        distri-mkimage boot image
      """,
    subcommands: [
      Build.self, Boot.self, Install.self, Inspect.self, InitramfsCommand.self, BootEntryCommand.self, ListFormats.self,
    ])
}
