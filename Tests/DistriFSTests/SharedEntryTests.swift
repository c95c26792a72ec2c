// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriFS
import DistriStore
import FSTestSupport
import Testing

@Suite struct SharedEntryTests {
  @Test func `shared entries are what a mount shows besides packages' files`() async throws {
    let store = try TestStore()
    for (name, files) in [
      "b-amd64-1-1": ["bin/x": "", "bin/y": "", "out/lib/deep/er/f": "", "out/share/mixed": ""],
      "a-amd64-1-1": ["bin/x": "", "out/share/mixed/inside": "", "out/lib/plugins/own": ""],
      "a-amd64-2-1": ["bin/x": "", "out/lib/plugins/own": ""], "left-out-amd64-1-1": ["bin/z": ""],
    ] {
      try await store.add(name, files)
    }
    try await store.makeImage("plug-amd64-1-1", ["out/lib/plugins/more": ""])
    try store.publish(
      "plug-amd64-1-1", metadata: "version: \"1\"\nruntime_union { dir: \"lib/plugins\" pkg: \"a-amd64-2-1\" }\n")
    let only = try ["b-amd64-1-1", "a-amd64-1-1", "a-amd64-2-1", "plug-amd64-1-1"].map { try PackageID(parsing: $0) }
    let fileSystem = try PackageFileSystem(store: store.local, only: only)
    let shared = fileSystem.view.sharedEntries
    #expect(shared.map(\.path).count == Set(shared.map(\.path)).count)

    let plugin = "/a-amd64-2-1/out/lib/plugins/more"
    let isOfPackage = { (path: String) in only.contains { path == "/\($0)" || path.hasPrefix("/\($0)/") } && path != plugin }
    // Of the walk: without listings, and without the numbers of links.
    let walked = try contents(fileSystem).filter { !$0.key.hasSuffix("/") && !isOfPackage($0.key) }.mapValues { text in
      let words = text.split(separator: " ", omittingEmptySubsequences: false)
      return words[0] == "directory" ? nil : String(words[2])
    }
    let told = Dictionary(
      uniqueKeysWithValues: shared.map { ("/\($0.path)", $0.target.map { String(decoding: $0, as: UTF8.self) }) })
    #expect(told == walked)
    #expect(told["/bin/x"] == "../a-amd64-2-1/bin/x" && told[plugin] == "../../../../plug-amd64-1-1/out/lib/plugins/more")
    #expect(told["/bin/z"] == nil)
  }
}
