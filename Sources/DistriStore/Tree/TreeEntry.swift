// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

/// One entry of a tree to pack: what `lstat` would say of it.
public struct TreeEntry: Sendable, Hashable {
  /// Where it is, below the tree's root. The root itself may be an entry, and then comes first.
  public var path: TreePath
  /// What it is.
  public var kind: Kind
  /// The low twelve bits of the mode: permissions, setuid, setgid, sticky.
  public var permissions: UInt16
  /// Owner.
  public var userID: UInt32
  /// Group.
  public var groupID: UInt32
  /// Seconds since 1970.
  public var modificationTime: Int64
  /// In any order; names include the namespace, such as `security.capability`.
  public var extendedAttributes: [ExtendedAttribute]

  /// What an entry is.
  public enum Kind: Sendable, Hashable {
    /// A directory.
    case directory
    /// A regular file of so many bytes, which ``FileTree/readContents(into:)`` then gives.
    case regular(byteCount: UInt64)
    /// A symbolic link; raw bytes.
    case symbolicLink(target: [UInt8])
    /// A further name of a regular file or special file that came earlier.
    case hardLink(to: TreePath)
    /// A character device.
    case characterDevice(major: UInt32, minor: UInt32)
    /// A block device.
    case blockDevice(major: UInt32, minor: UInt32)
    /// A named pipe.
    case fifo
    /// A socket.
    case socket
  }

  /// Makes an entry.
  public init(
    path: TreePath, kind: Kind, permissions: UInt16, userID: UInt32 = 0, groupID: UInt32 = 0, modificationTime: Int64 = 0,
    extendedAttributes: [ExtendedAttribute] = []
  ) {
    self.path = path
    self.kind = kind
    self.permissions = permissions & 0o7777
    self.userID = userID
    self.groupID = groupID
    self.modificationTime = modificationTime
    self.extendedAttributes = extendedAttributes
  }
}

/// A name and a value attached to a file.
public struct ExtendedAttribute: Sendable, Hashable {
  /// Raw bytes with the namespace, such as `security.capability`.
  public var name: [UInt8]
  /// Raw bytes.
  public var value: [UInt8]

  /// Makes an attribute.
  public init(name: [UInt8], value: [UInt8]) {
    self.name = name
    self.value = value
  }
}
