// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import DistriBuild
import DistriStore
import FoundationEssentials
import SystemPackage
import ToolSupport

/// What the commands for a whole set of definitions share.
struct SetOptions: ParsableArguments {
  @OptionGroup var storeOptions: StoreOptions

  @Option(
    name: .long,
    help: ArgumentHelp(
      "Who needs this package takes an older one of the store, so that a circle ends here. May be given several times.",
      valueName: "package"))
  var bootstrap: [String] = []

  @Flag(
    name: .long,
    help: """
      The same for what builders imply (shell, compiler, make and so on), in circles only: what such a tool needs itself is built by an older \
      one, and all else by the one that the set makes.
      """)
  var bootstrapToolchain = false

  @Argument(help: ArgumentHelp("The directory that holds a directory per definition.", valueName: "dir"))
  var definitions: String

  @Argument(help: ArgumentHelp("Names of definitions; none for all.", valueName: "package"))
  var packages: [String] = []

  var definitionsPath: FilePath { absolutePath(definitions) }

  /// All definitions of the directory. One that does not parse is an error: what depends on what cannot be said without it.
  func files() throws -> [DefinitionFile] {
    let directories = try definitionNames(in: definitionsPath).map(definitionsPath.appending)
    guard !directories.isEmpty else {
      throw ValidationError("\(definitions) has no directory with a \(DefinitionFile.fileName).")
    }
    return try directories.map { try DefinitionFile(directory: $0) }
  }

  /// The graph of all definitions.
  func graph(_ files: [DefinitionFile], _ packages: [PackageID]) throws -> BuildGraph {
    do {
      return try BuildGraph(
        files, for: .host, store: packages,
        bootstrap: .init(packages: Set(bootstrap), breaksImpliedCircles: bootstrapToolchain))
    } catch BuildError.dependencyCycles(let cycles) {
      throw Cycles(cycles: cycles)
    }
  }

  /// The definitions that were named; nil for all.
  func selection(in graph: BuildGraph) throws -> [Int]? {
    if packages.isEmpty { return nil }
    return try packages.map { name in
      guard let index = graph.index(of: name) else { throw ValidationError("\(definitions) has no definition \(name).") }
      return index
    }
  }
}

/// Circles, and the options that break them.
private struct Cycles: Error, CustomStringConvertible, ExitStatusProviding {
  var cycles: [[String]]
  var exitStatus: ExitCode { ToolSupport.ExitStatus.badData }

  var description: String {
    let example = cycles.first?.dropFirst().first ?? ""
    return """
      \(BuildError.dependencyCycles(cycles))
      --bootstrap \(example) lets those that need \(example) take an older one of the store; --bootstrap-toolchain does so \
      for what builders imply
      """
  }
}

/// The directories of a directory that hold a definition, by name.
func definitionNames(in directory: FilePath) throws -> [String] {
  try FileManager.default.contentsOfDirectory(atPath: directory.string).sorted().filter { name in
    FileManager.default.fileExists(atPath: directory.appending(name).appending(DefinitionFile.fileName).string)
  }
}

/// A path as the working directory has it.
func absolutePath(_ text: String) -> FilePath {
  let path = FilePath(text)
  return path.isAbsolute
    ? path : FilePath(FileManager.default.currentDirectoryPath).pushing(path).lexicallyNormalized()
}
