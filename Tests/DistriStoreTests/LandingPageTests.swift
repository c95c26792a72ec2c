// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore
import SystemPackage
import TestSupport
import Testing

@Suite struct LandingPageTests {
  private func example(storePath: FilePath, treePath: FilePath) async throws -> [UInt8]? {
    // Documentation.docc/DistriStore.md:
    // 1. A store is a directory; the first transaction makes it.
    let store = try LocalStore(path: storePath)
    let package = try PackageID(parsing: "hello-amd64-2.12-1")

    // 2. Pack a directory, all of it owned by root, and commit it with its metadata.
    try await store.transaction { area in
      var tree = try DirectoryTree(path: treePath, options: .init(owner: (0, 0)))
      try area.stage(&tree, of: package)
      try area.stage(PackageMetadata(sourcePackage: "hello", version: package.version), of: package)
    }

    // 3. Ask for the newest version, as a person would, and open its image.
    let image = try store.image(of: try store.resolve("hello"))

    // 4. Read a file of it.
    guard let node = try image.node(at: try TreePath(parsing: "out/share/greeting")) else { return nil }
    return try image.contents(of: node, limit: 1 << 20)
  }

  @Test func `the example of the documentation is this code, and works`() async throws {
    let folder = try TemporaryDirectory()
    try await shell("mkdir -p tree/out/share && printf hello > tree/out/share/greeting && chown -R 9:9 tree", in: folder.path)
    let greeting = try await example(storePath: folder.path.appending("store"), treePath: folder.path.appending("tree"))
    #expect(greeting == Array("hello".utf8))

    let root = FilePath(#filePath).removingLastComponent().removingLastComponent().removingLastComponent()
    func text(_ path: FilePath) throws -> String { String(decoding: try bytes(of: path), as: UTF8.self) }
    let page = try text(root.appending("Sources/DistriStore/Documentation.docc/DistriStore.md"))
    let shown = try #require(page.split(separator: "```swift\n").last?.split(separator: "```").first)
    let source = try text(FilePath(#filePath))
    let code = try #require(
      source.split(separator: "// Documentation.docc/DistriStore.md:\n").dropFirst().first?.split(separator: "\n  }\n").first)
    let lines = { (text: Substring) in text.split(separator: "\n").map { $0.drop { $0 == " " } }.filter { !$0.isEmpty } }
    #expect(lines(shown) == lines(code))
  }
}
