// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import DistriBuild
import DistriStore
import FoundationEssentials
import SystemPackage
import ToolSupport

extension ScaffoldCommand {
  /// `--pull`.
  func pullAll(by search: UpstreamSearch) async throws {
    let folder = definitionOptions.definitionsPath
    let directories = try words.isEmpty ? definitionNames(in: folder).map(folder.appending) : words.map(definitionOptions.directory)
    guard !directories.isEmpty else {
      throw ValidationError("\(folder) has no directory with a \(DefinitionFile.fileName); name one by --definitions.")
    }
    let pull = Pull(search: search, cache: definitionOptions.sourceCache, packages: try storedPackages(), isDry: dryRun)
    guard await pull.run(directories) else { throw PullFailure() }
  }
}

/// Looks for newer versions of definitions, and writes them.
private struct Pull: Sendable {
  let search: UpstreamSearch
  let cache: SourceCache
  /// What the store has.
  let packages: [PackageID]
  /// Whether nothing is brought and written.
  let isDry: Bool

  /// How many definitions are looked at at once.
  private static let width = 8

  /// Looks at each definition, and goes on where one cannot be looked at. Lines come in the order of the definitions.
  ///
  /// - Returns: whether all could be looked at.
  func run(_ directories: [FilePath]) async -> Bool {
    await withTaskGroup(of: (Int, PullLine).self) { group in
      var lines: [Int: PullLine] = [:], next = 0, written = 0, isWhole = true
      func start() {
        let index = next
        next += 1
        group.addTask { (index, await line(of: directories[index])) }
      }
      while next < min(Self.width, directories.count) { start() }
      while let (index, line) = await group.next() {
        lines[index] = line
        if next < directories.count { start() }
        while let line = lines.removeValue(forKey: written) {
          written += 1
          line.write()
          if case .failure = line { isWhole = false }
        }
      }
      return isWhole
    }
  }

  private func line(of directory: FilePath) async -> PullLine {
    let name = directory.lastComponent?.string ?? directory.string
    do {
      var file = try DefinitionFile(directory: directory)
      switch try await search.newest(of: file) {
      case .none(let reason): return .remark("\(name): \(reason)")
      case .current: return .record([name, file.definition.version])
      case .newer(let release):
        let old = file.definition.version
        let new = "\(release.version)-\(try nextRevision(of: file))"
        // What cannot be a version is said before anything is brought.
        try file.replace(.version, with: new)
        _ = try file.packages(for: .host)
        if !isDry {
          try file.replace(.source, with: release.source)
          try file.replace(.hash, with: try await hash(of: release))
          try Data(file.bytes).write(to: URL(filePath: file.path.string), options: .atomic)
        }
        return .record([name, old, new])
      }
    } catch {
      return .failure("\(name): \(error)")
    }
  }

  /// The next that is free for all packages of a definition.
  private func nextRevision(of file: DefinitionFile) throws -> UInt64 {
    let own = try file.packages(for: .host)
    let names = Set(own.map(\.unversioned))
    let newest = packages.filter { names.contains($0.unversioned) }.map(\.revision).max() ?? 0
    return max(newest, own[0].revision) + 1
  }

  /// Brings the source, and hashes it; what an index says of it is checked.
  private func hash(of release: UpstreamSearch.Release) async throws -> String {
    let source = SourceReference(url: release.source, hash: release.sha256)
    // A file of the same name may be another project's, but for a module's and for those that are known by their name alone.
    let isTelling = !source.hash.isEmpty || source.scheme == GoModule.scheme || source.scheme == nil
    if isTelling, let found = try cache.find(source) { return try Checksum.sha256(of: found) }
    let location = release.location == release.source ? nil : release.location
    return try Checksum.sha256(of: try await cache.download(source, from: location))
  }
}

/// What is said of a definition.
private enum PullLine: Sendable {
  case record([String])
  case remark(String)
  case failure(String)

  func write() {
    switch self {
    case .record(let words): Terminal.standardOutput.write(words.joined(separator: " ") + "\n")
    case .remark(let text), .failure(let text): Terminal.standardError.write(text + "\n")
    }
  }
}

/// The lines have said it.
private struct PullFailure: SilentError {
  var exitStatus: ExitCode { ExitCode(1) }
}
