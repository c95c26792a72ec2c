// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriBuild
import DistriRepo
import DistriArchive
import DistriStore
import Glibc
import SystemPackage

/// One parser under test: takes any bytes, may throw, must not do anything else.
typealias Target = @convention(c) (UnsafePointer<UInt8>?, Int) -> CInt

let targets: [String: Target] = [
  "name": { data, size in
    let text = String(decoding: bytes(data, size), as: UTF8.self)
    if let id = try? PackageID(parsing: text) {
      // What is accepted has one spelling and is a safe file name.
      precondition((try? PackageID(parsing: id.description)) == id)
      precondition(!id.description.contains("/") && id.imageFileName.utf8.count < 255)
    }
    _ = try? PackageQuery(parsingPath: text)
    return 0
  },
  "metadata": { data, size in
    if let metadata = try? PackageMetadata(textproto: bytes(data, size), subject: "fuzz") {
      let again = try? PackageMetadata(textproto: Array(metadata.textproto.utf8), subject: "fuzz")
      precondition(again?.textproto == metadata.textproto)
    }
    _ = try? RepositoryIndex(serialized: bytes(data, size), subject: "fuzz")
    return 0
  },
  "blocks": { data, size in
    let bytes = bytes(data, size)
    if let blocks = try? BlockHashes(serialized: bytes, subject: "fuzz") {
      // What is accepted is written back as it was.
      precondition(blocks.serialized == bytes && UInt64(blocks.hashes.count) == blocks.fileByteCount / 4096)
    }
    return 0
  },
  "frames": { data, size in
    // The first two bytes say of how large a file; its compressed size is what the frames say.
    let bytes = bytes(data, size)
    let byteCount = bytes.prefix(2).reduce(UInt64(0)) { $0 << 8 | UInt64($1) } << 8
    for compressed in [UInt64(bytes.count), byteCount] {
      if let frames = try? CompressedFrames(
        table: Array(bytes.dropFirst(2)), of: byteCount, compressedByteCount: compressed, subject: "fuzz")
      {
        precondition(zip(frames.places, frames.places.dropFirst()).allSatisfy { $0.upperBound == $1.lowerBound })
        precondition(frames.places.last?.upperBound ?? 0 < compressed)
      }
    }
    return 0
  },
  "generation": { data, size in
    let bytes = bytes(data, size)
    if let generation = try? Generation(text: bytes, subject: "fuzz") {
      // What is accepted is written back as it was.
      precondition(Array(generation.text.utf8) == bytes && generation.number > 0)
      _ = try? generation.selection.resolved { _ throws(StoreError) in PackageMetadata() }
    }
    return 0
  },
  "tree": { data, size in
    readTree(bytes(data, size))
    return 0
  },
  "definition": { data, size in
    rewriteDefinition(bytes(data, size))
    return 0
  },
  "action": { data, size in
    readAction(bytes(data, size))
    return 0
  },
  "image": { data, size in
    try? walkImage(bytes(data, size))
    return 0
  },
  "elf": { data, size in
    _ = try? ELFFile(bytes(data, size), named: "fuzz")
    _ = try? DebugLineReader(bytes(data, size)).fileNames()
    return 0
  },
  "debug-lines": { data, size in
    let bytes = bytes(data, size)
    _ = DebugLineReader(lines: bytes, lineTexts: bytes, texts: []).fileNames()
    return 0
  },
  "archive": { data, size in
    try? walkArchives(bytes(data, size))
    return 0
  },
  "regular-expression": { data, size in
    matchExpression(bytes(data, size))
    return 0
  },
  "upstream-index": { data, size in
    readIndexes(bytes(data, size))
    return 0
  },
  "trust": { data, size in
    readTrust(bytes(data, size))
    return 0
  },
  "boot-files": { data, size in
    readBootFiles(bytes(data, size))
    return 0
  },
  "boot-programs": { data, size in
    readBootPrograms(bytes(data, size))
    return 0
  },
  "disk-headers": { data, size in
    readDisk(bytes(data, size))
    return 0
  },
  "remote-answer": { data, size in
    readAnswers(bytes(data, size))
    return 0
  },
  "remote-result": { data, size in
    takeFiles(bytes(data, size))
    return 0
  },
  "release-page": { data, size in
    lookForRelease(on: bytes(data, size))
    return 0
  },
]

private func bytes(_ data: UnsafePointer<UInt8>?, _ size: Int) -> [UInt8] {
  Array(UnsafeBufferPointer(start: data, count: size))
}

/// Parses the bytes as an action's order, and as digests that were remembered.
private func readAction(_ bytes: [UInt8]) {
  if let order = try? ActionOrder(bytes: bytes, path: "fuzz") {
    precondition((try? ActionOrder(bytes: Array(order.text.utf8), path: "fuzz")) == order)
    precondition((try? EntryName(order.definition)) != nil)
  }
  let path = FilePath("/dev/shm/distri-fuzz-\(getpid())")
  let permissions = FilePermissions.ownerReadWrite
  guard let file = try? FileDescriptor.open(path, .writeOnly, options: [.create, .truncate], permissions: permissions) else {
    return
  }
  _ = try? file.closeAfter { try file.writeAll(bytes) }
  let digests = FileDigests(path: path)
  // What is remembered of other files says nothing about this one.
  let digest = try? digests.digest(of: path)
  precondition(digest == nil || digest == ContentDigest(of: bytes))
}

/// Parses the bytes as a definition; what is accepted can be rewritten, and the rewritten text says what was meant.
private func rewriteDefinition(_ bytes: [UInt8]) {
  do {
    var file = try DefinitionFile(bytes: bytes, path: "fuzz", name: "fuzz")
    precondition(file.bytes == bytes)
    var expected = file.definition
    expected.version = "1-\"2"
    try file.replace(.version, with: expected.version)
    precondition(file.definition == expected)
  } catch {
    // The place is one of the text.
    guard case .invalidDefinition(_, let line, let column, _) = error else { preconditionFailure("\(error)") }
    precondition(line >= 1 && column >= 1 && line <= bytes.count { $0 == 10 } + 1 && column <= bytes.count + 1)
  }
}

/// Reads the bytes as an archive, and as a Debian package with all that is in it.
private func walkArchives(_ bytes: [UInt8]) throws {
  let file = try temporaryFile(bytes)
  defer { try? file.close() }
  let path = FilePath("/proc/self/fd/\(file.rawValue)")
  let limits = ArchiveTree.Limits(entryCount: 1000, byteCount: 4 << 20)
  func walk(_ tree: consuming ArchiveTree) throws {
    while let entry = try tree.next() {
      precondition(!entry.path.components.contains { $0.description == ".." })
      if case .regular(let byteCount) = entry.kind {
        // What is given is what was announced, or an error.
        let contents = try tree.readContents(limit: .max)
        precondition(contents.count == byteCount)
      }
    }
  }
  if let deb = try? DebianArchive(path: path) { try walk(try deb.data(limits: limits)) }
  try walk(try ArchiveTree(path: path, limits: limits))
}

func temporaryFile(_ bytes: [UInt8]) throws -> FileDescriptor {
  let file = try FileDescriptor.open(
    "/dev/shm", .readWrite, options: FileDescriptor.OpenOptions(rawValue: 0o20200000), permissions: .ownerReadWrite)
  try file.writeAll(bytes)
  return file
}

/// Reads all of an image, up to what a small one can hold: an image may well say that it has a file of terabytes.
private func walkImage(_ bytes: [UInt8]) throws {
  let file = try temporaryFile(bytes)
  defer { try? file.close() }
  let image = try PackageImage(descriptor: file, path: "fuzz", cache: BlockCache(byteLimit: 1 << 20))
  var pending = [image.root]
  var budget = 4 << 20
  var count = 0
  while let node = pending.popLast(), count < 2000, budget > 0 {
    count += 1
    guard let attributes = try? image.attributes(of: node) else { continue }
    _ = try? image.extendedAttributes(of: node)
    _ = try? image.storedRun(of: node)
    switch attributes.kind {
    case .directory:
      guard let entries = try? image.entries(of: node) else { continue }
      for entry in entries.prefix(100) {
        pending.append(entry.node)
        if let found = try? image.lookUp(entry.name, in: node) { _ = found }
      }
    case .regular:
      let chunk = try? [UInt8](unsafeUninitializedCapacity: 65536) { buffer, count in
        var output = OutputRawSpan(buffer: UnsafeMutableRawBufferPointer(buffer), initializedCount: 0)
        try image.read(node, at: attributes.byteCount / 2, into: &output)
        count = output.finalize(for: UnsafeMutableRawBufferPointer(buffer))
      }
      budget -= chunk?.count ?? 4096
    case .symbolicLink: _ = try? image.symbolicLinkTarget(of: node)
    default: break
    }
  }
}
