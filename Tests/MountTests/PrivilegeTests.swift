// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriFS
import FSTestSupport
import Foundation
import SystemPackage
import TestSupport
import Testing

extension MountTests {
  /// What packages may give to an ordinary user: with `--privileged` what their files say, without it nothing.
  @Suite struct PrivilegeTests {
    /// A store with programs of this machine that say what they may do.
    private func makeStore() async throws -> TestStore {
      let store = try TestStore()
      try await succeed("chmod", ["755", store.mountPoint.removingLastComponent().string])
      let tree = store.file("tree").string
      let script = """
        mkdir -p "$1/bin" && cd "$1/bin"
        cp /usr/bin/id suid; chmod 4755 suid; cp /usr/bin/id sgid; chgrp 42 sgid; chmod 2755 sgid; cp /usr/bin/id plain
        cp /usr/bin/cat raw; setcap cap_net_raw+ep raw; cp /usr/bin/cat bind; setcap cap_net_bind_service+ep bind
        mknod null c 1 3; chmod 666 null
        """
      try await succeed("bash", ["-ec", script, "sh", tree])
      try await store.makeImage("tools-amd64-1-1", of: store.file("tree"))
      try store.publish("tools-amd64-1-1")
      return store
    }

    private func asNobody(_ command: [String]) async throws -> ToolProcess.Outcome {
      try await ToolProcess.run("setpriv", ["--reuid", "65534", "--regid", "65534", "--clear-groups"] + command)
    }

    private func effectiveCapabilities(_ program: FilePath) async throws -> String {
      let outcome = try await asNobody([program.string, "/proc/self/status"])
      let line = outcome.output.split(separator: "\n").first { $0.hasPrefix("CapEff:") }
      return line?.split(separator: "\t").last.map(String.init) ?? outcome.errors
    }

    @Test(arguments: [true, false])
    func `setuid bits, capabilities and devices count with --privileged only`(isPrivileged: Bool) async throws {
      let store = try await makeStore()
      let daemon = try await FuseProcess(store, isPrivileged ? ["--privileged"] : [])
      let bin = daemon.mountPoint.appending("tools-amd64-1-1/bin")
      #expect(try await asNobody([bin.appending("suid").string, "-u"]).output == (isPrivileged ? "0\n" : "65534\n"))
      #expect(try await asNobody([bin.appending("sgid").string, "-g"]).output == (isPrivileged ? "42\n" : "65534\n"))
      #expect(try await asNobody([bin.appending("plain").string, "-u"]).output == "65534\n")
      #expect(try await effectiveCapabilities(bin.appending("raw")) == (isPrivileged ? "0000000000002000" : "0000000000000000"))
      #expect(try await effectiveCapabilities(bin.appending("bind")) == (isPrivileged ? "0000000000000400" : "0000000000000000"))
      // Through the exchange directory's link, too.
      let link = daemon.mountPoint.appending("bin/raw")
      #expect(try await effectiveCapabilities(link) == (isPrivileged ? "0000000000002000" : "0000000000000000"))
      // What is written is there either way: only its effect differs.
      let written = try await succeed("getcap", [bin.appending("raw").string, bin.appending("bind").string])
      #expect(written == "\(bin)/raw cap_net_raw=ep\n\(bin)/bind cap_net_bind_service=ep\n")
      let device = try await asNobody(["sh", "-c", "cat \"$1\"", "sh", bin.appending("null").string])
      #expect((device.status == 0) == isPrivileged, "\(device.errors)")
      #expect(try await daemon.end() == 0)
    }
  }
}
