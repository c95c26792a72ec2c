// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore
import Foundation
import Glibc
import SystemPackage
import TestSupport
import Testing

/// A tree that a test spells out.
struct ListTree: FileTree {
  var entries: [(entry: TreeEntry, content: [UInt8])]
  private var index = -1
  private var offset = 0

  init(_ entries: [(TreeEntry, [UInt8])]) { self.entries = entries.map { (entry: $0.0, content: $0.1) } }

  mutating func next() throws -> TreeEntry? {
    index += 1
    offset = 0
    return index < entries.count ? entries[index].entry : nil
  }

  mutating func readContents(into output: inout OutputRawSpan) throws {
    while offset < entries[index].content.count, !output.isFull {
      output.append(entries[index].content[offset])
      offset += 1
    }
  }

  static func file(_ path: String, _ content: [UInt8] = [], time: Int64 = 0) throws -> (TreeEntry, [UInt8]) {
    let kind = TreeEntry.Kind.regular(byteCount: UInt64(content.count))
    return (TreeEntry(path: try TreePath(parsing: path), kind: kind, permissions: 0o644, modificationTime: time), content)
  }

  static func entry(_ path: String, _ kind: TreeEntry.Kind) throws -> (TreeEntry, [UInt8]) {
    (TreeEntry(path: try TreePath(parsing: path), kind: kind, permissions: 0o700), [])
  }
}

/// The same tree without its descriptors.
struct StreamedTree<Tree: FileTree>: FileTree {
  var tree: Tree
  mutating func next() throws -> TreeEntry? { try tree.next() }
  mutating func readContents(into output: inout OutputRawSpan) throws { try tree.readContents(into: &output) }
}

extension ImageWriter {
  /// Writes to a new file and opens the result.
  @discardableResult
  func write<Tree: FileTree>(_ tree: Tree, to path: FilePath) throws -> PackageImage {
    var tree = tree
    try withFile(path) { _ = try write(&tree, to: $0, path: path) }
    return try PackageImage(path: path)
  }

  /// The same with the kernel's help.
  @discardableResult
  func write(copying folder: FilePath, to path: FilePath) throws -> PackageImage {
    var tree = try DirectoryTree(path: folder)
    try withFile(path) { _ = try write(&tree, to: $0, path: path) }
    return try PackageImage(path: path)
  }

  private func withFile(_ path: FilePath, _ body: (FileDescriptor) throws -> Void) throws {
    let file = try FileDescriptor.open(path, .readWrite, options: [.create], permissions: [.ownerReadWrite])
    try file.closeAfter { try body(file) }
  }
}

@Suite(.serialized) struct ImageWriterTests {
  static let compressions: [ImageWriter.Compression] = [.none, .zstd(level: 3), .lz4]

  @Test(arguments: compressions)
  func `the kernel, unsquashfs and we read back what was packed`(compression: ImageWriter.Compression) async throws {
    let tree = try EdgeTree.shared()
    let folder = try TemporaryDirectory()
    let path = folder.path.appending("image.squashfs")
    let image = try ImageWriter(options: .init(compression: compression)).write(copying: tree, to: path)
    let source = try snapshot(of: tree)
    let kernel = try await withKernelMount(of: path) { try snapshot(of: $0) }
    #expect(differences(source, kernel, ignoring: ignoreFileSystem) == [])
    #expect(differences(kernel, try snapshot(of: image)) == [])
    let extracted = folder.path.appending("extracted")
    try await run("unsquashfs", ["-no-progress", "-quiet", "-d", extracted.string, path.string])
    #expect(differences(source, try snapshot(of: extracted), ignoring: ignoreFileSystem) == [])
    #expect(image.byteCount % 4096 == 0)
  }

  @Test(arguments: compressions)
  func `the same tree gives the same bytes, streamed or copied`(compression: ImageWriter.Compression) throws {
    let tree = try EdgeTree.shared()
    let folder = try TemporaryDirectory()
    let writer = ImageWriter(options: .init(compression: compression, modificationTime: 1_700_000_000))
    let paths = ["a", "b", "c"].map { folder.path.appending($0) }
    try writer.write(copying: tree, to: paths[0])
    // What the file held before must not shine through.
    try Data(repeating: 0xee, count: 30_000_000).write(to: URL(fileURLWithPath: paths[1].string))
    try writer.write(copying: tree, to: paths[1])
    try writer.write(StreamedTree(tree: try DirectoryTree(path: tree)), to: paths[2])
    let images = try paths.map { try Data(contentsOf: URL(fileURLWithPath: $0.string)) }
    #expect(images[0] == images[1])
    #expect(images[0] == images[2])
  }

  @Test func `uncompressed contents are aligned runs`() throws {
    let tree = try EdgeTree.shared()
    let folder = try TemporaryDirectory()
    let path = folder.path.appending("image.squashfs")
    let image = try ImageWriter().write(copying: tree, to: path)
    let bytes = try Data(contentsOf: URL(fileURLWithPath: path.string))
    var files = 0
    var pending = [image.root]
    while let node = pending.popLast() {
      for entry in try image.entries(of: node) {
        if entry.kind == .directory { pending.append(entry.node) }
        guard entry.kind == .regular else { continue }
        let run = try #require(try image.storedRun(of: entry.node))
        let content = try image.contents(of: entry.node, limit: 10_000_000)
        #expect(run.lowerBound % 4096 == 0)
        #expect(Array(bytes[Int(run.lowerBound)..<Int(run.upperBound)]) == content)
        if !content.isEmpty { files += 1 }
      }
    }
    #expect(files > 50)
  }

  @Test(arguments: compressions)
  func `files of more than 4 GiB are whole`(compression: ImageWriter.Compression) async throws {
    let folder = try TemporaryDirectory()
    let source = folder.path.appending("source")
    try FileManager.default.createDirectory(atPath: source.string, withIntermediateDirectories: true)
    let size: UInt64 = 5 << 30
    let marks: [UInt64] = [0, 1 << 32, (1 << 32) + 131_072 * 3 + 5, size - 100]
    let file = try FileDescriptor.open(
      source.appending("large"), .readWrite, options: [.create], permissions: [.ownerReadWrite])
    try file.closeAfter {
      try file.resize(to: Int64(size))
      for mark in marks { try file.writeAll(toAbsoluteOffset: Int64(mark), "mark \(mark)".utf8) }
    }
    let path = folder.path.appending("image.squashfs")
    let image = try ImageWriter(options: .init(compression: compression)).write(copying: source, to: path)
    var status = stat()
    #expect(stat(path.string, &status) == 0 && status.st_blocks * 512 < 16 << 20)

    let node = try #require(try image.node(at: try TreePath(parsing: "large")))
    #expect(try image.attributes(of: node).byteCount == size)
    try await withKernelMount(of: path) { mount in
      let large = try FileDescriptor.open(mount.appending("large"), .readOnly)
      try large.closeAfter {
        #expect(try large.seek(offset: 0, from: .end) == Int64(size))
        for mark in marks {
          let text = Array("mark \(mark)".utf8)
          var kernel = [UInt8](repeating: 0, count: 100)
          let count = try kernel.withUnsafeMutableBytes { try large.read(fromAbsoluteOffset: Int64(mark), into: $0) }
          #expect(Array(kernel[..<text.count]) == text)
          #expect(try bytes(of: node, in: image, at: mark, count: count) == Array(kernel[..<count]))
        }
      }
    }
    #expect(try bytes(of: node, in: image, at: size - 5, count: 100).count == 5)
    #expect(try bytes(of: node, in: image, at: size, count: 100).isEmpty)
  }

  private func bytes(of node: PackageImage.Node, in image: PackageImage, at offset: UInt64, count: Int) throws -> [UInt8] {
    var result = [UInt8](repeating: 0xaa, count: count)
    let length = try result.withUnsafeMutableBytes { buffer in
      var span = OutputRawSpan(buffer: buffer, initializedCount: 0)
      try image.read(node, at: offset, into: &span)
      return span.finalize(for: buffer)
    }
    return Array(result[..<length])
  }

  @Test(arguments: compressions)
  func `a directory of 100,000 entries is listed in pages and searched`(compression: ImageWriter.Compression) async throws {
    let folder = try TemporaryDirectory()
    let path = folder.path.appending("image.squashfs")
    let names = (0..<100_000).map { "entry-\($0)" }
    let tree = ListTree(try names.map { try ListTree.file("big/\($0)") })
    let image = try ImageWriter(options: .init(compression: compression)).write(tree, to: path)
    let big = try #require(try image.node(at: try TreePath(parsing: "big")))
    let sorted = names.map { Array($0.utf8) }.sorted { $0.lexicographicallyPrecedes($1) }
    #expect(try image.entries(of: big).map(\.name.bytes) == sorted)
    var paged: [[UInt8]] = []
    var cookie: UInt64 = 0
    var isMore = true
    while isMore {
      isMore = false
      var room = 999
      try image.forEachEntry(of: big, after: cookie) { entry, next in
        paged.append(entry.name.bytes)
        cookie = next
        room -= 1
        isMore = room == 0
        return room > 0
      }
    }
    #expect(paged == sorted)
    for name in stride(from: 0, to: 100_000, by: 997).map({ names[$0] }) {
      #expect(try image.lookUp(try EntryName(name), in: big) != nil)
    }
    for name in ["entry-", "entry-100000", "a", "z", "entry-99999x"] {
      #expect(try image.lookUp(try EntryName(name), in: big) == nil)
    }
    try await withKernelMount(of: path) { mount in
      let listed = try FileManager.default.contentsOfDirectory(atPath: mount.appending("big").string)
      #expect(Set(listed) == Set(names))
      for name in stride(from: 1, to: 100_000, by: 997).map({ names[$0] }) {
        #expect(FileManager.default.fileExists(atPath: mount.appending("big").appending(name).string))
      }
      #expect(!FileManager.default.fileExists(atPath: mount.appending("big/entry-99999x").string))
    }
  }

  @Test(arguments: ["xz", "gzip"])
  func `an image of another writer is repacked`(compressor: String) async throws {
    let tree = try EdgeTree.shared()
    let folder = try TemporaryDirectory()
    let original = folder.path.appending("original.squashfs")
    try await run("mksquashfs", [tree.string, original.string, "-comp", compressor, "-no-progress", "-quiet"])
    let repacked = try ImageWriter().write(ImageTree(try PackageImage(path: original)), to: folder.path.appending("repacked"))
    let before = try snapshot(of: try PackageImage(path: original))
    #expect(differences(before, try snapshot(of: repacked), ignoring: ignoreFileSystem) == [])
  }
}

/// The same byte for ever, so that a large file costs nothing.
struct ZeroTree: FileTree {
  let byteCount: UInt64
  private var isDone = false

  init(byteCount: UInt64) { self.byteCount = byteCount }

  mutating func next() throws -> TreeEntry? {
    defer { isDone = true }
    return isDone ? nil : try ListTree.entry("zeros", .regular(byteCount: byteCount)).0
  }

  mutating func readContents(into output: inout OutputRawSpan) throws {
    output.withUnsafeMutableBytes { buffer, count in
      UnsafeMutableRawBufferPointer(rebasing: buffer[count...]).initializeMemory(as: UInt8.self, repeating: 0)
      count = buffer.count
    }
  }
}

@Suite(.serialized) struct ImagePlanTests {
  private func write(_ entries: [(TreeEntry, [UInt8])], _ options: ImageWriter.Options = .init()) throws -> Snapshot {
    let folder = try TemporaryDirectory()
    return try snapshot(of: try ImageWriter(options: options).write(ListTree(entries), to: folder.path.appending("image")))
  }

  @Test func `missing parents are made and parents that come late are taken over`() throws {
    let late = TreeEntry(path: try TreePath(parsing: "a/b"), kind: .directory, permissions: 0o711, userID: 5)
    let tree = try write([try ListTree.file("a/b/c", [1]), (late, []), try ListTree.file("a/b/d", [2])])
    #expect(tree.keys.sorted() == ["", "a", "a/b", "a/b/c", "a/b/d"])
    #expect(tree["a"]?.mode == S_IFDIR | 0o755)
    #expect(tree["a/b"]?.mode == S_IFDIR | 0o711)
    #expect(tree["a/b"]?.userID == 5)
    #expect(tree["a"]?.linkCount == 3)
  }

  @Test func `an empty tree is an empty root`() throws {
    #expect(try write([]).keys.sorted() == [""])
  }

  @Test func `times are clamped and the image is stamped`() async throws {
    let entries = [
      try ListTree.file("old", time: 100), try ListTree.file("new", time: 9000), try ListTree.file("before", time: -5),
    ]
    let tree = try write(entries, .init(modificationTime: 5000))
    #expect(tree["old"]?.modificationTime == 100)
    #expect(tree["new"]?.modificationTime == 5000)
    #expect(tree["before"]?.modificationTime == 0)
    let folder = try TemporaryDirectory()
    let path = folder.path.appending("image")
    try ImageWriter(options: .init(modificationTime: 5000)).write(ListTree(entries), to: path)
    #expect(Array(try Data(contentsOf: URL(fileURLWithPath: path.string))[8..<12]) == [0x88, 0x13, 0, 0])
  }

  static let unpackable: [(String, [(TreeEntry, [UInt8])])] = [
    ("twice", (try? [ListTree.file("a"), ListTree.file("a")]) ?? []),
    ("a file as a folder", (try? [ListTree.file("a"), ListTree.file("a/b")]) ?? []),
    ("a link to nothing", (try? [ListTree.entry("a", .hardLink(to: TreePath(parsing: "b")))]) ?? []),
    (
      "a link to a folder",
      (try? [ListTree.entry("b", .directory), ListTree.entry("a", .hardLink(to: TreePath(parsing: "b")))]) ?? []
    ),
    ("a short content", (try? [ListTree.entry("a", .regular(byteCount: 5))]) ?? []),
    ("an empty target", (try? [ListTree.entry("a", .symbolicLink(target: []))]) ?? []),
    ("a target with NUL", (try? [ListTree.entry("a", .symbolicLink(target: [65, 0]))]) ?? []),
    ("too deep", (try? [ListTree.file(Array(repeating: "d", count: 2000).joined(separator: "/"))]) ?? []),
    ("the root as a file", [(TreeEntry(path: .root, kind: .fifo, permissions: 0), [])]),
    (
      "an attribute without a place",
      (try? TreePath(parsing: "a")).map { path in
        let attribute = ExtendedAttribute(name: Array("system.posix_acl_access".utf8), value: [1])
        return [(TreeEntry(path: path, kind: .fifo, permissions: 0, extendedAttributes: [attribute]), [])]
      } ?? []
    ),
  ]

  @Test(arguments: unpackable.indices)
  func `what cannot be packed is an error that names the entry`(index: Int) throws {
    let folder = try TemporaryDirectory()
    let entries = ImagePlanTests.unpackable[index].1
    #expect(!entries.isEmpty)
    let error = #expect(throws: StoreError.self) {
      try ImageWriter().write(ListTree(entries), to: folder.path.appending("image"))
    }
    guard case .invalidArchive(_, let entry?, _) = error else {
      Issue.record("\(ImagePlanTests.unpackable[index].0): \(String(describing: error))")
      return
    }
    #expect(!entry.isEmpty)
  }

  @Test(arguments: ImageWriterTests.compressions)
  func `memory does not grow with the size of a file`(compression: ImageWriter.Compression) throws {
    let folder = try TemporaryDirectory()
    let path = folder.path.appending("image")
    let before = try peakMemory()
    let size: UInt64 = 6 << 30
    let image = try ImageWriter(options: .init(compression: compression)).write(ZeroTree(byteCount: size), to: path)
    #expect(try peakMemory() - before < 256 << 20)
    let node = try #require(try image.node(at: try TreePath(parsing: "zeros")))
    #expect(try image.attributes(of: node).byteCount == size)
  }

  private func peakMemory() throws -> Int {
    var usage = rusage()
    guard getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &usage) == 0 else { throw Errno(rawValue: errno) }
    return usage.ru_maxrss * 1024
  }
}
