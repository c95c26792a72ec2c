// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore
import SystemPackage

extension Scaffold {
  /// Of a Go module: one with programs is built by the go builder from the modules that it requires, any other is a source for these.
  ///
  /// - Parameters:
  ///   - module: its path, or `path@version`.
  ///   - proxy: a module proxy, a URL or a directory of its layout.
  /// - Throws: as ``draft(url:name:)``; ``BuildError/source(_:reason:)`` for what is no module, and without a proxy.
  public func draft(goModule module: String, proxy: String?, name: String? = nil) async throws -> DefinitionDraft {
    let parts = module.split(separator: "@", omittingEmptySubsequences: false).map(String.init)
    guard let path = parts.first, parts.count <= 2 else {
      throw BuildError.source(module, reason: "is not MODULE or MODULE@VERSION")
    }
    let proxy = ModuleProxy(pages: pages, url: proxy)
    let found = try await proxy.resolve(path, version: parts.count == 2 ? parts[1] : nil)
    let requirements = try await proxy.requirements(of: found).requirements
    let source = "\(GoModule.scheme)://\(found.path)@\(found.version)"
    let archive = try await archives(SourceReference(url: source), source)
    return try await onThread {
      let survey = try SourceSurvey(archive, wrapping: found.path.split(separator: "/").count) { Self.mayBeOfProgram($0) }
      let programs = Self.programs(in: survey)
      let package = programs.isEmpty ? GoModule.packageName(of: found.path) : Self.programName(of: found.path)
      var draft = DefinitionDraft(
        package: name ?? package, version: found.version, source: source, hash: try Checksum.sha256(of: archive))
      guard !programs.isEmpty else {
        draft.builder = "gomodbuilder"
        return draft
      }
      draft.builder = "gobuilder"
      draft.options = programs.map { .init(name: "install", value: $0) }
      draft.dependencies = requirements.map { GoModule.packageName(of: $0.path) }
      let wanted = requirements.map { "\($0.path)@\($0.version)" }
      if !wanted.isEmpty { draft.notes = ["its go.mod requires:"] + wanted }
      return draft
    }
  }

  /// At the top of a module, or in a directory of `cmd`.
  private static func mayBeOfProgram(_ components: [String]) -> Bool {
    guard let file = components.last, file.hasSuffix(".go"), !file.hasSuffix("_test.go") else { return false }
    return components.count == 1 || components.count == 3 && components[0] == "cmd"
  }

  /// The directories that have a program, as the go command takes them.
  private static func programs(in survey: SourceSurvey) -> [String] {
    let paths = survey.files.keys.filter { isOfProgram(survey.text($0)) }
    return Set(
      paths.map { path in
        let directory = path.split(separator: "/").dropLast().joined(separator: "/")
        return directory.isEmpty ? "." : "./\(directory)"
      }
    ).sorted()
  }

  /// Whether a file is of `package main`, and one of the package: what generates files says that it is not.
  private static func isOfProgram(_ text: String) -> Bool {
    for line in text.split(whereSeparator: \.isNewline) {
      if line.hasPrefix("//go:build ignore") || line.hasPrefix("// +build ignore") { return false }
      if line.hasPrefix("package ") { return line.split { $0 == " " || $0 == "\t" || $0 == ";" }.dropFirst().first == "main" }
    }
    return false
  }

  /// The last component that is no major version, as the go command names programs.
  private static func programName(of path: String) -> String {
    let components = path.split(separator: "/")
    let isMajor = components.last.map { $0.first == "v" && $0.count > 1 && $0.dropFirst().allSatisfy(\.isNumber) } ?? false
    return (components.count > 1 && isMajor ? components.dropLast() : components[...]).last.map { $0.lowercased() } ?? path
  }
}
