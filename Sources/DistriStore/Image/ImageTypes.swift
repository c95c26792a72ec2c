// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

extension PackageImage {
  /// A file, directory and so on of an image. Two names with the same node are hard links.
  public struct Node: Hashable, Sendable {
    /// The format's reference to the inode: the block's offset in the inode table times 65536, plus the offset within
    /// the block.
    public let reference: UInt64

    package init(reference: UInt64) { self.reference = reference }
  }

  /// What a node is.
  public enum Kind: Sendable, Hashable {
    /// A directory.
    case directory
    /// A regular file.
    case regular
    /// A symbolic link.
    case symbolicLink
    /// A character device.
    case characterDevice
    /// A block device.
    case blockDevice
    /// A named pipe.
    case fifo
    /// A socket.
    case socket

    /// Of an inode type of the format, basic (1…7) or extended (8…14).
    init?(inodeType: UInt16) {
      switch inodeType {
      case 1, 8: self = .directory
      case 2, 9: self = .regular
      case 3, 10: self = .symbolicLink
      case 4, 11: self = .blockDevice
      case 5, 12: self = .characterDevice
      case 6, 13: self = .fifo
      case 7, 14: self = .socket
      default: return nil
      }
    }
  }

  /// What `lstat` would say of a node.
  public struct Attributes: Sendable, Hashable {
    /// What it is.
    public let kind: Kind
    /// The low twelve bits of the mode.
    public let permissions: UInt16
    /// Owner.
    public let userID: UInt32
    /// Group.
    public let groupID: UInt32
    /// Seconds since 1970.
    public let modificationTime: Int64
    /// How many names it has; for directories as `lstat` counts.
    public let linkCount: UInt32
    /// Of a regular file its content, of a symbolic link its target, of a directory its stored listing, else 0; in
    /// bytes.
    public let byteCount: UInt64
    /// Unique within the image, from 1 on.
    public let inodeNumber: UInt32
    /// Which device; 0 and 0 for what is none.
    public let device: Device
  }

  /// A device number.
  public struct Device: Sendable, Hashable {
    /// The driver.
    public let major: UInt32
    /// The driver's device.
    public let minor: UInt32
  }

  /// An entry of a directory.
  public struct Entry: Sendable, Hashable {
    /// Its name.
    public let name: EntryName
    /// What it names.
    public let node: Node
    /// What the directory says it is; the node itself decides.
    public let kind: Kind
    /// What the directory says its number is.
    public let inodeNumber: UInt32
  }
}
