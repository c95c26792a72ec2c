// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import Foundation
import SystemPackage
import TestSupport

/// A folder with definitions, and a store of the imported packages.
final class DefinitionBench {
  private static let imported = WholeLifeTests.folder.appending("store")
  static let examples = WholeLifeTests.checkout.appending("Examples/definitions")

  let folder: TemporaryDirectory
  var path: String { folder.path.string }

  /// - Parameter examples: definitions that are taken as they are from the examples; nothing is in the store then that was built by one of those.
  init(_ definitions: [String: String], examples: [String] = []) async throws {
    folder = try TemporaryDirectory()
    try FileManager.default.createDirectory(atPath: "\(folder.path)/store", withIntermediateDirectories: true)
    let built = examples.isEmpty ? [] : try Self.filesOfExamples()
    for name in try FileManager.default.contentsOfDirectory(atPath: Self.imported.string)
    where (name.hasSuffix(".squashfs") || name.hasSuffix(".meta.textproto")) && !built.contains(name) {
      let target = Self.imported.appending(name).string
      // Names without a version are links.
      if (try? FileManager.default.destinationOfSymbolicLink(atPath: target)) != nil { continue }
      do {
        try FileManager.default.linkItem(atPath: target, toPath: "\(path)/store/\(name)")
      } catch {
        try FileManager.default.copyItem(atPath: target, toPath: "\(path)/store/\(name)")
      }
    }
    for (name, text) in definitions { try write(name, text) }
    for name in examples {
      try FileManager.default.createDirectory(atPath: "\(path)/pkgs", withIntermediateDirectories: true)
      try FileManager.default.copyItem(atPath: Self.examples.appending(name).string, toPath: "\(path)/pkgs/\(name)")
    }
  }

  /// The images and metadata that the definitions of the examples make.
  private static func filesOfExamples() throws -> Set<String> {
    var result: Set<String> = []
    for name in try FileManager.default.contentsOfDirectory(atPath: examples.string) {
      let path = examples.appending(name).appending("build.textproto").string
      guard let text = try? String(contentsOfFile: path, encoding: .utf8),
        let version = text.firstMatch(of: /(?m)^version: "([^"]+)"/)?.output.1
      else { continue }
      result.formUnion(["squashfs", "meta.textproto"].map { "\(name)-amd64-\(version).\($0)" })
    }
    return result
  }

  /// A definition whose step is a script of bash.
  func write(_ name: String, _ text: String) throws {
    try FileManager.default.createDirectory(atPath: "\(path)/pkgs/\(name)", withIntermediateDirectories: true)
    let fields =
      "source: \"empty://\"\ndep: \"bash\"\ndep: \"coreutils\"\n" + (text.contains("version:") ? "" : "version: \"1-1\"\n")
    try Data((fields + text + "\n").utf8).write(to: URL(filePath: "\(path)/pkgs/\(name)/build.textproto"))
  }

  func run(_ command: String, _ arguments: [String]) async throws -> ToolProcess.Outcome {
    try await ToolProcess.run("distri-build", [command, "\(path)/pkgs", "--store", "\(path)/store"] + arguments)
  }

  func text(_ file: String) throws -> String { try String(contentsOfFile: "\(path)/\(file)", encoding: .utf8) }

  var built: [String] {
    get throws {
      let names = try FileManager.default.contentsOfDirectory(atPath: "\(path)/store")
      return names.filter { ["a-", "b-", "c-", "d-", "x-", "y-"].contains(where: $0.hasPrefix) && $0.hasSuffix(".squashfs") }
        .sorted()
    }
  }

  /// A definition whose step is a script of bash.
  static func step(_ script: String, needs: [String] = []) -> String {
    needs.map { "dep: \"\($0)\"\n" }.joined()
      + "build_step: { argv: \"bash\" argv: \"-euc\" argv: \"mkdir -p ${DISTRI_DESTDIR}${DISTRI_PREFIX}/share; \(script)\" }"
  }

  /// Writes what the package's dependencies have written, and its own name.
  static func chain(_ name: String, needs: [String] = []) -> String {
    let parts = needs.map { "/ro/${DISTRI_RESOLVE:\($0)}/out/share/\($0)" }.joined(separator: " ")
    let file = "${DISTRI_DESTDIR}${DISTRI_PREFIX}/share/\(name)"
    return step((parts.isEmpty ? "" : "cat \(parts) > \(file); ") + "echo \(name) >> \(file)", needs: needs)
  }
}
