// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import DistriRepo
import FoundationEssentials
import RepositorySupport
import ToolSupport

struct DistriFetch: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "distri-fetch",
    abstract: "Publish, serve and install packages.",
    discussion: """
      A repository is a directory of static files. Make one of a store, sign it, serve it, trust it, install from it:

        distri-fetch keys generate --out keys
        distri-fetch publish /roimg --out /srv/distri --keys keys
        distri-fetch serve /srv/distri --listen 127.0.0.1:8000 &
        distri-fetch trust init /srv/distri/tuf/root.json --repo http://127.0.0.1:8000
        distri-fetch install nano --root /mnt --repo http://127.0.0.1:8000

      Each change makes a generation, and there is a way back:

        distri-fetch generations
        distri-fetch rollback

      Without --repo, the repositories of /etc/distri/repos.d/*.repo are used; DISTRICFG names another directory than /etc/distri.
      """,
    subcommands: [
      Publish.self, Keys.self, Serve.self, Trust.self, Install.self, Update.self, Remove.self, ListGenerations.self, Rollback.self,
      Pin.self, Unpin.self, GarbageCollection.self, List.self, Info.self, Search.self, Why.self, Verify.self,
      Repair.self, MirrorCommand.self,
    ])
}

/// Prints a value as JSON, the same text for the same value.
func printJSON(_ value: some Encodable) throws {
  let encoder = JSONEncoder()
  encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
  Terminal.standardOutput.write(String(decoding: try encoder.encode(value), as: UTF8.self) + "\n")
}
