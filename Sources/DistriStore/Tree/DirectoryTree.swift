// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import SystemPackage

/// A directory of the host and all below it, to be packed.
///
/// Entries come depth first, sorted bytewise, so that the same files give the same stream. The root comes first. Symbolic links
/// are entries, never followed. Further names of a regular or special file are hard links to the first one.
public struct DirectoryTree: DescriptorBackedTree {
  /// What to change on the way.
  public struct Options: Sendable {
    /// Gives every entry this owner and group, as a package wants that was built by an ordinary user; nil keeps them.
    public var owner: (userID: UInt32, groupID: UInt32)?
    /// Whether extended attributes are read.
    public var extendedAttributes: Bool
    /// Called for each entry in order; may change it, or skip it and all below it with nil. A changed path has to keep parents
    /// before their entries.
    public var map: (@Sendable (TreeEntry) throws -> TreeEntry?)?

    /// Keeps everything as it is.
    public init(
      owner: (userID: UInt32, groupID: UInt32)? = nil, extendedAttributes: Bool = true,
      map: (@Sendable (TreeEntry) throws -> TreeEntry?)? = nil
    ) {
      self.owner = owner
      self.extendedAttributes = extendedAttributes
      self.map = map
    }
  }

  /// How many directories may lie in one another: each holds a descriptor while it is walked.
  public static let maximumDepth = 256

  private struct Level {
    var directory: DirectoryHandle
    var path: TreePath
    var remaining: ArraySlice<EntryName>
  }

  private let options: Options
  private let root: DirectoryHandle
  private var started = false
  private var levels: [Level] = []
  private var firstNames: [FileStatus.Identity: TreePath] = [:]
  private var current: OwnedDescriptor?
  private var currentPath: FilePath
  private var offset: UInt64 = 0
  private var byteCount: UInt64 = 0

  /// Opens the directory; a link in the path itself is followed.
  ///
  /// - Throws: ``StoreError/system(operation:path:_:)`` when it cannot be opened.
  public init(path: FilePath, options: Options = Options()) throws(StoreError) {
    root = try DirectoryHandle(opening: path)
    currentPath = path
    self.options = options
  }

  /// The next entry.
  ///
  /// - Throws: ``StoreError/system(operation:path:_:)`` with the file that cannot be read; ``StoreError/invalidArchive(_:entry:reason:)``
  ///   for a tree deeper than ``maximumDepth`` or one that changes meanwhile; what ``Options/map`` throws.
  public mutating func next() throws -> TreeEntry? {
    current = nil
    byteCount = 0
    offset = 0
    if !started {
      started = true
      if let entry = try rootEntry() { return entry }
      return nil
    }
    while let level = levels.last {
      guard let name = level.remaining.first else {
        levels.removeLast()
        continue
      }
      levels[levels.count - 1].remaining.removeFirst()
      if let entry = try entry(name, in: level) { return entry }
    }
    return nil
  }

  /// Appends contents of the current file.
  ///
  /// - Throws: ``StoreError/system(operation:path:_:)``; ``StoreError/invalidArchive(_:entry:reason:)`` when the file became shorter.
  public mutating func readContents(into output: inout OutputRawSpan) throws {
    guard let current, offset < byteCount, output.freeCapacity > 0 else { return }
    do {
      let count = try current.descriptor.readAppending(at: offset, limit: byteCount - offset, to: &output)
      guard count > 0 else { throw changed("it became shorter while it was read") }
      offset += UInt64(count)
    } catch let error as Errno {
      throw StoreError.system(operation: "read", path: currentPath, error)
    }
  }

  /// The current file, open for reading.
  ///
  /// - Throws: ``StoreError/invalidArchive(_:entry:reason:)`` when the last entry was no regular file.
  public mutating func contentsDescriptor() throws -> FileDescriptor {
    guard let current else { throw changed("it is no regular file") }
    return current.descriptor
  }

  private func changed(_ reason: String) -> StoreError { .invalidArchive(currentPath, entry: nil, reason: reason) }

  private mutating func rootEntry() throws -> TreeEntry? {
    let status: FileStatus
    do { status = try root.descriptor.status() } catch {
      throw StoreError.system(operation: "stat", path: root.path, error)
    }
    let entry = try make(.root, .directory, status) {
      () throws(StoreError) in try root.descriptor.extendedAttributes(path: root.path)
    }
    guard let entry else { return nil }
    levels.append(Level(directory: root, path: .root, remaining: try root.names()[...]))
    return entry
  }

  private mutating func entry(_ name: EntryName, in level: Level) throws -> TreeEntry? {
    let path = level.path.appending(name)
    currentPath = level.directory.path.appending(raw: name)
    guard let status = try level.directory.status(of: name) else { throw changed("it vanished while the tree was read") }
    let attributes = { () throws(StoreError) in try level.directory.extendedAttributes(of: name) }
    if status.isDirectory {
      guard levels.count < Self.maximumDepth else { throw changed("nested deeper than \(Self.maximumDepth) directories") }
      let directory = try level.directory.openDirectory(beneath: TreePath(components: [name]))
      guard let entry = try make(path, .directory, status, attributes) else { return nil }
      levels.append(Level(directory: directory, path: path, remaining: try directory.names()[...]))
      return entry
    }
    if status.isSymbolicLink {
      return try make(path, .symbolicLink(target: try level.directory.symbolicLinkTarget(of: name)), status, attributes)
    }
    if status.linkCount > 1, let first = firstNames[status.identity] {
      return try make(path, .hardLink(to: first), status) { () throws(StoreError) in [] }
    }
    let entry =
      status.isRegular
      ? try regular(name, path, in: level, status) : try make(path, try specialKind(of: status), status, attributes)
    if status.linkCount > 1, let entry { firstNames[status.identity] = entry.path }
    return entry
  }

  private mutating func regular(
    _ name: EntryName, _ path: TreePath, in level: Level, _ expected: FileStatus
  ) throws -> TreeEntry? {
    // Non-blocking: a named pipe that took the file's place must not hang us.
    let file = try level.directory.open(name, openForReadingWithoutBlocking)
    let status: FileStatus
    do { status = try file.descriptor.status() } catch {
      throw StoreError.system(operation: "stat", path: currentPath, error)
    }
    guard status.isRegular, status.identity == expected.identity else { throw changed("it was replaced while it was read") }
    let place = currentPath
    let entry = try make(path, .regular(byteCount: status.byteCount), status) {
      () throws(StoreError) in try file.descriptor.extendedAttributes(path: place)
    }
    guard let entry else { return nil }
    current = file
    byteCount = status.byteCount
    return entry
  }

  private func specialKind(of status: FileStatus) throws(StoreError) -> TreeEntry.Kind {
    if status.isCharacterDevice { return .characterDevice(major: status.deviceMajor, minor: status.deviceMinor) }
    if status.isBlockDevice { return .blockDevice(major: status.deviceMajor, minor: status.deviceMinor) }
    if status.isFIFO { return .fifo }
    if status.isSocket { return .socket }
    throw changed("it is of a kind that cannot be packed")
  }

  private func make(
    _ path: TreePath, _ kind: TreeEntry.Kind, _ status: FileStatus, _ attributes: () throws(StoreError) -> [ExtendedAttribute]
  ) throws -> TreeEntry? {
    let entry = TreeEntry(
      path: path, kind: kind, permissions: status.permissions, userID: options.owner?.userID ?? status.userID,
      groupID: options.owner?.groupID ?? status.groupID, modificationTime: status.modificationTime,
      extendedAttributes: options.extendedAttributes ? try attributes() : [])
    guard let map = options.map else { return entry }
    return try map(entry)
  }
}
