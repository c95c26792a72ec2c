// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import DistriBuild
import DistriStore
import FoundationEssentials
import SystemPackage
import ToolSupport

/// `distri-build scaffold`: a first definition for something of upstream's, or the newest version for definitions that are there.
struct ScaffoldCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "scaffold",
    abstract: "Write a first definition for something of upstream's, or look for newer versions.",
    discussion: """
      Of an archive: name and version come from the URL, the builder from what lies in the archive, the hash from its bytes, the revision
      from the store: one more than the newest version there has. What to link against is for a person to add. Prints the path of the new
      file.

        distri-build scaffold --definitions pkgs --store /roimg https://www.nano-editor.org/dist/v7/nano-7.2.tar.xz
        distri-build scaffold --definitions pkgs --like nano https://example.org/pico-1.0.tar.gz

      Of a Go module, a Python project or a Perl module, licence, summary, homepage and what it needs come from its own metadata:

        distri-build scaffold --definitions pkgs --go github.com/BurntSushi/toml@v1.3.2 --go-proxy URL
        distri-build scaffold --definitions pkgs --python six --python-index URL
        distri-build scaffold --definitions pkgs --cpan YAML::Tiny --cpan-mirror URL

      With --pull, of definitions that are there, by default all: finds upstream's newest version by the pull rules of each, or in the
      directory that its source comes from, and writes source, hash and version. Every other byte stays. Prints a line each: the
      definition, its version, and its new version where there is one. What cannot be looked at is named, and the status is 1.

        distri-build scaffold --definitions pkgs --store /roimg --pull --dry-run
      """)

  @OptionGroup var storeOptions: StoreOptions
  @OptionGroup var definitionOptions: DefinitionOptions
  @OptionGroup var origin: ScaffoldOptions

  @Option(help: "The package's name, where it shall not be the one that upstream's name makes.")
  var name: String?

  @Flag(help: "Look for newer versions of definitions that are there.")
  var pull = false

  @Flag(help: "With --pull, only say what would change.")
  var dryRun = false

  @Argument(
    help: ArgumentHelp(
      "Where the archive comes from; with --pull, names of definitions or their directories.", valueName: "url|package|dir"))
  var words: [String] = []

  func validate() throws {
    let origins = [origin.go, origin.python, origin.cpan].compactMap { $0 }
    guard origins.count + (pull ? 1 : 0) <= 1 else {
      throw ValidationError("Only one of --pull, --go, --python and --cpan can be given.")
    }
    if dryRun, !pull { throw ValidationError("--dry-run belongs to --pull.") }
    if pull {
      if name != nil || origin.like != nil { throw ValidationError("--name and --like are for new definitions, not for --pull.") }
      return
    }
    if !origins.isEmpty {
      if origin.like != nil { throw ValidationError("--like needs the URL of an archive.") }
      guard words.isEmpty else {
        throw ValidationError("«\(words[0])» is one too many: the option says what the definition is of.")
      }
    } else if words.count != 1 {
      throw ValidationError("Give one URL, or --go, --python, --cpan or --pull.")
    }
  }

  func run() async throws {
    let pages = try TransportPages()
    if pull {
      let search = UpstreamSearch(pages: pages, goProxy: definitionOptions.sourceCache.goProxy, debianIndexes: origin.debianIndex)
      return try await pullAll(by: search)
    }
    let cache = definitionOptions.sourceCache
    let scaffold = Scaffold(pages: pages) { source, location in
      if Self.isTelling(source), let found = try cache.find(source) {
        Terminal.standardError.write("found \(found)\n")
        return found
      }
      Terminal.standardError.write("fetching \(source.url)\n")
      return try await cache.download(source, from: location)
    }
    try write(try await draft(by: scaffold))
  }

  private func draft(by scaffold: Scaffold) async throws -> DefinitionDraft {
    if let module = origin.go {
      return try await scaffold.draft(goModule: module, proxy: definitionOptions.sourceCache.goProxy, name: name)
    }
    if let project = origin.python {
      return try await scaffold.draft(python: project, index: try origin.knownPythonIndex(), name: name)
    }
    if let module = origin.cpan {
      return try await scaffold.draft(perlModule: module, mirror: try origin.knownMirror(), name: name)
    }
    guard let like = origin.like else { return try await scaffold.draft(url: words[0], name: name) }
    let other = try DefinitionFile(directory: definitionOptions.directory(of: like))
    return try await scaffold.draft(url: words[0], name: name, like: other)
  }

  /// Whether a file of the source's name is the source: `v1.2.tar.gz` may be that of another project.
  private static func isTelling(_ source: SourceReference) -> Bool {
    !source.hash.isEmpty || source.scheme == GoModule.scheme || source.fileName.flatMap { try? UpstreamArchive(url: $0) } != nil
  }

  private func write(_ draft: DefinitionDraft) throws {
    let directory = definitionOptions.definitionsPath.appending(draft.package)
    let path = directory.appending(DefinitionFile.fileName)
    guard !FileManager.default.fileExists(atPath: path.string) else {
      throw ValidationError("\(path) is there already; remove it, or choose another --name.")
    }
    let packages = try storedPackages()
    let text = draft.text(revision: (try PackageQuery(parsing: draft.package).newest(of: packages)?.revision ?? 0) + 1)
    // Checked before it is written: a name or version that cannot be one is found here.
    _ = try DefinitionFile(bytes: Array(text.utf8), path: path, name: draft.package).definition.package(for: .host)
    try FileManager.default.createDirectory(atPath: directory.string, withIntermediateDirectories: true)
    try Data(text.utf8).write(to: URL(filePath: path.string), options: .withoutOverwriting)
    Terminal.standardOutput.write("\(path)\n")
  }

  /// What the store has; nothing where there is none.
  func storedPackages() throws -> [PackageID] {
    let store = storeOptions.storePath
    return FileManager.default.fileExists(atPath: store.string) ? try LocalStore(path: store).packages() : []
  }
}

/// What a new definition is of, and who knows about it.
struct ScaffoldOptions: ParsableArguments {
  @Option(help: ArgumentHelp("Define a Go module, of the newest release unless a version is given.", valueName: "module[@version]"))
  var go: String?

  @Option(help: ArgumentHelp("Define a Python project from its source archive.", valueName: "name[==version]"))
  var python: String?

  @Option(help: ArgumentHelp("Define the distribution of CPAN that has a module.", valueName: "module"))
  var cpan: String?

  @Option(
    help: ArgumentHelp("Take builder, steps and dependencies of this definition, comments included.", valueName: "package|dir"))
  var like: String?

  @Option(
    help: ArgumentHelp(
      "The index of Python projects for --python: the address below which each has a page of links or of JSON. Without it, $PIP_INDEX_URL.",
      valueName: "url"))
  var pythonIndex: String?

  @Option(help: ArgumentHelp("The mirror of CPAN for --cpan: the address below which modules/ and authors/ lie.", valueName: "url"))
  var cpanMirror: String?

  @Option(
    help: ArgumentHelp(
      "A Sources or Packages file of a Debian archive, a URL or path, where --pull looks up names in debian_packages. May be given several times.",
      valueName: "url"))
  var debianIndex: [String] = []

  func knownPythonIndex() throws -> String {
    let environment = ProcessInfo.processInfo.environment["PIP_INDEX_URL"] ?? ""
    if let url = pythonIndex ?? (environment.isEmpty ? nil : environment) { return url }
    throw ValidationError("No index of Python projects is known; name one by --python-index or PIP_INDEX_URL.")
  }

  func knownMirror() throws -> String {
    if let cpanMirror { return cpanMirror }
    throw ValidationError("No mirror of CPAN is known; name one by --cpan-mirror.")
  }
}
