// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore
import SystemPackage
import TestSupport
import Testing

@Suite struct DirectoryTreeTests {
  @Test func `entries come sorted bytewise, parents first, links last`() async throws {
    let folder = try TemporaryDirectory()
    try await shell(
      "mkdir -p t/b t/B t/b.d && cd t && : > b/z && ln b/z B/a && ln -s /etc/passwd b/link && ln -P b/link b/more && : > é",
      in: folder.path)
    let tree = try TreeSnapshot(directory: folder.path.appending("t"))
    #expect(tree.order.map(\.description) == [".", "B", "B/a", "b", "b/link", "b/more", "b/z", "b.d", "é"])
    #expect(tree["b/z"]?.entry.kind == .hardLink(to: try TreePath(parsing: "B/a")))
    #expect(tree["b/link"]?.entry.kind == .symbolicLink(target: Array("/etc/passwd".utf8)))
    #expect(tree["b/more"]?.entry.kind == .symbolicLink(target: Array("/etc/passwd".utf8)))
  }

  @Test func `modes, owners, times, attributes and special files are those of the host`() async throws {
    let folder = try TemporaryDirectory()
    try await shell(
      """
      mkdir t && cd t && cp /bin/true p && chown 3:4 p && chmod 6711 p && setcap cap_chown=ep p && setfattr -n user.x -v y p
      mknod b b 7 300 && mknod c c 259 70000 && mkfifo f && python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind("s")'
      touch -d @-5 p
      """, in: folder.path)
    let tree = try TreeSnapshot(directory: folder.path.appending("t"))
    let program = try #require(tree["p"]?.entry)
    #expect(program.permissions == 0o6711 && program.userID == 3 && program.groupID == 4 && program.modificationTime == -5)
    #expect(program.extendedAttributes.map { String(decoding: $0.name, as: UTF8.self) } == ["security.capability", "user.x"])
    #expect(program.extendedAttributes.last?.value == Array("y".utf8))
    #expect(tree["b"]?.entry.kind == .blockDevice(major: 7, minor: 300))
    #expect(tree["c"]?.entry.kind == .characterDevice(major: 259, minor: 70000))
    #expect(tree["f"]?.entry.kind == .fifo)
    #expect(tree["s"]?.entry.kind == .socket)
  }

  @Test func `entries can be given to root, changed and left out`() async throws {
    let folder = try TemporaryDirectory()
    try await shell("mkdir -p t/skip/deep t/keep && : > t/skip/deep/f && printf abc > t/keep/f && chown -R 9:9 t", in: folder.path)
    let options = DirectoryTree.Options(owner: (0, 0)) { entry in
      if entry.path.description == "skip" { return nil }
      var entry = entry
      entry.modificationTime = 42
      return entry
    }
    var tree = try DirectoryTree(path: folder.path.appending("t"), options: options)
    let snapshot = try TreeSnapshot(&tree)
    #expect(snapshot.order.map(\.description) == [".", "keep", "keep/f"])
    #expect(snapshot.items.values.allSatisfy { $0.entry.userID == 0 && $0.entry.groupID == 0 && $0.entry.modificationTime == 42 })
    #expect(snapshot["keep/f"]?.contents == Array("abc".utf8))
  }

  @Test func `contents can be taken from the descriptor, and a file that shrinks is an error`() async throws {
    let folder = try TemporaryDirectory()
    try await shell("mkdir t && head -c 3000000 /dev/urandom > t/f", in: folder.path)
    var tree = try DirectoryTree(path: folder.path.appending("t"))
    _ = try tree.next()
    #expect(throws: StoreError.self) { try tree.contentsDescriptor() }
    let entry = try #require(try tree.next())
    #expect(entry.kind == .regular(byteCount: 3_000_000))
    var start = [UInt8](repeating: 0, count: 100)
    let file = try tree.contentsDescriptor()
    #expect(try start.withUnsafeMutableBytes { try file.read(fromAbsoluteOffset: 0, into: $0) } == 100)
    #expect(start == Array(try bytes(of: folder.path.appending("t/f")).prefix(100)))
    try await shell("truncate -s 1000 t/f", in: folder.path)
    #expect(throws: StoreError.self) { try tree.readContents(limit: .max) }
  }

  @Test func `a tree that is too deep or absent is an error`() async throws {
    let folder = try TemporaryDirectory()
    try await shell("p=t; for i in $(seq 300); do p=$p/d; done; mkdir -p $p", in: folder.path)
    let error = #expect(throws: StoreError.self) { try TreeSnapshot(directory: folder.path.appending("t")) }
    #expect(error?.description.contains("deeper than 256") == true)
    let absent = folder.path.appending("absent")
    #expect(throws: StoreError.system(operation: "open", path: absent, .noSuchFileOrDirectory)) { try DirectoryTree(path: absent) }
  }
}
