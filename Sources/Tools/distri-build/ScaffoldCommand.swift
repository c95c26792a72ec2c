// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import DistriBuild
import DistriStore
import FoundationEssentials
import SystemPackage
import ToolSupport

/// `distri-build scaffold`: a first definition for an archive.
struct ScaffoldCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "scaffold",
    abstract: "Write a first definition for an upstream archive.",
    discussion: """
      Name and version come from the URL, the builder from what lies in the archive, the hash from its bytes, the revision from the
      store: one more than the newest version there has. What to link against is for a person to add. Prints the path of the new file.

        distri-build scaffold --definitions pkgs --store /roimg https://www.nano-editor.org/dist/v7/nano-7.2.tar.xz
      """)

  @OptionGroup var storeOptions: StoreOptions
  @OptionGroup var definitionOptions: DefinitionOptions

  @Option(help: "The package's name, where the URL does not tell.")
  var name: String?

  @Argument(help: "Where the archive comes from.")
  var url: String

  func run() async throws {
    let upstream = try UpstreamArchive(url: url)
    let package = name ?? upstream.name
    let cache = definitionOptions.sourceCache
    let source = SourceReference(url: url)
    let archive: FilePath
    if let found = try cache.find(source) {
      archive = found
      Terminal.standardError.write("found \(archive)\n")
    } else {
      Terminal.standardError.write("fetching \(url)\n")
      archive = try await cache.download(source)
    }
    let revision = try nextRevision(of: package)
    let text = UpstreamArchive.definition(
      source: url, hash: try Checksum.sha256(of: archive), version: "\(upstream.version)-\(revision)",
      builder: try UpstreamArchive.builder(for: archive))
    let directory = definitionOptions.definitionsPath.appending(package)
    let path = directory.appending(DefinitionFile.fileName)
    guard !FileManager.default.fileExists(atPath: path.string) else {
      throw ValidationError("\(path) is there already; remove it, or choose another --name.")
    }
    try FileManager.default.createDirectory(atPath: directory.string, withIntermediateDirectories: true)
    // Checked before it is written: a name or version that cannot be one is found here.
    _ = try DefinitionFile(bytes: Array(text.utf8), path: path, name: package).definition.package(for: .host)
    try Data(text.utf8).write(to: URL(filePath: path.string), options: .withoutOverwriting)
    Terminal.standardOutput.write("\(path)\n")
  }

  private func nextRevision(of name: String) throws -> UInt64 {
    let store = storeOptions.storePath
    guard FileManager.default.fileExists(atPath: store.string) else { return 1 }
    let newest = try PackageQuery(parsing: name).newest(of: LocalStore(path: store).packages())
    return (newest?.revision ?? 0) + 1
  }
}
