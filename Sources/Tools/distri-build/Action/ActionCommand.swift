// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser

/// `distri-build action`: builds that any machine can do.
struct ActionCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "action",
    abstract: "Builds as actions of a cluster: what it runs, and what that is run on.",
    discussion: """
      An action is a directory with all that a build needs, and a command that runs there. A cluster
      gets it by itself; to look into one, or to build on a machine that has nothing of distri, write
      it and run it by hand:

        distri-build action write --definitions pkgs --store /roimg hello --out /tmp/action
        cd /tmp/action && tool/lib/ld.so --library-path tool/lib tool/distri-build action run
      """,
    subcommands: [ActionWriteCommand.self, ActionRunCommand.self])
}
