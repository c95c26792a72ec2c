// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import DistriBuild
import DistriStore
import FoundationEssentials
import ToolSupport

/// `distri-build why`: what makes a package need another.
struct WhyCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "why",
    abstract: "Show why a package needs another to run.",
    discussion: """
      Prints the shortest chains from one package to the other; each line names a package and what makes
      the one above need it. Of packages that do not tell, the programs, scripts and links are looked at.
      Ends with status 1 when the package does not need the other.

        distri-build why --store /roimg nano glibc
      """)

  @OptionGroup var storeOptions: StoreOptions

  @Flag(help: "Print a JSON object instead of lines.")
  var json = false

  @Argument(help: "The package that needs.")
  var package: String

  @Argument(help: "The package that is needed.")
  var dependency: String

  func run() async throws {
    let store = try LocalStore(path: storeOptions.storePath)
    let needing = try store.resolve(package)
    let query = try PackageQuery(parsing: dependency)
    let closure = try store.metadata(of: needing).runtimeDependencies
    // Of several versions, the one that is meant is the one in the closure.
    let needed = try query.newest(of: closure, defaultArchitecture: needing.architecture) ?? store.resolve(dependency)
    guard closure.contains(needed) else {
      Terminal.standardError.write("\(needing) does not need \(needed)\n")
      throw ExitCode(1)
    }
    let found = try await DependencyChains(from: needing, to: needed, in: store)
    Terminal.standardOutput.write(try json ? Self.json(found) : Self.text(found))
  }

  private static func text(_ found: DependencyChains) -> String {
    var lines: [String] = []
    for chain in found.chains {
      lines.append("\(found.package)")
      for (depth, link) in chain.enumerated() {
        let indent = String(repeating: "  ", count: depth + 1)
        let why = link.reasons.isEmpty ? "its metadata name it" : link.reasons.joined(separator: "; ")
        lines.append("\(indent)\(link.dependency): \(why)")
      }
    }
    return lines.map { "\($0)\n" }.joined()
  }

  private struct Link: Encodable {
    var package: PackageID
    var dependency: PackageID
    var reasons: [String]
  }

  private struct Answer: Encodable {
    var package: PackageID
    var dependency: PackageID
    var chains: [[Link]]
  }

  private static func json(_ found: DependencyChains) throws -> String {
    let answer = Answer(
      package: found.package, dependency: found.dependency,
      chains: found.chains.map { chain in
        chain.map { Link(package: $0.package, dependency: $0.dependency, reasons: $0.reasons) }
      })
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .prettyPrinted, .withoutEscapingSlashes]
    return String(decoding: try encoder.encode(answer), as: UTF8.self) + "\n"
  }
}
