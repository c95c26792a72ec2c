// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

/// How the files of a view are numbered: 28 bits for the package, one bit that tells links of the view from files of the package, 32 bits for
/// what it is within.
///
/// A package's number is its position among all packages that this view has ever shown; a package that goes and comes back gets a new one, so
/// that a number never changes its meaning. Within a package: the number that its index gives a file, or the claim that a link in an exchange
/// directory shows. Package 0 is the view itself: its numbers are those of exchange directories, 1 is the root.
enum NodeCodec {
  /// What a number stands for.
  enum Meaning: Equatable {
    /// An exchange directory; the root is one.
    case directory(UInt32)
    /// A link that a package brings into an exchange directory.
    case link(package: UInt32, claim: UInt32)
    /// A file of a package; 0 is the package's own directory.
    case file(package: UInt32, node: UInt32)
  }

  /// So many packages can have been shown.
  static let packageLimit: UInt32 = 1 << 28
  /// The number of the exchange directory that is the root.
  static let rootDirectory: UInt32 = 1

  private static let linkFlag: UInt64 = 1 << 32

  static func directory(_ number: UInt32) -> NodeID { NodeID(UInt64(number)) }

  static func link(package: UInt32, claim: UInt32) -> NodeID { NodeID(UInt64(package) << 33 | linkFlag | UInt64(claim)) }

  static func file(package: UInt32, node: UInt32) -> NodeID { NodeID(UInt64(package) << 33 | UInt64(node)) }

  /// What the kernel means; nil for a number that was never given out.
  static func meaning(of inode: NodeID) -> Meaning? {
    let local = UInt32(truncatingIfNeeded: inode.number)
    guard let package = packageNumber(of: inode) else {
      return local == 0 || inode.number & linkFlag != 0 ? nil : .directory(local)
    }
    guard package < packageLimit else { return nil }
    return inode.number & linkFlag != 0 ? .link(package: package, claim: local) : .file(package: package, node: local)
  }

  /// The package that a number belongs to; nil for the view's own directories.
  static func packageNumber(of inode: NodeID) -> UInt32? {
    let package = UInt32(truncatingIfNeeded: inode.number >> 33)
    return package == 0 ? nil : package
  }
}
