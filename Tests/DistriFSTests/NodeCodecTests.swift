// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import DistriFS

@Suite struct NodeCodecTests {
  @Test(arguments: [
    (NodeCodec.directory(1), NodeCodec.Meaning.directory(1)), (NodeCodec.directory(.max), .directory(.max)),
    (NodeCodec.link(package: 1, claim: 0), .link(package: 1, claim: 0)),
    (NodeCodec.link(package: 70_000, claim: .max), .link(package: 70_000, claim: .max)),
    (NodeCodec.file(package: 1, node: 0), .file(package: 1, node: 0)),
    (NodeCodec.file(package: NodeCodec.packageLimit - 1, node: .max), .file(package: NodeCodec.packageLimit - 1, node: .max)),
  ])
  func `a number means what it was made of`(inode: NodeID, meaning: NodeCodec.Meaning) {
    #expect(NodeCodec.meaning(of: inode) == meaning)
  }

  @Test func `the root is the first directory`() { #expect(NodeCodec.directory(NodeCodec.rootDirectory) == .root) }

  @Test(arguments: [0, 1 << 32, 1 << 32 | 5, 1 << 61, .max] as [UInt64])
  func `a number that was never given out means nothing`(number: UInt64) {
    #expect(NodeCodec.meaning(of: NodeID(number)) == nil)
  }
}
