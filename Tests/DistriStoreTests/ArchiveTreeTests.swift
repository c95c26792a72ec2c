// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriArchive
import DistriStore
import SystemPackage
import TestSupport
import Testing

@Suite struct ArchiveTreeTests {
  /// A tree with everything that all formats can carry.
  static let plain = """
    mkdir -p tree/dir/sub && cd tree
    printf hello > dir/a && chmod 4755 dir/a
    ln -s ../elsewhere dir/link
    : > empty
    head -c 300000 /dev/urandom > big && chown 12:34 big
    printf x > näme
    printf deep > dir/sub/file && chmod 0 dir/sub/file
    printf long > $(printf 'n%.0s' {1..90})
    find . -exec touch -h -d @1700000000 {} +
    """

  /// What only tar can carry.
  static let rich = """
    cd tree
    ln dir/a dir/sub/b
    mkfifo pipe && mknod null c 1 3
    truncate -s 3M hole
    truncate -s 2M sparse && printf middle >> sparse && truncate -s 5M sparse
    printf long > $(printf 'n%.0s' {1..200})
    setfattr -n user.note -v 'a value' big
    setfattr -n user.note -v directory dir
    cp /bin/true program && setcap cap_net_raw+ep program
    find . -exec touch -h -d @1700000000 {} +
    """

  @Test(arguments: [
    "", "--gzip", "--bzip2", "--xz", "--lzma", "--zstd", "--use-compress-program=lz4",
  ])
  func `a tar holds what went into it, whatever compresses it`(compression: String) async throws {
    let folder = try TemporaryDirectory()
    try await shell(Self.plain, in: folder.path)
    try await shell("tar --format=gnu \(compression) -cf archive -C tree .", in: folder.path)
    let archive = try TreeSnapshot(archive: folder.path.appending("archive"))
    let tree = try TreeSnapshot(directory: folder.path.appending("tree"))
    #expect(archive.items.count == 10)
    #expect(archive == tree, "\(archive.differences(from: tree))")
  }

  @Test(arguments: ["gnu", "pax"]) func `tar's special entries are read`(format: String) async throws {
    let folder = try TemporaryDirectory()
    try await shell(Self.plain, in: folder.path)
    try await shell(Self.rich, in: folder.path)
    let attributes = format == "pax" ? "--xattrs --xattrs-include='*'" : ""
    try await shell("tar --sort=name --format=\(format) \(attributes) -S -cf archive -C tree .", in: folder.path)
    let archive = try TreeSnapshot(archive: folder.path.appending("archive"))
    var tree = try TreeSnapshot(directory: folder.path.appending("tree"))
    if format == "gnu" {
      for path in tree.items.keys { tree.items[path]?.entry.extendedAttributes = [] }
    } else {
      #expect(archive["program"]?.entry.extendedAttributes.first?.name == Array("security.capability".utf8))
    }
    #expect(archive["sparse"]?.contents.count == 5 << 20)
    #expect(archive["dir/sub/b"]?.entry.kind == .hardLink(to: try TreePath(parsing: "dir/a")))
    #expect(archive == tree, "\(archive.differences(from: tree))")
  }

  @Test(arguments: ["newc", "crc", "odc"]) func `cpio is read`(format: String) async throws {
    let folder = try TemporaryDirectory()
    try await shell(Self.plain, in: folder.path)
    try await shell("cd tree && find . -print0 | cpio --quiet -0 -o -H \(format) | gzip > ../archive", in: folder.path)
    let archive = try TreeSnapshot(archive: folder.path.appending("archive"))
    let tree = try TreeSnapshot(directory: folder.path.appending("tree"))
    #expect(archive == tree, "\(archive.differences(from: tree))")
  }

  @Test func `a hard link with contents is refused, not lost`() async throws {
    let folder = try TemporaryDirectory()
    try await shell("printf x > a && ln a b && printf 'a\\nb\\n' | cpio --quiet -o -H newc > archive", in: folder.path)
    let error = #expect(throws: StoreError.self) { try TreeSnapshot(archive: folder.path.appending("archive")) }
    #expect(error?.description.contains("«b»: a hard link with contents") == true)
  }

  @Test func `zip is read, with modes and links`() async throws {
    let folder = try TemporaryDirectory()
    try await shell(Self.plain, in: folder.path)
    try await shell("cd tree && zip -q -r -y ../archive.zip .", in: folder.path)
    let archive = try TreeSnapshot(archive: folder.path.appending("archive.zip"))
    var tree = try TreeSnapshot(directory: folder.path.appending("tree"))
    tree.items["."] = nil
    #expect(archive == tree, "\(archive.differences(from: tree))")
  }

  @Test func `names need not be UTF-8`() async throws {
    let folder = try TemporaryDirectory()
    try await shell("mkdir tree && printf y > tree/$'\\xff\\xfe' && tar --format=gnu -cf archive tree", in: folder.path)
    let archive = try TreeSnapshot(archive: folder.path.appending("archive"))
    #expect(archive.order.last?.bytes == Array("tree/".utf8) + [0xff, 0xfe])
  }

  @Test func `upstream's wrapping directory can be stripped`() async throws {
    let folder = try TemporaryDirectory()
    try await shell(
      """
      mkdir -p nano-7.2/src && printf a > nano-7.2/src/nano.c && ln nano-7.2/src/nano.c nano-7.2/again
      printf stray > README
      tar --sort=name --xz -cf archive nano-7.2 README
      """, in: folder.path)
    let archive = try TreeSnapshot(archive: folder.path.appending("archive"), strippingComponents: 1)
    #expect(archive.order.map(\.description) == ["again", "src", "src/nano.c"])
    #expect(archive["src/nano.c"]?.entry.kind == .hardLink(to: try TreePath(parsing: "again")))
  }

  @Test func `absolute names become relative`() throws {
    let folder = try TemporaryDirectory()
    var tar = TarBuilder()
    tar.file("/a//b/./d", "d")
    tar.symbolicLink("a/l", to: "/absolute")
    tar.hardLink("h", to: "/a/b/d")
    try write(tar.finished, to: folder.path.appending("archive"))
    let archive = try TreeSnapshot(archive: folder.path.appending("archive"))
    #expect(archive.order.map(\.description) == ["a/b/d", "a/l", "h"])
    #expect(archive["h"]?.entry.kind == .hardLink(to: try TreePath(parsing: "a/b/d")))
    #expect(archive["a/l"]?.entry.kind == .symbolicLink(target: Array("/absolute".utf8)))
  }

  @Test(arguments: Hostile.all) func `an entry that would leave the tree is an error that names it`(hostile: Hostile) throws {
    let folder = try TemporaryDirectory()
    let path = folder.path.appending("archive")
    try write(hostile.archive, to: path)
    let error = #expect(throws: StoreError.self) { try TreeSnapshot(archive: path) }
    guard case .invalidArchive(path, let entry, _) = error else { throw Hostile.Unexpected(error: error) }
    #expect(entry?.hasPrefix(hostile.entry) == true)
  }

  /// Archives that must not be read to their end.
  struct Hostile: Sendable, CustomTestStringConvertible {
    var testDescription: String
    var entry: String
    var archive: [UInt8]

    init(_ description: String, entry: String, _ build: (inout TarBuilder) -> Void) {
      testDescription = description
      self.entry = entry
      var tar = TarBuilder()
      build(&tar)
      archive = tar.finished
    }

    struct Unexpected: Error { var error: StoreError? }

    static let all = [
      Hostile("parent", entry: "../f") { $0.file("../f", "x") },
      Hostile("parent inside", entry: "a/../../f") { $0.file("a/../../f", "x") },
      Hostile("hard link out", entry: "h") { $0.hardLink("h", to: "../../etc/passwd") },
      Hostile("hard link to the root", entry: "h") { $0.hardLink("h", to: "./") },
      Hostile("name of 300 bytes", entry: "nnn") { $0.longNamedFile(String(repeating: "n", count: 300), "x") },
      Hostile("path of 5000 bytes", entry: "d/d/d") { $0.longNamedFile(String(repeating: "d/", count: 2500), "x") },
      Hostile("257 levels", entry: "d/d/d") { $0.longNamedFile(String(repeating: "d/", count: 257), "x") },
      Hostile("eight exabytes", entry: "big") { $0.add("big", type: "0", announced: 0x7fff_ffff_ffff_f000) },
      Hostile("cut short", entry: "f") { $0.add("f", type: "0", contents: Array("abc".utf8), announced: 100_000) },
      Hostile("root as a file", entry: ".") { $0.file(".", "x") },
    ]
  }

  @Test func `limits hold`() throws {
    let folder = try TemporaryDirectory()
    var tar = TarBuilder()
    for index in 0..<10 { tar.file("f\(index)", "12345") }
    try write(tar.finished, to: folder.path.appending("archive"))
    for limits in [ArchiveTree.Limits(entryCount: 9), ArchiveTree.Limits(byteCount: 49)] {
      var tree = try ArchiveTree(path: folder.path.appending("archive"), limits: limits)
      #expect(throws: StoreError.self) { try TreeSnapshot(&tree) }
    }
    var tree = try ArchiveTree(path: folder.path.appending("archive"), limits: .init(entryCount: 10, byteCount: 50, depth: 1))
    #expect(try TreeSnapshot(&tree).order.count == 10)
  }

  @Test func `what is no archive, or none at all, is an error`() throws {
    let folder = try TemporaryDirectory()
    let path = folder.path.appending("archive")
    #expect(throws: StoreError.system(operation: "open", path: path, .noSuchFileOrDirectory)) { try ArchiveTree(path: path) }
    for bytes in [[], Array("hello".utf8), Array(repeating: UInt8(0xff), count: 4096)] {
      try write(bytes, to: path)
      #expect(throws: StoreError.self) { try TreeSnapshot(archive: path) }
    }
  }
}
