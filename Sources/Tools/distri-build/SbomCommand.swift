// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import DistriBuild
import DistriStore
import ToolSupport

/// `distri-build sbom`: a software bill of materials.
struct SbomCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "sbom",
    abstract: "Print what a package is made of, as an SPDX document.",
    discussion: """
      The document is SPDX 2.3 in JSON: the package and its licence, where its source came from, its files
      with their digests, what it needs to run and why, and what it was built with. The same package gives
      the same document.

        distri-build sbom --store /roimg nano > nano.spdx.json
      """)

  @OptionGroup var storeOptions: StoreOptions

  @Argument(help: "The package.")
  var package: String

  func run() async throws {
    let store = try LocalStore(path: storeOptions.storePath)
    let bill = try await BillOfMaterials(of: store.resolve(package), in: store)
    Terminal.standardOutput.write(bill.json)
  }
}
