// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import Foundation
import SystemPackage
import TestSupport
import Testing

/// What all tools have in common: help that is reviewed like code, exit statuses, data on standard output and words on standard error.
@Suite struct CommandLineTests {
  static let commands = [
    "distri-fuse", "distri-fuse mount", "distri-fuse unmount", "distri-fuse run", "distri-fuse status", "distri-fuse conflicts",
    "distri-fuse rescan",
    "distri-build", "distri-build import", "distri-build scaffold", "distri-build build", "distri-build batch", "distri-build bump",
    "distri-build lint", "distri-build patch", "distri-build env", "distri-build log", "distri-build why", "distri-build sbom",
    "distri-build action", "distri-build action run", "distri-build action write",
    "distri-fetch", "distri-fetch publish",
    "distri-fetch keys", "distri-fetch keys generate", "distri-fetch trust", "distri-fetch trust init",
    "distri-fetch trust refresh",
    "distri-fetch trust show", "distri-fetch serve", "distri-fetch install", "distri-fetch update", "distri-fetch remove",
    "distri-fetch generations", "distri-fetch rollback", "distri-fetch pin", "distri-fetch unpin", "distri-fetch gc",
    "distri-fetch list", "distri-fetch info", "distri-fetch search", "distri-fetch why", "distri-fetch verify",
    "distri-fetch repair", "distri-fetch mirror", "distri-mkimage", "distri-mkimage build",
    "distri-mkimage boot", "distri-mkimage install", "distri-mkimage inspect", "distri-mkimage initramfs",
    "distri-mkimage boot-entry", "distri-mkimage list-formats",
  ]

  /// To accept a change: `UPDATE_SNAPSHOTS=1 swift test --filter CommandLineTests`, and review the difference.
  @Test(arguments: commands) func `help is as it was reviewed`(command: String) async throws {
    let words = command.split(separator: " ").map(String.init)
    let help = try await ToolProcess.run(words[0], words.dropFirst() + ["--help"], environment: ["COLUMNS": "100"])
    #expect(help.status == 0)
    #expect(help.errors == "")
    let snapshot = FilePath(#filePath).removingLastComponent().appending("Help")
      .appending(words.joined(separator: "-") + ".txt")
    if ProcessInfo.processInfo.environment["UPDATE_SNAPSHOTS"] != nil {
      try help.output.write(toFile: snapshot.string, atomically: true, encoding: .utf8)
    }
    #expect(help.output == (try String(contentsOfFile: snapshot.string, encoding: .utf8)))
    #expect(help.output.contains("\n  \(words[0]) "), "there is no example")
  }

  @Test(arguments: [
    ("distri-fuse mount --no-such-flag", 64), ("distri-fuse unmount /", 66), ("distri-fuse run --store /nowhere -- true", 66),
    ("distri-fuse status /nowhere", 66), ("distri-build build --store /nowhere --definitions /nowhere nano", 66),
    ("distri-build", 0), ("distri-fetch install nano --insecure-unsigned --root /nowhere --repo /nowhere", 66),
    ("distri-fetch install ../etc --root /nowhere --repo /nowhere", 64), ("distri-fetch publish /nowhere --out /nowhere/out", 66),
    ("distri-mkimage build --store /nowhere --package bash --kernel linux-image -o /nowhere/out", 66),
  ])
  func `an error is one line on standard error and a status of sysexits`(command: String, status: Int32) async throws {
    let words = command.split(separator: " ").map(String.init)
    let outcome = try await ToolProcess.run(words[0], Array(words.dropFirst()))
    #expect(outcome.status == status, "\(outcome.errors)")
    guard status != 0 else { return }
    #expect(outcome.output == "")
    // The parser of arguments adds a usage; everything else is one line that starts with the tool's name.
    if status != 64 {
      #expect(outcome.errors.hasPrefix("\(words[0]): "))
      #expect(outcome.errors.split(separator: "\n").count == 1)
    }
  }

  @Test(arguments: ["distri-fuse", "distri-build", "distri-fetch", "distri-mkimage"], ["bash", "zsh", "fish"])
  func `completions can be generated`(tool: String, shell: String) async throws {
    let script = try await ToolProcess.run(tool, ["--generate-completion-script", shell])
    #expect(script.status == 0)
    #expect(script.output.contains(tool))
  }
}
