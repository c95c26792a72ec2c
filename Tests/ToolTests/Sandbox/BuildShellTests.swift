// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import Foundation
import Glibc
import SystemPackage
import TestSupport
import Testing

/// `distri-build env` and the shells of `distri-build build`, with a store of this machine's bash and a few programs.
@Suite struct BuildShellTests {
  /// A store, a definition `sample` and a place to work in.
  private struct Bench: ~Copyable {
    let folder: TemporaryDirectory

    private init() throws { folder = try TemporaryDirectory() }

    /// - Parameter steps: scripts of the definition's steps.
    static func make(steps: [String]) async throws -> Bench {
      let bench = try Bench()
      try await bench.fill(steps)
      return bench
    }

    private func fill(_ steps: [String]) async throws {
      let tree = folder.path.appending("tree").string
      let script = """
        set -e
        mkdir -p "$1/bash/bin" "$1/bash/out/lib" "$1/glibc/out/lib" "$2/store" "$2/pkgs/sample"
        for program in bash sleep stty cat id mkdir chmod mkfifo; do cp -L "$(command -v $program)" "$1/bash/bin"; done
        ln -s bash "$1/bash/bin/sh"
        for program in "$1"/bash/bin/*; do ldd "$program"; done | sed -n 's/.*=> \\(\\/[^ ]*\\).*/\\1/p' | sort -u |
          while read library; do cp -L "$library" "$1/bash/out/lib"; done
        cp -L /lib64/ld-linux-x86-64.so.2 "$1/glibc/out/lib"
        for name in bash glibc; do
          mksquashfs "$1/$name" "$2/store/$name-amd64-1-1.squashfs" -all-root -quiet -no-progress
          echo 'version: "1-1"' >"$2/store/$name-amd64-1-1.meta.textproto"
        done
        """
      let made = try await ToolProcess.run("sh", ["-c", script, "sh", tree, folder.path.string])
      try #require(made.status == 0, "\(made.errors)")
      let text = steps.map { "build_step: { argv: \"sh\" argv: \"-c\" argv: \"\($0)\" }\n" }.joined()
      try Data("source: \"empty://\"\nversion: \"1-1\"\ndep: \"bash\"\ndep: \"glibc\"\n\(text)".utf8)
        .write(to: URL(filePath: folder.path.appending("pkgs/sample/build.textproto").string))
    }

    var options: [String] {
      ["--definitions", "\(folder.path)/pkgs", "--store", "\(folder.path)/store", "--work", "\(folder.path)/work"]
    }

    /// Talks to the tool on a terminal.
    func talk(_ command: String, _ script: [[Any]], _ more: [String] = []) async throws -> String {
      let talker = FilePath(#filePath).removingLastComponent().appending("terminal.py").string
      let json = String(decoding: try JSONSerialization.data(withJSONObject: script), as: UTF8.self)
      let tool = ToolProcess.binaries.appending("distri-build").string
      return try await ToolProcess.run(
        "python3", [talker, json, tool, command] + options + ["sample"] + more,
        environment: ["TMPDIR": folder.path.string, "TERM": "dumb"]
      ).output
    }
  }

  @Test func `env runs a command, and prints the environment`() async throws {
    let bench = try await Bench.make(steps: ["true"])
    let script = "id -u; pwd; cat /proc/1/comm; echo $HOME; exit 7"
    let command = try await ToolProcess.run(
      "distri-build", ["env"] + bench.options + ["sample", "--", "sh", "-c", script], input: "")
    #expect(command.output == "0\n/build\nsandbox\n/tmp\n" && command.status == 7, "\(command.errors)")
    let printed = try await ToolProcess.run("distri-build", ["env"] + bench.options + ["sample", "--print"])
    #expect(printed.status == 0 && printed.output.contains("\nPATH=/ro/bin:/bin\n") && printed.output.contains("\nTZ=UTC\n"))
    let left = try? FileManager.default.contentsOfDirectory(atPath: "\(bench.folder.path)/work/env/sample")
    #expect(left?.allSatisfy { $0.hasSuffix(".log") } ?? true)
    let limited = try await ToolProcess.run(
      "distri-build", ["env"] + bench.options + ["--timeout", "1s", "sample", "--", "sleep", "1000"])
    #expect(limited.status == 1 && limited.errors.contains("step «sleep 1000» came to its limit of 1 second"), "\(limited.errors)")
  }

  @Test func `the shell has job control, follows the terminal's size, and leaves the terminal as it was`() async throws {
    let bench = try await Bench.make(steps: ["true"])
    let output = try await bench.talk(
      "env",
      [
        ["build# ", "sh -c 'trap \"echo con\\\"\\\"tinued\" CONT; echo rea\"\"dy; while sleep 1; do :; done'\n"],
        ["ready", "\u{1a}"], ["Stopped[^#]*# ", "fg; echo en\"\"ded\n"],
        // What fg says of the job comes before the terminal is the job's.
        ["continued", "\u{3}"], ["# ", "echo \"again\"\n"], ["\nagain", [33, 111]],
        ["", "until [ \"$(stty size)\" = '33 111' ]; do :; done; echo si\"\"zed\n"], ["\nsized", "exit 5\n"],
      ])
    #expect(output.hasSuffix("ended with 5, terminal restored\n"), "\(output)")
    #expect(!output.contains("\nended\n"))
  }

  @Test func `a failed step offers a shell, and the build fails all the same`() async throws {
    let bench = try await Bench.make(steps: ["echo half > /build/state; echo words of the step; exit 3"])
    let output = try await bench.talk(
      "build", [["where it failed\\? \\[y/N\\] ", "y\n"], ["build# ", "cat state\n"], ["\nhalf", "exit\n"]])
    #expect(output.contains("  | words of the step\n"))
    #expect(output.hasSuffix("ended with 1, terminal restored\n"), "\(output)")
    let declined = try await bench.talk("build", [["where it failed\\? \\[y/N\\] ", "\n"]])
    #expect(!declined.contains("build# ") && declined.hasSuffix("ended with 1, terminal restored\n"), "\(declined)")
  }

  @Test func `shells open at the stages that were named`() async throws {
    let bench = try await Bench.make(steps: [
      "mkdir -p ${DISTRI_DESTDIR}${DISTRI_PREFIX}/share/x; echo 1 > ${DISTRI_DESTDIR}${DISTRI_PREFIX}/share/x/y"
    ])
    let output = try await bench.talk(
      "build",
      [
        ["before its first step[^#]*# ", "exit\n"],
        ["after its last step[^#]*# ", "echo 23 > /dest/tmp/ro/sample-amd64-1-1/out/share/x/y; exit\n"],
        ["package in its place[^#]*# ", "cat /ro/sample-amd64-1-1/out/share/x/y\n"], ["\n23", "exit\n"],
      ], ["--debug", "before-steps", "--debug", "after-steps", "--debug", "after-install"])
    #expect(output.hasSuffix("sample-amd64-1-1\n\nended with 0, terminal restored\n"), "\(output)")
    let refused = try await ToolProcess.run("distri-build", ["build"] + bench.options + ["--debug", "failure", "sample"])
    #expect(refused.status == 64 && refused.errors.contains("--debug needs a terminal"))
  }

  @Test func `what steps leave is refused or changed by name`() async throws {
    let share = "${DISTRI_DESTDIR}${DISTRI_PREFIX}/share"
    let steps = ["mkdir -p \(share); echo 1 > \(share)/a; chmod 6755 \(share)/a", "mkfifo \(share)/pipe"]
    let refused = try await Bench.make(steps: steps)
    let first = try await ToolProcess.run("distri-build", ["build"] + refused.options + ["sample"])
    #expect(first.status == 65 && first.errors.contains("installed files: out/share/pipe is a named pipe; "), "\(first.errors)")
    let cleaned = try await Bench.make(steps: [steps[0]])
    let second = try await ToolProcess.run("distri-build", ["build"] + cleaned.options + ["sample"])
    #expect(second.output == "sample-amd64-1-1\n")
    #expect(
      second.errors.contains("\n  out/share/a: setuid bit cleared; ") && second.errors.contains("\n  out/share/a: setgid bit"))
    let image = "\(cleaned.folder.path)/store/sample-amd64-1-1.squashfs"
    let listing = try await ToolProcess.run("unsquashfs", ["-lln", image, "out/share/a"])
    #expect(listing.output.contains("-rwxr-xr-x 0/0"), "\(listing.output)\(listing.errors)")
    // Nobody else gets at what the steps made.
    let work = try FileManager.default.attributesOfItem(atPath: "\(refused.folder.path)/work/sample/amd64-1-1")
    #expect(work[.posixPermissions] as? Int == 0o700)
  }

  @Test func `everything that a build has started ends with a killed tool`() async throws {
    let bench = try await Bench.make(steps: ["true"])
    let process = Process()
    process.executableURL = URL(filePath: ToolProcess.binaries.appending("distri-build").string)
    process.arguments =
      ["env"] + bench.options + ["sample", "--", "sh", "-c", "(trap '' HUP TERM; exec sleep 1000) & echo started; sleep 1000"]
    process.environment = ProcessInfo.processInfo.environment.merging(["TMPDIR": bench.folder.path.string]) { $1 }
    let output = Pipe()
    process.standardOutput = output
    process.standardInput = FileHandle.nullDevice
    try process.run()
    let data = try #require(try output.fileHandleForReading.read(upToCount: 8))
    #expect(String(decoding: data, as: UTF8.self) == "started\n")
    kill(process.processIdentifier, SIGKILL)
    // The end of file: nobody has the pipe any more.
    #expect(try output.fileHandleForReading.readToEnd() ?? Data() == Data())
    process.waitUntilExit()
    for name in try FileManager.default.contentsOfDirectory(atPath: bench.folder.path.string) where name.hasPrefix("distri-build-")
    {
      umount2("\(bench.folder.path)/\(name)", Int32(MNT_DETACH))
    }
  }
}
