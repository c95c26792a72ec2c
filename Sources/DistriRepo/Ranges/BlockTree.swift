// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore

/// The hashes of all 64 KiB blocks of a file, and the Merkle tree over them: whoever trusts its ``root`` can verify each block by itself.
///
/// The tree is that of RFC 9162, section 2.1.1, so that a hash of a block is never one of an inner node; the root is bound to the file's
/// size. A file has one tree only. Format of `<file>.tree`: section 5, `docs/formats.md`.
public struct BlockTree: Sendable, Hashable {
  /// Of each block but the last, which may be shorter. In bytes.
  public static let blockByteCount: UInt64 = 64 << 10
  /// Of a SHA-256.
  static let hashByteCount = 32
  /// What a tree's file is called behind the name of the file that it is of.
  public static let fileSuffix = ".tree"

  private static let magic = Array("distriMT".utf8)
  private static let version: UInt32 = 1
  private static let headerByteCount: UInt64 = 24

  /// Of the file, in bytes.
  public let byteCount: UInt64
  /// The hashes of all blocks, one behind the other.
  private let hashes: [UInt8]
  /// 32 bytes, over size and all hashes.
  public let root: [UInt8]

  /// - Parameter hashes: of all blocks of a file of that size.
  init(byteCount: UInt64, hashes: [UInt8]) {
    self.byteCount = byteCount
    self.hashes = hashes
    root = Self.root(of: hashes, byteCount)
  }

  /// Reads a tree's file, which anybody may have made, for a file of which size and root are known.
  ///
  /// - Throws: ``RepositoryError/untrusted(file:_:)`` naming `file` for what is not exactly this tree.
  public init(_ bytes: [UInt8], byteCount: UInt64, root: [UInt8], file: String) throws(RepositoryError) {
    guard UInt64(bytes.count) == Self.fileByteCount(of: byteCount), bytes.starts(with: Self.header(byteCount)) else {
      throw .untrusted(file: file, .malformed(place: "header", reason: "not the tree of a file of \(byteCount) bytes"))
    }
    self.init(byteCount: byteCount, hashes: Array(bytes.dropFirst(Int(Self.headerByteCount))))
    guard self.root == root else {
      throw .untrusted(file: file, .mismatch(expected: "root \(root.hexadecimal)", got: self.root.hexadecimal))
    }
  }

  /// The content of `<file>.tree`.
  public var serialized: [UInt8] { Self.header(byteCount) + hashes }

  /// How many blocks the file has.
  var blockCount: Int { Self.blockCount(of: byteCount) }

  /// Where a block lies in the file, in bytes.
  func range(of block: Int) -> Range<UInt64> {
    let start = UInt64(block) * Self.blockByteCount
    return start..<min(byteCount, start + Self.blockByteCount)
  }

  /// Whether these bytes are the file's block.
  public func proves(_ bytes: ArraySlice<UInt8>, of block: Int) -> Bool {
    guard block >= 0, block < blockCount, UInt64(bytes.count) == range(of: block).byteCount else { return false }
    return Digester.hash(Self.leafPrefix, bytes).elementsEqual(hash(block))
  }

  private func hash(_ block: Int) -> ArraySlice<UInt8> { hashes[(block * Self.hashByteCount)...].prefix(Self.hashByteCount) }

  static func blockCount(of byteCount: UInt64) -> Int {
    Int(byteCount / Self.blockByteCount) + (byteCount % Self.blockByteCount == 0 ? 0 : 1)
  }

  /// How large the tree's file is, in bytes, for a file of so many.
  static func fileByteCount(of byteCount: UInt64) -> UInt64 {
    headerByteCount + UInt64(blockCount(of: byteCount)) * UInt64(hashByteCount)
  }

  private static func header(_ byteCount: UInt64) -> [UInt8] {
    var bytes = magic
    bytes.append(number: version)
    bytes.append(number: UInt32(blockByteCount))
    bytes.append(number: byteCount)
    return bytes
  }

  // MARK: Hashing

  /// What tells hashes of blocks, of pairs of hashes and of the whole from each other.
  private static let leafPrefix: [UInt8] = [0]
  private static let nodePrefix: [UInt8] = [1]
  private static let rootPrefix: [UInt8] = [2]

  private static func root(of hashes: [UInt8], _ byteCount: UInt64) -> [UInt8] {
    // Complete subtrees, the largest first: two of one size become one.
    var subtrees: [[UInt8]] = []
    func join() {
      let right = subtrees.removeLast()
      subtrees.append(Digester.hash(nodePrefix, (subtrees.removeLast() + right)[...]))
    }
    for block in 0..<(hashes.count / hashByteCount) {
      subtrees.append(Array(hashes[(block * hashByteCount)...].prefix(hashByteCount)))
      var count = block + 1
      while count.isMultiple(of: 2) {
        join()
        count /= 2
      }
    }
    while subtrees.count > 1 { join() }
    var whole: [UInt8] = []
    whole.append(number: byteCount)
    whole += subtrees.first ?? Digester.hash([], [])
    return Digester.hash(rootPrefix, whole[...])
  }

  /// Makes the tree of a file that comes in pieces.
  public struct Builder: Sendable {
    private var digester = Digester(BlockTree.leafPrefix)
    private var filled = 0
    private var byteCount: UInt64 = 0
    private var hashes: [UInt8] = []

    /// Begins.
    public init() {}

    /// Takes the next bytes of the file.
    public mutating func update(_ bytes: [UInt8]) {
      var rest = bytes[...]
      while !rest.isEmpty {
        let piece = rest.prefix(Int(BlockTree.blockByteCount) - filled)
        digester.update(piece)
        filled += piece.count
        rest = rest.dropFirst(piece.count)
        if filled == Int(BlockTree.blockByteCount) { endBlock() }
      }
      byteCount += UInt64(bytes.count)
    }

    private mutating func endBlock() {
      hashes += digester.finish()
      digester = Digester(BlockTree.leafPrefix)
      filled = 0
    }

    /// The tree of all that came.
    public consuming func finish() -> BlockTree {
      if filled > 0 { endBlock() }
      return BlockTree(byteCount: byteCount, hashes: hashes)
    }
  }
}
