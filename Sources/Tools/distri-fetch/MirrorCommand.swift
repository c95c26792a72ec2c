// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import DistriRepo
import DistriStore
import RepositorySupport
import Synchronization
import RepositorySupport
import SystemPackage
import ToolSupport

struct MirrorCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "mirror",
    abstract: "Keep a copy of a repository, for any web server to serve.",
    discussion: """
      The copy has the same files, and the same root proves them: whoever trusts the repository may install from the copy.
      All of it is verified before it appears, what is there already is not fetched again, and readers see the
      old copy or the new one. Run it from a timer: signed metadata expires.

        distri-fetch trust init root.json --repo https://repo.example.org/distri
        distri-fetch mirror --repo https://repo.example.org/distri --out /srv/mirror
      """)

  @Option(name: .long, help: ArgumentHelp("The repository: URL or directory.", valueName: "url"))
  var repo: String

  @Option(name: .long, help: ArgumentHelp("The copy's directory; made if it is missing.", valueName: "dir"))
  var out: String

  @OptionGroup var trust: TrustOptions

  @Flag(help: "Copy a repository that this machine trusts no root of: nothing proves its packages.")
  var insecureUnsigned = false

  @Flag(help: "Read and verify what is there already, too.")
  var verify = false

  @Flag(help: "Remove files that neither the new copy nor the one before names.")
  var prune = false

  @OptionGroup var transfer: TransferOptions

  @Option(name: .shortAndLong, help: "How many files are fetched at the same time.")
  var jobs = 16

  @Flag(help: "Print what was copied as JSON.")
  var json = false

  func validate() throws {
    if jobs < 1 { throw ValidationError("--jobs starts at 1") }
  }

  func run() async throws {
    var options = Mirror.Options()
    options.maximumDownloads = jobs
    options.verifies = verify
    options.prunes = prune
    options.allowsUnsigned = insecureUnsigned
    let store = trust.store(of: repo)
    let isTrusted = try store.isInitialized
    let display = Mutex<ProgressDisplay?>(nil)
    let transport = MeteredTransport(try transfer.transport()) { count in
      display.withLock { $0?.advance(by: UInt64(bitPattern: count)) }
    }
    let mirror = Mirror(
      of: repo, output: FilePath(out), trust: isTrusted ? store : nil, transport: transport, options: options)
    let report = try await mirror.update { _, byteCount in
      display.withLock { $0 = ProgressDisplay("copying", total: byteCount, unit: .bytes) }
    }
    display.withLock { $0?.finish() }
    if !isTrusted { Terminal.standardError.write("distri-fetch: not verified: \(repo) (--insecure-unsigned)\n") }
    if json { return try printJSON(report) }
    Terminal.standardError.write(
      """
      \(report.fetchedFileCount) files, \(ProgressDisplay.megabytes(report.fetchedByteCount)), came; the copy has \(report.fileCount) files, \
      \(ProgressDisplay.megabytes(report.byteCount))\(report.removedFileCount > 0 ? "; \(report.removedFileCount) were removed" : "")\n
      """)
  }
}
