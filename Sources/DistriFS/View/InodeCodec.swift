// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore

/// How the files of a view are numbered: 20 bits for the package, 44 bits for what it is within.
///
/// A package's number is its position among all packages that this view has ever shown; a package that goes and comes back gets a new one, so
/// that a number never changes its meaning. Within a package, the place of the inode in the image's table: 31 bits for the block, 13 bits within
/// the block. Package 0 is the view itself: 20 bits for the exchange directory, 24 bits for the entry, 0 for the directory.
enum InodeCodec {
  /// What a number stands for.
  enum Meaning: Equatable {
    /// The directory that shows everything.
    case root
    /// An exchange directory, from 2 on.
    case directory(UInt32)
    /// A link in an exchange directory.
    case link(directory: UInt32, entry: UInt32)
    /// A package's own directory, also when its image cannot be opened.
    case package(UInt32)
    /// A file of a package.
    case file(package: UInt32, PackageImage.Node)
  }

  /// So many packages can have been shown.
  static let packageLimit: UInt32 = 1 << 20
  /// So many exchange directories can have existed.
  static let directoryLimit: UInt32 = 1 << 20
  /// So many entries can one exchange directory have had.
  static let entryLimit: UInt32 = (1 << 24) - 1
  /// The number of the exchange directory that lies under the root.
  static let rootDirectory: UInt32 = 1

  private static let localMask: UInt64 = (1 << 44) - 1

  /// An exchange directory's inode.
  static func directory(_ number: UInt32) -> NodeID {
    number == rootDirectory ? .root : NodeID(UInt64(number) << 24)
  }

  /// A link's inode.
  static func link(directory: UInt32, entry: UInt32) -> NodeID { NodeID(UInt64(directory) << 24 | (UInt64(entry) &+ 1)) }

  /// The inode of a package's own directory.
  static func package(_ number: UInt32) -> NodeID { NodeID(UInt64(number) << 44 | localMask) }

  /// A file's inode; nil when the image has more than 2 GiB of inodes.
  static func file(package: UInt32, _ node: PackageImage.Node) -> NodeID? {
    let block = node.reference >> 16
    let offset = node.reference & 0xffff
    guard block < 1 << 31, offset < 1 << 13 else { return nil }
    let local = block << 13 | offset
    return local == localMask ? nil : NodeID(UInt64(package) << 44 | local)
  }

  /// What the kernel means; nil for a number that was never given out.
  static func meaning(of inode: NodeID) -> Meaning? {
    if inode == .root { return .root }
    let package = UInt32(truncatingIfNeeded: inode.number >> 44)
    let local = inode.number & localMask
    if package == 0 {
      let directory = UInt32(truncatingIfNeeded: local >> 24)
      let entry = UInt32(truncatingIfNeeded: local & 0xff_ffff)
      if directory == 0 || directory == rootDirectory && entry == 0 { return nil }
      return entry == 0 ? .directory(directory) : .link(directory: directory, entry: entry - 1)
    }
    if local == localMask { return .package(package) }
    return .file(package: package, PackageImage.Node(reference: (local >> 13) << 16 | (local & 0x1fff)))
  }
}
