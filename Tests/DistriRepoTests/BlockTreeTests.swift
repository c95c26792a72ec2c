// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import Foundation
import SystemPackage
import TestSupport
import Testing

@testable import DistriRepo

/// Merkle trees over the blocks of files.
@Suite struct BlockTreeTests {
  private static let block = Int(BlockTree.blockByteCount)

  private func tree(of bytes: [UInt8], inPiecesOf count: Int) -> BlockTree {
    var builder = BlockTree.Builder()
    for start in stride(from: 0, to: bytes.count, by: count) { builder.update(Array(bytes[start...].prefix(count))) }
    return builder.finish()
  }

  /// The definition of RFC 9162, section 2.1.1, by recursion and with another implementation of SHA-256.
  private static let reference = """
    import hashlib, struct, sys
    data = sys.stdin.buffer.read()
    h = lambda b: hashlib.sha256(b).digest()
    def mth(d):
        if not d: return h(b"")
        if len(d) == 1: return h(b"\\0" + d[0])
        k = 1
        while k * 2 < len(d): k *= 2
        return h(b"\\1" + mth(d[:k]) + mth(d[k:]))
    blocks = [data[i:i + 65536] for i in range(0, len(data), 65536)]
    print(h(b"\\2" + struct.pack("<Q", len(data)) + mth(blocks)).hex())
    """

  @Test(arguments: [0, 1, 65_535, 65_536, 65_537, 3 * 65_536, 5 * 65_536 + 9, 8 * 65_536, 11 * 65_536])
  func `the root is the one of the definition, however the bytes come`(count: Int) throws {
    let bytes = noise(count)
    let expected = try run("python3", ["-c", Self.reference], input: bytes)
    for piece in [1 << 20, 65_536, 10_007] {
      #expect(tree(of: bytes, inPiecesOf: piece).root.hexadecimal + "\n" == String(decoding: expected, as: UTF8.self))
    }
  }

  @Test func `each block is proven, and nothing in its place`() throws {
    let bytes = noise(3 * Self.block + 100)
    let tree = tree(of: bytes, inPiecesOf: 1 << 20)
    for number in 0..<4 {
      var part = Array(bytes[(number * Self.block)...].prefix(Self.block))
      #expect(tree.proves(part[...], of: number))
      #expect(!tree.proves(part[...], of: (number + 1) % 4))
      #expect(!tree.proves(part.dropLast(), of: number))
      part[part.count / 2] ^= 1
      #expect(!tree.proves(part[...], of: number))
    }
    #expect(!tree.proves([], of: 4) && !tree.proves([], of: -1))
  }

  @Test func `a tree's file is read as it was written, and any other is refused`() throws {
    let tree = tree(of: noise(3 * Self.block + 100), inPiecesOf: 1 << 20)
    let bytes = tree.serialized
    #expect(UInt64(bytes.count) == BlockTree.fileByteCount(of: tree.byteCount))
    func read(_ bytes: [UInt8], _ byteCount: UInt64, _ root: [UInt8]) throws -> BlockTree {
      try BlockTree(bytes, byteCount: byteCount, root: root, file: "x.tree")
    }
    #expect(try read(bytes, tree.byteCount, tree.root) == tree)
    for position in bytes.indices {
      var damaged = bytes
      damaged[position] ^= 0x40
      #expect(throws: RepositoryError.self, "byte \(position)") { try read(damaged, tree.byteCount, tree.root) }
    }
    for count in [0, 8, 23, bytes.count - 32, bytes.count - 1] {
      #expect(throws: RepositoryError.self) { try read(Array(bytes.prefix(count)), tree.byteCount, tree.root) }
    }
    #expect(throws: RepositoryError.self) { try read(bytes + [0], tree.byteCount, tree.root) }
    // The same blocks of a file of another size.
    #expect(throws: RepositoryError.self) { try read(bytes, tree.byteCount - 1, tree.root) }
    #expect(throws: RepositoryError.self) { try read(bytes, .max, tree.root) }
  }
}
