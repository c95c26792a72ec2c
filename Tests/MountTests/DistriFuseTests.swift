// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriFS
import FSTestSupport
import Foundation
import SystemPackage
import TestSupport
import Testing

extension MountTests {
  @Suite struct DistriFuseTests {
    private func mounted(_ store: TestStore) throws -> Bool {
      try MountTable.current().entry(at: Mount.canonical(store.mountPoint)) != nil
    }

    private func facts(_ outcome: ToolProcess.Outcome) -> [String] { ["\(outcome.status)", outcome.output, outcome.errors] }

    @Test func `mount returns when the view answers, status describes it, unmount ends it`() async throws {
      let store = try TestStore()
      try await store.add("nano-amd64-7.2-1", ["bin/nano": "nano"])
      let mount = try await ToolProcess.run("distri-fuse", ["mount", store.path.string, store.mountPoint.string])
      #expect(facts(mount) == ["0", "", ""])
      #expect(try await onThread { try TreeRecord.bytes(of: store.mountPoint.appending("bin/nano")) } == Array("nano".utf8))
      let path = Mount.canonical(store.mountPoint)
      let status = try await ToolProcess.run("distri-fuse", ["status", store.mountPoint.string])
      #expect(status.output.hasPrefix("\(path): \(Mount.canonical(store.path)), 1 packages, supervised by "))
      #expect(status.output.hasSuffix("\n") && status.output.split(separator: "\n").count == 1)
      let json = try await ToolProcess.run("distri-fuse", ["status", "--json", store.mountPoint.string])
      #expect(json.output.contains("\"packages\" : 1"))
      let again = try await ToolProcess.run("distri-fuse", ["mount", store.path.string, store.mountPoint.string])
      #expect(again.status == 75)
      #expect(again.errors.contains("already"))
      let unmount = try await ToolProcess.run("distri-fuse", ["unmount", store.mountPoint.string])
      #expect(facts(unmount) == ["0", "", ""])
      #expect(try !mounted(store))
      #expect(try await ToolProcess.run("distri-fuse", ["status", store.mountPoint.string]).status == 66)
    }

    @Test(arguments: [SIGTERM, SIGINT, SIGKILL])
    func `a signal unmounts, and a dead view is cleared away by the next mount`(signal: Int32) async throws {
      let store = try TestStore()
      try await store.add("nano-amd64-7.2-1", ["bin/nano": "nano"])
      let process = Process()
      process.executableURL = URL(fileURLWithPath: ToolProcess.binaries.appending("distri-fuse").string)
      process.arguments = ["mount", "--foreground", store.path.string, store.mountPoint.string]
      try process.run()
      #expect(try await eventually { FileManager.default.fileExists(atPath: store.mountPoint.appending("bin/nano").string) })
      let server = SupervisedMount.server(of: process.processIdentifier)
      kill(process.processIdentifier, signal)
      try await onThread { process.waitUntilExit() }
      if signal == SIGKILL {
        // The server alone goes on.
        #expect(try await onThread { try TreeRecord.bytes(of: store.mountPoint.appending("bin/nano")) } == Array("nano".utf8))
        let last = try #require(server)
        kill(last, SIGKILL)
        #expect(try await eventually { SupervisedMount.hasEnded(last) })
        #expect(try mounted(store))
        #expect(try await ToolProcess.run("distri-fuse", ["status", store.mountPoint.string]).status == 69)
        #expect(try await ToolProcess.run("distri-fuse", ["mount", store.path.string, store.mountPoint.string]).status == 0)
        #expect(try await onThread { try TreeRecord.bytes(of: store.mountPoint.appending("bin/nano")) } == Array("nano".utf8))
        #expect(try await ToolProcess.run("distri-fuse", ["unmount", store.mountPoint.string]).status == 0)
      } else {
        #expect(process.terminationStatus == 0)
      }
      #expect(try !mounted(store))
    }

    @Test func `run shows the store's packages and passes the exit status on`() async throws {
      let store = try TestStore()
      // The host's programs with their libraries, laid out as a package.
      let tree = store.file("tree")
      let script = """
        set -e
        mkdir -p "$1/bin" "$1/out/lib" "$1/out/lib64"
        for name in sh ls readlink cat; do cp -L "$(command -v $name)" "$1/bin/$name"; done
        ldd "$1"/bin/* | awk '/=> \\//{ print $3 }' | sort -u | xargs cp -L -t "$1/out/lib"
        cp -L "$(ldd "$1/bin/sh" | grep -o '/lib[^ ]*/ld-linux[^ ]*')" "$1/out/lib64"
        """
      let made = try await ToolProcess.run("sh", ["-c", script, "sh", tree.string])
      try #require(made.status == 0, "\(made.errors)")
      try await store.makeImage("sh-amd64-1-1", of: tree)
      try store.publish("sh-amd64-1-1")
      func run(_ script: String) async throws -> ToolProcess.Outcome {
        try await ToolProcess.run(
          "distri-fuse", ["run", "--store", store.path.string, "--", "sh", "-c", script], in: store.file(""))
      }
      let seen = try await run("readlink /bin /usr/bin /lib /lib64; ls /ro; pwd; cat < /etc/hostname >/dev/null; exit 7")
      #expect(seen.errors == "")
      #expect(
        seen.output
          == "/ro/bin\n/ro/bin\n/ro/lib\n/ro/lib64\nbin\ndebug\ngames\ngopath\ninclude\nlib\nlib64\nlibexec\nopt\nsh-amd64-1-1\nshare\n"
          + "\(Mount.canonical(store.file("")))\n")
      #expect(seen.status == 7)
      #expect(try await run("kill -9 $$").status == 137)
      let missing = try await ToolProcess.run("distri-fuse", ["run", "--store", store.path.string, "--", "no-such-program"])
      #expect(missing.status == 127)
      #expect(try MountTable.current().entries.allSatisfy { $0.source != Mount.canonical(store.path).string })
    }

    @Test func `conflicts are listed, and errors name what to do`() async throws {
      let store = try TestStore()
      try await store.add("a-amd64-1-1", ["bin/x": "a"])
      try await store.add("b-amd64-1-1", ["bin/x": "b"])
      let conflicts = try await ToolProcess.run("distri-fuse", ["conflicts", store.path.string])
      #expect(facts(conflicts) == ["0", "bin/x\ta-amd64-1-1\tb-amd64-1-1\n", ""])
      let missing = try await ToolProcess.run("distri-fuse", ["mount", store.path.string, store.file("nowhere").string])
      #expect(missing.status == 66)
      #expect(missing.errors.contains("make the directory first"))
      let unknown = try await ToolProcess.run(
        "distri-fuse", ["mount", "--packages", "zsh", store.path.string, store.mountPoint.string])
      #expect(unknown.status == 66)
      #expect(try await ToolProcess.run("distri-fuse", ["mount"]).status == 64)
    }
  }
}
