// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import DistriBuild
import DistriStore
import FoundationEssentials
import SystemPackage
import ToolSupport

/// `distri-build lint`: what is wrong with definitions, before they are built.
struct LintCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "lint",
    abstract: "Check definitions for mistakes.",
    discussion: """
      Says what will fail and what is suspicious: fields that do not parse, files that are missing, packages that are neither defined nor in
      the store. Where there is no store, only definitions are looked at.

        distri-build lint pkgs --store /roimg
        distri-build lint pkgs nano

      A finding a line, as compilers print them: file:line:column: error: what is wrong. The status is 65 when there is an error.
      """)

  @OptionGroup var storeOptions: StoreOptions

  @Flag(help: "Take warnings for errors.")
  var strict = false

  @Argument(help: ArgumentHelp("The directory that holds a directory per definition.", valueName: "dir"))
  var definitions: String

  @Argument(help: ArgumentHelp("Names of definitions; none for all.", valueName: "package"))
  var packages: [String] = []

  func run() throws {
    let folder = absolutePath(definitions)
    let names = try definitionNames(in: folder)
    for name in packages where !names.contains(name) {
      throw ValidationError("\(definitions) has no definition \(name).")
    }
    var files: [DefinitionFile] = []
    var findings: [String] = []
    var errorCount = 0
    for name in names {
      do {
        files.append(try DefinitionFile(directory: folder.appending(name)))
      } catch  where packages.isEmpty || packages.contains(name) {
        findings.append("\(error)")
        errorCount += 1
      } catch {}
    }
    let hasStore = FileManager.default.fileExists(atPath: storeOptions.storePath.string)
    let lint = Lint(files, packages: hasStore ? try LocalStore(path: storeOptions.storePath).packages() : [])
    for file in files where packages.isEmpty || packages.contains(file.definition.name) {
      for finding in lint.findings(in: file) {
        findings.append("\(finding)")
        if strict || finding.severity == .error { errorCount += 1 }
      }
    }
    for finding in findings { Terminal.standardOutput.write(finding + "\n") }
    if errorCount > 0 { throw LintFailure() }
  }
}

/// The findings have said it.
private struct LintFailure: SilentError {
  var exitStatus: ExitCode { ToolSupport.ExitStatus.badData }
}
