// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore
import SystemPackage

/// Looks at definitions as a careful reviewer would: what will fail, and what will be regretted.
public struct Lint: Sendable {
  /// Something that a person should look at.
  public struct Finding: Sendable, Hashable, CustomStringConvertible {
    /// How bad it is.
    public enum Severity: String, Sendable, Hashable {
      /// The definition cannot be built.
      case error
      /// It can, but somebody will wonder.
      case warning
    }

    /// The definition's file.
    public var path: FilePath
    /// From 1.
    public var line: Int
    /// From 1, in bytes.
    public var column: Int
    /// How bad it is.
    public var severity: Severity
    /// What is wrong, and what to do.
    public var message: String

    /// As compilers say it.
    public var description: String { "\(path):\(line):\(column): \(severity.rawValue): \(message)" }
  }

  private let packages: [PackageID]
  private let names: Set<String>
  private let architecture: Architecture

  /// Makes a lint for a set of definitions.
  ///
  /// - Parameters:
  ///   - files: all definitions of the set: what they make can be needed.
  ///   - packages: what the store has.
  public init(_ files: [DefinitionFile], packages: [PackageID], architecture: Architecture = .host) {
    self.packages = packages
    self.architecture = architecture
    names = Set(files.flatMap { file in [file.definition.name] + file.definition.splitPackages.map(\.name) })
  }

  /// What is to be said about a definition, in the order of its lines.
  public func findings(in file: DefinitionFile) -> [Finding] {
    var findings = Findings(file: file)
    checkVersion(file, &findings)
    checkSource(file.definition, &findings)
    checkFiles(file, &findings)
    checkNeeds(file.definition, &findings)
    checkPull(file, &findings)
    checkParts(file.definition, &findings)
    return findings.sorted
  }

  private func checkVersion(_ file: DefinitionFile, _ findings: inout Findings) {
    do throws(BuildError) {
      _ = try file.packages(for: architecture)
    } catch {
      findings.add(error)
    }
  }

  private func checkSource(_ definition: Definition, _ findings: inout Findings) {
    let reference = SourceReference(url: definition.source, hash: definition.hash)
    if definition.source.isEmpty {
      findings.add(.error, at: "source", "there is no source; a definition without one says empty://")
    }
    let isArchive = ["http", "https", "distri+gomod"].contains(reference.scheme ?? "")
    let digits = definition.hash.lowercased()
    if isArchive, digits.count != 64 || !digits.allSatisfy({ $0.isHexDigit && $0.isASCII }) {
      findings.add(.error, at: "hash", "the hash is the SHA-256 of the source: 64 hexadecimal digits")
    }
    if reference.scheme == "http" {
      findings.add(.warning, at: "source", "the hash protects the source, but who looks for a new version needs https")
    }
    if reference.scheme == "empty", !definition.hash.isEmpty { findings.add(.warning, at: "hash", "empty:// has nothing to hash") }
  }

  private func checkFiles(_ file: DefinitionFile, _ findings: inout Findings) {
    let directory = file.path.removingLastComponent()
    for (field, names) in [("cherry_pick", file.definition.patches), ("extra_file", file.definition.extraFiles)] {
      for name in names where !directory.pushing(FilePath(name)).exists {
        findings.add(.error, at: field, value: name, "\(name) is not beside the definition")
      }
    }
    let used = Set(file.definition.patches)
    guard let tree = try? PackageTree(directory: directory) else { return }
    for name in tree.names(in: .root).map(\.description) where name.hasSuffix(".patch") && !used.contains(name) {
      findings.add(.warning, at: "cherry_pick", "\(name) lies here, but no cherry_pick names it")
    }
  }

  private func checkNeeds(_ definition: Definition, _ findings: inout Findings) {
    for need in definition.needs(for: architecture) where need.isRequired && !isKnown(need.name) {
      let field = definition.dependencies.contains(need.name) ? "dep" : "runtime_dep"
      findings.add(.error, at: field, value: need.name, "«\(need.name.printable)» is neither defined nor in the store")
    }
    for (field, names) in [("dep", definition.dependencies), ("runtime_dep", definition.runtimeDependencies)] {
      let repeated = Dictionary(grouping: names) { $0 }.filter { $0.value.count > 1 }.keys.sorted()
      for name in repeated { findings.add(.warning, at: field, value: name, "\(name) is named twice") }
    }
  }

  private func checkPull(_ file: DefinitionFile, _ findings: inout Findings) {
    do throws(BuildError) {
      _ = try PullRules(file)
    } catch {
      findings.add(error)
    }
  }

  private func isKnown(_ name: String) -> Bool {
    guard let query = try? PackageQuery(parsing: name) else { return false }
    return names.contains(query.name) || query.newest(of: packages, defaultArchitecture: architecture) != nil
  }

  private func checkParts(_ definition: Definition, _ findings: inout Findings) {
    if definition.builder == nil, definition.steps.isEmpty {
      findings.add(.error, at: "build_step", "there is neither a builder nor a build_step")
    }
    for split in definition.splitPackages where split.claims.isEmpty {
      findings.add(.warning, at: "split_package", "\(split.name) claims nothing")
    }
    if definition.buildsInTree, !definition.hasWritableSource {
      findings.add(.warning, at: "in_tree_build", "steps that run in the source usually write there: writable_sourcedir: true")
    }
  }
}

/// Collects findings with their places.
private struct Findings {
  let file: DefinitionFile
  private var found: [Lint.Finding] = []

  init(file: DefinitionFile) { self.file = file }

  var sorted: [Lint.Finding] {
    found.sorted { ($0.line, $0.column, $0.message) < ($1.line, $1.column, $1.message) }
  }

  /// - Parameter value: where a field appears several times, the one that says this.
  mutating func add(_ severity: Lint.Finding.Severity, at field: String, value: String? = nil, _ message: String) {
    add(file.error(at: field, value: value, message), severity)
  }

  mutating func add(_ error: BuildError, _ severity: Lint.Finding.Severity = .error) {
    guard case .invalidDefinition(let path, let line, let column, let reason) = error else {
      found.append(.init(path: file.path, line: 1, column: 1, severity: severity, message: "\(error)"))
      return
    }
    found.append(.init(path: path, line: line, column: column, severity: severity, message: reason))
  }
}
