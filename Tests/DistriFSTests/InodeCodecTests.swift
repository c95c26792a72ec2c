// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore
import Testing

@testable import DistriFS

@Suite struct InodeCodecTests {
  @Test(arguments: [
    (InodeCodec.directory(1), InodeCodec.Meaning.root), (InodeCodec.directory(2), .directory(2)),
    (InodeCodec.directory(InodeCodec.directoryLimit - 1), .directory(InodeCodec.directoryLimit - 1)),
    (InodeCodec.link(directory: 1, entry: 0), .link(directory: 1, entry: 0)),
    (InodeCodec.link(directory: 7, entry: InodeCodec.entryLimit - 1), .link(directory: 7, entry: InodeCodec.entryLimit - 1)),
    (InodeCodec.package(1), .package(1)), (InodeCodec.package(InodeCodec.packageLimit - 1), .package(InodeCodec.packageLimit - 1)),
  ])
  func `a number means what it was made of`(inode: NodeID, meaning: InodeCodec.Meaning) {
    #expect(InodeCodec.meaning(of: inode) == meaning)
  }

  @Test(arguments: [0, 0x60, 0x1fff, 0x7fff_ffff_1ffe, 0x1234_5678_0abc] as [UInt64])
  func `a file's number holds its package and its place in the image`(reference: UInt64) throws {
    let node = PackageImage.Node(reference: reference)
    let inode = try #require(InodeCodec.file(package: 0xf_fffe, node))
    #expect(InodeCodec.meaning(of: inode) == .file(package: 0xf_fffe, node))
  }

  @Test(arguments: [1 << 47, 0x2000, 0x7fff_ffff_1fff] as [UInt64])
  func `a place that does not fit has no number`(reference: UInt64) {
    #expect(InodeCodec.file(package: 1, PackageImage.Node(reference: reference)) == nil)
  }

  @Test(arguments: [0, 2, 1 << 24, 5] as [UInt64])
  func `a number that was never given out means nothing`(number: UInt64) {
    let meaning = InodeCodec.meaning(of: NodeID(number))
    switch meaning {
    case nil, .link(directory: 0, _): break
    default: Issue.record("\(number) means \(String(describing: meaning))")
    }
  }
}
