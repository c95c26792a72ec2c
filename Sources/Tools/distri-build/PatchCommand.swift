// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import DistriBuild
import DistriStore
import FoundationEssentials
import Glibc
import SystemPackage
import ToolSupport

/// `distri-build patch`: a changed source becomes a patch of its definition.
struct PatchCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "patch",
    abstract: "Change a package's source, and keep the change as a patch.",
    discussion: """
      Unpacks the source, applies the definition's patches, and starts a shell there. When the shell ends, what has been changed becomes a
      patch beside the definition, and a cherry_pick names it; every other byte of the definition stays. After -- follows a command to run
      instead of the shell; when it fails, nothing is kept.

        distri-build patch --definitions pkgs nano
        distri-build patch --definitions pkgs nano --output no-beep.patch -- sed -i 's/beep();//' src/winio.c

      Prints the path of the patch.
      """)

  @OptionGroup var definitionOptions: DefinitionOptions

  @Option(
    help: ArgumentHelp("The patch's file name. Without it, <package>.patch, or with a number that is free.", valueName: "name"))
  var output: String?

  @Argument(help: ArgumentHelp("The name of a definition, or its directory.", valueName: "package|dir"))
  var package: String

  @Argument(parsing: .postTerminator, help: "A command to run instead of a shell.")
  var command: [String] = []

  func validate() throws {
    if let output, output.contains("/") || output.isEmpty || output.hasPrefix(".") {
      throw ValidationError("--output is the name of a file beside the definition.")
    }
  }

  func run() async throws {
    var file = try DefinitionFile(directory: definitionOptions.directory(of: package))
    let path = try patchPath(for: file)
    let folder = FilePath(FileManager.default.temporaryDirectory.path).appending("distri-patch-\(UUID().uuidString)")
    let edit = SourceEdit(file, fetcher: definitionOptions.sourceCache, directory: folder)
    defer { try? edit.remove() }
    try await edit.prepare()
    if command.isEmpty {
      Terminal.standardError.write("the source of \(file.definition.name) is in \(edit.changed); exit to make the patch\n")
    }
    let status = try runCommand(in: edit.changed)
    if !command.isEmpty, status != 0 { throw ExitCode(status) }
    let patch = try await edit.difference()
    guard !patch.isEmpty else {
      Terminal.standardError.write("nothing was changed\n")
      return
    }
    // The definition last: it must never name a patch that is not there.
    try Data(patch).write(to: URL(filePath: path.string), options: .withoutOverwriting)
    try file.addPatch(path.lastComponent?.string ?? "")
    try Data(file.bytes).write(to: URL(filePath: file.path.string), options: .atomic)
    Terminal.standardOutput.write("\(path)\n")
  }

  private func patchPath(for file: DefinitionFile) throws -> FilePath {
    let folder = file.path.removingLastComponent()
    let name = file.definition.name
    let names = output.map { [$0] } ?? ["\(name).patch"] + (2...999).map { "\(name)-\($0).patch" }
    guard let free = names.first(where: { !FileManager.default.fileExists(atPath: folder.appending($0).string) }) else {
      throw ValidationError("\(folder.appending(names[0])) is there already; choose another --output.")
    }
    return folder.appending(free)
  }

  /// - Returns: the exit status, as a shell has it.
  private func runCommand(in folder: FilePath) throws -> Int32 {
    let shell = ProcessInfo.processInfo.environment["SHELL"] ?? "/bin/sh"
    let words = ["env", "-C", folder.string] + (command.isEmpty ? [shell] : command)
    let arguments = words.map { strdup($0) }
    defer { for argument in arguments { free(argument) } }
    var child: pid_t = 0
    let failure = posix_spawnp(&child, "env", nil, nil, arguments + [nil], environ)
    guard failure == 0 else { throw BuildError.tool("env", reason: "it cannot be started: \(Errno(rawValue: failure))") }
    // The terminal's signals are for the shell.
    let before = signal(SIGINT, SIG_IGN)
    defer { signal(SIGINT, before) }
    var status: Int32 = 0
    while waitpid(child, &status, 0) < 0 {
      if errno != EINTR { throw BuildError.tool("env", reason: "waiting for it failed: \(Errno(rawValue: errno))") }
    }
    return status & 0x7f == 0 ? (status >> 8) & 0xff : 128 + (status & 0x7f)
  }
}
