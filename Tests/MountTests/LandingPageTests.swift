// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriFS
import DistriStore
import FSTestSupport
import SystemPackage
import Testing

extension MountTests {
  @Suite struct LandingPageTests {
    private func example(storePath: FilePath, mountPoint: FilePath) async throws {
      // Documentation.docc/DistriFS.md:
      // 1. Open a store.
      let store = try LocalStore(path: storePath)

      // 2. Make its view: of all packages, or of a few.
      let view = try PackageFileSystem(store: store)

      // 3. Mount it. The mount answers when the body starts, and is gone when the body ends.
      try await withMount(of: view, at: mountPoint) { mount in

        // 4. Stay until somebody unmounts it.
        await mount.waitUntilUnmounted()
      }
      // The end.
    }

    @Test func `the example of the documentation is this code, and works`() async throws {
      let store = try TestStore()
      try await store.add("hello-amd64-1-1", ["bin/hello": "hello"])
      let (path, point) = (store.path, store.mountPoint)
      async let ended: Void = example(storePath: path, mountPoint: point)
      let file = point.appending("bin/hello")
      #expect(try await eventually { (try? TreeRecord.bytes(of: file)) == Array("hello".utf8) })
      try Mount.unmount(point)
      try await ended

      let root = FilePath(#filePath).removingLastComponent().removingLastComponent().removingLastComponent()
      func text(_ path: FilePath) throws -> String { String(decoding: try TreeRecord.bytes(of: path), as: UTF8.self) }
      let page = try text(root.appending("Sources/DistriFS/Documentation.docc/DistriFS.md"))
      let shown = try #require(page.split(separator: "```swift\n").last?.split(separator: "```").first)
      let source = try text(FilePath(#filePath))
      let code = try #require(
        source.split(separator: "      // Documentation.docc/DistriFS.md:\n").dropFirst().first?.split(separator: "// The end.")
          .first)
      let lines = { (text: Substring) in text.split(separator: "\n").map { $0.drop { $0 == " " } }.filter { !$0.isEmpty } }
      #expect(lines(shown) == lines(code))
    }
  }
}
