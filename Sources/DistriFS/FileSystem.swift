// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore
import SystemPackage

/// What a mount serves: a read-only tree of files, asked by the kernel.
///
/// The requirements are called on the mount's own threads, several at a time. They never wait for a `Task`; what has to wait throws
/// ``FileSystemFailure/notReady(_:)``, and the mount asks again when the wait is over. They must not trap: a trap hangs everything
/// that uses the mount.
public protocol FileSystem: Sendable {
  /// The entry of a directory.
  ///
  /// - Throws: `ENOENT` when there is none. The kernel remembers both answers until a ``FileSystemChange`` says otherwise.
  func lookUp(_ name: EntryName, in directory: NodeID) throws(FileSystemFailure) -> Attributes
  /// What `lstat` says of a file.
  func attributes(of inode: NodeID) throws(FileSystemFailure) -> Attributes
  /// Gives a directory's entries that come after the cookie to `emit`, with the cookie of each, until it returns false. `.` and `..`
  /// are not among them.
  ///
  /// Cookies are positions: above 0, below 2^62, in the order of the listing, and good for as long as the directory exists.
  func entries(
    of directory: NodeID, after cookie: UInt64, _ emit: (EntryName, Attributes, UInt64) -> Bool
  ) throws(FileSystemFailure)
  /// Appends `count` bytes of a regular file from `offset` on, in bytes; fewer only at its end.
  func read(_ file: NodeID, at offset: UInt64, count: Int, into reply: inout ReplyBuffer) throws(FileSystemFailure)
  /// Appends the target of a symbolic link, raw bytes without a NUL at the end.
  func symbolicLinkTarget(of link: NodeID, into reply: inout ReplyBuffer) throws(FileSystemFailure)
  /// All extended attributes of a file, names with their namespace.
  func extendedAttributes(of inode: NodeID) throws(FileSystemFailure) -> [ExtendedAttribute]
  /// How large the file system is, for `statfs`.
  var capacity: FileSystemCapacity { get }
  /// The kernel has dropped as many references to the inode as it was given by ``lookUp(_:in:)`` and
  /// ``entries(of:after:_:)`` (one for each entry that was emitted and taken). What counts can free what nobody uses any more.
  func forget(_ inode: NodeID, lookups: UInt64)
}

extension FileSystem {
  /// Nothing is known.
  public var capacity: FileSystemCapacity { FileSystemCapacity(byteCount: 0, fileCount: 0) }
  /// Does nothing.
  public func forget(_ inode: NodeID, lookups: UInt64) {}
}

/// A file system that changes while it is mounted. The mount drops what the kernel remembers of the changed names, and nothing else.
public protocol LiveFileSystem: FileSystem {
  /// Starts to report changes, each when it is already visible to ``FileSystem/lookUp(_:in:)``, on a thread of its own, until the
  /// subscription is cancelled.
  func subscribe(_ report: @escaping @Sendable ([FileSystemChange]) -> Void) throws -> any ChangeSubscription
}

/// A running report of changes.
public protocol ChangeSubscription: Sendable {
  /// Ends the report; when this returns, no further change is being reported.
  func cancel()
}

/// What the kernel has to forget.
public enum FileSystemChange: Sendable, Hashable {
  /// The name now stands for another file, or for none, or for the first time for one.
  case entry(EntryName, in: NodeID)
  /// The list of entries and the times of a directory.
  case directory(NodeID)
}

/// The number of a file, unique within a mount for as long as it lives.
public struct NodeID: Sendable, Hashable, CustomStringConvertible {
  /// The number, also `st_ino`.
  public let number: UInt64

  /// Makes an inode; 0 is none.
  public init(_ number: UInt64) { self.number = number }

  /// Where a mount starts.
  public static let root = NodeID(1)

  /// The number in hexadecimal.
  public var description: String { "0x" + String(number, radix: 16) }
}

/// What `lstat` says of a file.
public struct Attributes: Sendable, Hashable {
  /// Which file.
  public var inode: NodeID
  /// What it is.
  public var kind: PackageImage.Kind
  /// The low twelve bits of the mode.
  public var permissions: UInt16
  /// Owner.
  public var userID: UInt32
  /// Group.
  public var groupID: UInt32
  /// How many names the file has.
  public var linkCount: UInt32
  /// Size in bytes.
  public var byteCount: UInt64
  /// Access, change and modification time, in seconds since 1970.
  public var modificationTime: Int64
  /// Of a device: major and minor number.
  public var device: (major: UInt32, minor: UInt32) {
    get { (deviceMajor, deviceMinor) }
    set { (deviceMajor, deviceMinor) = newValue }
  }
  private var deviceMajor: UInt32 = 0
  private var deviceMinor: UInt32 = 0

  /// Makes attributes.
  public init(
    inode: NodeID, kind: PackageImage.Kind, permissions: UInt16, userID: UInt32 = 0, groupID: UInt32 = 0, linkCount: UInt32 = 1,
    byteCount: UInt64 = 0, modificationTime: Int64 = 0
  ) {
    self.inode = inode
    self.kind = kind
    self.permissions = permissions & 0o7777
    self.userID = userID
    self.groupID = groupID
    self.linkCount = linkCount
    self.byteCount = byteCount
    self.modificationTime = modificationTime
  }
}

/// How large a file system is.
public struct FileSystemCapacity: Sendable, Hashable {
  /// Bytes of all images.
  public var byteCount: UInt64
  /// Number of files, 0 where unknown.
  public var fileCount: UInt64

  /// Makes a capacity.
  public init(byteCount: UInt64, fileCount: UInt64) {
    self.byteCount = byteCount
    self.fileCount = fileCount
  }
}

/// Why a file system does not answer.
public enum FileSystemFailure: Error {
  /// The answer is this error.
  case errno(Errno)
  /// The answer needs something that is not there yet. The mount parks the request, awaits the function, and asks again.
  case notReady(@Sendable () async throws -> Void)
}
