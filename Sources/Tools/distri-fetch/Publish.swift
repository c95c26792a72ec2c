// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import DistriRepo
import DistriStore
import FoundationEssentials
import SystemPackage
import ToolSupport

struct Publish: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Make a repository of a store, and sign it.",
    discussion: """
      Images are hard links of the store's where both lie on one file system. The index and, at the very end, the signed
      timestamp are replaced by a rename: readers see the old repository or the new one. Run it again after each change of the
      store, and now and then without one: what has lived more than half its time is signed anew, all else is left alone. The
      root's key is needed only the first time and with --rotate-root. Beside images of 1 MiB and more lie the hashes of their blocks, so
      that updates fetch only what is new.

        distri-fetch keys generate --out keys
        distri-fetch publish /roimg --out /srv/distri --keys keys
        distri-fetch publish /roimg --out /srv/distri --keys keys --compress
        distri-fetch publish /roimg --out /srv/distri --key timestamp=t.pem --key snapshot=s.pem \\
          --key-command 'targets=targets.pub.pem:ssh vault sign-targets'
        distri-fetch publish /roimg --out /srv/distri --keys new-keys --rotate-root \\
          --former-root-key keys/root.pem

      Without keys, nothing is signed, and whoever installs has to say --insecure-unsigned.
      """)

  @Argument(help: ArgumentHelp("The store's directory.", valueName: "store"))
  var store: String

  @Option(name: .long, help: ArgumentHelp("The repository's directory; made if it is missing.", valueName: "dir"))
  var out: String

  @OptionGroup var signing: SigningOptions

  @Option(
    defaultAsFlag: 9,
    help: ArgumentHelp(
      "Put large images compressed with zstd beside them, too: from 1, fast, to 19, small; 9 when no level is given.",
      valueName: "level"))
  var compress: Int?

  @Option(name: .shortAndLong, help: "How many packages are hashed, and compressed, at the same time.")
  var jobs = 4

  @Flag(help: "Print what was published as JSON.")
  var json = false

  func validate() throws {
    if let compress, !(1...19).contains(compress) { throw ValidationError("--compress is from 1 to 19") }
  }

  func run() async throws {
    let signing = try signing.signing()
    let metadata = FilePath(out).appending(MetadataPublisher.directoryName).appending("timestamp.json")
    guard signing != nil || !FileManager.default.fileExists(atPath: metadata.string) else {
      throw RepositoryError.signing(
        key: out, reason: "the repository is signed, but no keys are given; give --keys, --key or --key-command")
    }
    let progress = ProgressDisplay("publishing", total: 0)
    let publisher = Publisher(store: FilePath(store), output: FilePath(out), maximumTasks: jobs, compressionLevel: compress)
    let sections = try await publisher.publish { progress.advance(detail: $0.description) }
    progress.finish()
    var signed: MetadataPublisher.Report?
    if let signing { signed = try await MetadataPublisher(output: FilePath(out), signing: signing).publish() }
    if json { return try printJSON(Summary(sections: sections, metadata: signed?.roles)) }
    for section in sections {
      let size = ProgressDisplay.megabytes(section.byteCount)
      Terminal.standardOutput.write(
        "\(section.section)\t\(section.packageCount) packages\t\(section.newPackages.count) new\t\(size)\n")
    }
    guard let signed else {
      return Terminal.standardError.write("not signed: give --keys; until then, whoever installs has to say --insecure-unsigned\n")
    }
    for role in signed.roles where role.isNew {
      Terminal.standardOutput.write("signed\t\(role.name)\tversion \(role.version)\tuntil \(role.expires)\n")
    }
  }

  private struct Summary: Encodable {
    var sections: [Publisher.SectionReport]
    var metadata: [MetadataPublisher.Report.Role]?
  }
}
