// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import FSTestSupport
import SystemPackage
import TestSupport
import Testing

extension MountTests {
  @Suite struct ExchangeSelectionTests {
    @Test func `--exchange feeds the exchange directories from some packages only, and shows all`() async throws {
      let store = try TestStore()
      for name in ["a", "b", "c"] { try await store.add("\(name)-amd64-1-1", ["bin/\(name)": name, "bin/same": name]) }
      let daemon = try await FuseProcess(store, ["--exchange", "b,c"])
      let root = daemon.mountPoint
      #expect(try await onThread { try TreeRecord.names(in: root.appending("bin")) }.sorted() == ["b", "c", "same"])
      #expect(try await onThread { try TreeRecord.bytes(of: root.appending("bin/same")) } == Array("b".utf8))
      #expect(try await onThread { try TreeRecord.bytes(of: root.appending("a-amd64-1-1/bin/a")) } == Array("a".utf8))
      #expect(try await daemon.end() == 0)
      let unknown = try await ToolProcess.run(
        "distri-fuse", ["mount", "--exchange", "zsh", store.path.string, store.mountPoint.string])
      #expect(unknown.status == 66, "an unknown package is an error that names it: \(unknown.errors)")
    }
  }
}
