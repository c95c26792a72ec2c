// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import SystemPackage

/// Writes the entries of a tree into a directory, and nowhere else.
///
/// Every name is resolved by the kernel beneath the directory without following any symbolic link, also none that was there before
/// or was just extracted. Hard links go only to files of the same extraction. Existing files are replaced, never written through;
/// existing directories are kept. Modes (with setuid and setgid), owners and attributes of a file are set after its contents, those
/// of directories when everything is in place. Blocks of zeros become holes.
public struct TreeExtractor {
  /// How to extract.
  public struct Options: Sendable {
    /// Whether owner and group are kept. Only root can; for others this has no effect.
    public var keepsOwners: Bool
    /// Whether extended attributes, file capabilities among them, are kept.
    public var keepsExtendedAttributes: Bool
    /// What happens to character and block devices.
    public var devices: Devices
    /// The most entries that are written.
    public var maximumEntryCount: Int
    /// The most bytes of contents that are written.
    public var maximumByteCount: UInt64

    /// What happens to devices.
    public enum Devices: Sendable {
      /// They end the extraction with an error.
      case refuse
      /// They are left out and listed in the summary.
      case skip
      /// They are made; needs root.
      case create
    }

    /// Keeps everything, refuses devices, at most 8 million entries and 64 GiB.
    public init(
      keepsOwners: Bool = true, keepsExtendedAttributes: Bool = true, devices: Devices = .refuse,
      maximumEntryCount: Int = 8 << 20, maximumByteCount: UInt64 = 64 << 30
    ) {
      self.keepsOwners = keepsOwners
      self.keepsExtendedAttributes = keepsExtendedAttributes
      self.devices = devices
      self.maximumEntryCount = maximumEntryCount
      self.maximumByteCount = maximumByteCount
    }
  }

  /// What was written.
  public struct Summary: Sendable, Hashable {
    /// Entries, without those left out.
    public var entryCount = 0
    /// Bytes of regular files' contents.
    public var byteCount: UInt64 = 0
    /// Devices that were left out.
    public var skipped: [TreePath] = []
  }

  /// Extracts the rest of the tree; the directory is made when it is missing, its parent is not.
  ///
  /// - Throws: ``StoreError/invalidArchive(_:entry:reason:)`` with the entry that would leave the directory, cannot be made there or
  ///   exceeds a limit; ``StoreError/system(operation:path:_:)``; what the tree throws. What was extracted so far stays.
  @discardableResult
  public static func extract<Tree: FileTree>(
    _ tree: inout Tree, into directory: FilePath, options: Options = Options()
  ) throws -> Summary {
    var extractor = try TreeExtractor(directory: directory, options: options)
    while let entry = try tree.next() { try extractor.write(entry, of: &tree) }
    try extractor.finishDirectories()
    return extractor.summary
  }

  private let root: DirectoryHandle
  private let options: Options
  private let keepsOwners: Bool
  private var summary = Summary()
  private let buffer = TransferBuffer(byteCount: 256 << 10)
  /// The files that this extraction made: what hard links may go to.
  private var made: Set<FileStatus.Identity> = []
  /// Their modes and times come last: a directory may be read-only, and every new entry changes its time.
  private var directories: [TreeEntry] = []
  private var parent: (path: TreePath, handle: DirectoryHandle)

  private init(directory: FilePath, options: Options) throws(StoreError) {
    try makeDirectoryIfMissing(directory)
    root = try DirectoryHandle(opening: directory)
    self.options = options
    keepsOwners = options.keepsOwners && isSuperuser
    parent = (.root, root)
  }

  private mutating func write<Tree: FileTree>(_ entry: TreeEntry, of tree: inout Tree) throws {
    summary.entryCount += 1
    guard summary.entryCount <= options.maximumEntryCount else {
      throw refusal(entry, "there are more than \(options.maximumEntryCount) entries")
    }
    guard let name = entry.path.name else {
      guard entry.kind == .directory else { throw refusal(entry, "the root can only be a directory") }
      directories.append(entry)
      return
    }
    let directory = try parentHandle(of: entry)
    switch entry.kind {
    case .directory:
      try makeDirectory(name, in: directory, entry)
      directories.append(entry)
    case .regular(let byteCount):
      try writeFile(name, in: directory, entry, byteCount: byteCount, of: &tree)
    case .hardLink(let target):
      try makeHardLink(name, in: directory, entry, to: target)
    case .symbolicLink(let target):
      guard !target.isEmpty, !target.contains(0) else { throw refusal(entry, "a symbolic link to nothing, or with a NUL") }
      try replacing(name, in: directory, entry) { () throws(StoreError) in
        try directory.makeSymbolicLink(name, target: target)
      }
      try setAttributes(of: name, in: directory, entry)
    case .characterDevice(let major, let minor):
      try makeDevice(name, in: directory, entry, .characterDevice, major, minor)
    case .blockDevice(let major, let minor):
      try makeDevice(name, in: directory, entry, .blockDevice, major, minor)
    case .fifo:
      try makeNode(name, in: directory, entry, .fifo, 0, 0)
    case .socket:
      try makeNode(name, in: directory, entry, .socket, 0, 0)
    }
  }

  private func refusal(_ entry: TreeEntry, _ reason: String) -> StoreError {
    .invalidArchive(root.path, entry: entry.path.description, reason: reason)
  }

  private mutating func parentHandle(of entry: TreeEntry) throws(StoreError) -> DirectoryHandle {
    let path = entry.path.parent
    if path != parent.path { parent = (path, try openOrMake(path, for: entry)) }
    return parent.handle
  }

  /// Opens the directory of an entry; makes it when the tree has left it out.
  private mutating func openOrMake(_ path: TreePath, for entry: TreeEntry) throws(StoreError) -> DirectoryHandle {
    do { return try open(path, for: entry) } catch .system(_, _, .noSuchFileOrDirectory) {}
    var handle = root
    for (depth, name) in path.components.enumerated() {
      let place = TreePath(components: Array(path.components[...depth]))
      if try handle.status(of: name) == nil {
        let directory = TreeEntry(
          path: place, kind: .directory, permissions: 0o755, modificationTime: entry.modificationTime)
        try makeDirectory(name, in: handle, directory)
        directories.append(directory)
      }
      handle = try open(place, for: entry)
    }
    return handle
  }

  private func open(_ path: TreePath, for entry: TreeEntry) throws(StoreError) -> DirectoryHandle {
    do {
      return try root.openDirectory(beneath: path)
    } catch .system(_, _, .tooManySymbolicLinkLevels) {
      throw refusal(entry, "a symbolic link is on the way to it")
    } catch .system(_, _, .notDirectory) {
      throw refusal(entry, "what should be its directory is none")
    }
  }

  private func makeDirectory(_ name: EntryName, in directory: DirectoryHandle, _ entry: TreeEntry) throws(StoreError) {
    do {
      try directory.makeDirectory(name, permissions: 0o700)
    } catch .system(_, _, .fileExists) {
      guard try directory.status(of: name)?.isDirectory == true else {
        throw refusal(entry, "a directory cannot replace what is there")
      }
    }
  }

  /// Makes a new entry; what has the name is removed first, unless it is a directory.
  private func replacing<R>(
    _ name: EntryName, in directory: DirectoryHandle, _ entry: TreeEntry, _ make: () throws(StoreError) -> R
  ) throws(StoreError) -> R {
    do {
      return try make()
    } catch .system(_, _, .fileExists) {
      guard try directory.status(of: name)?.isDirectory != true else { throw refusal(entry, "it cannot replace a directory") }
      try directory.remove(name)
      return try make()
    }
  }

  private mutating func writeFile<Tree: FileTree>(
    _ name: EntryName, in directory: DirectoryHandle, _ entry: TreeEntry, byteCount: UInt64, of tree: inout Tree
  ) throws {
    guard byteCount <= options.maximumByteCount - summary.byteCount else {
      throw refusal(entry, "there are more than \(options.maximumByteCount) bytes")
    }
    summary.byteCount += byteCount
    let file = try replacing(name, in: directory, entry) { () throws(StoreError) in
      try directory.open(name, createNewForWriting, mode: 0o600)
    }
    let path = directory.path.appending(raw: name)
    var offset: UInt64 = 0
    while offset < byteCount {
      try buffer.fill { output in try tree.readContents(into: &output) }
      guard buffer.count > 0 else { throw refusal(entry, "its contents end after \(offset) of \(byteCount) bytes") }
      guard UInt64(buffer.count) <= byteCount - offset else { throw refusal(entry, "its contents exceed \(byteCount) bytes") }
      do {
        if !buffer.isZero { try buffer.write(to: file.descriptor, at: offset) }
      } catch { throw StoreError.system(operation: "write", path: path, error) }
      offset += UInt64(buffer.count)
    }
    do {
      try file.descriptor.resize(to: Int64(clamping: byteCount))
      made.insert(try file.descriptor.status().identity)
    } catch { throw StoreError.system(operation: "write", path: path, error as? Errno ?? .ioError) }
    try setAttributes(of: file.descriptor, path: path, entry)
  }

  private func makeHardLink(
    _ name: EntryName, in directory: DirectoryHandle, _ entry: TreeEntry, to target: TreePath
  ) throws(StoreError) {
    guard let old = target.name else { throw refusal(entry, "a hard link to the root") }
    guard let source = try? open(target.parent, for: entry) else {
      throw refusal(entry, "a hard link to «\(target)», whose directory cannot be opened")
    }
    // The set holds neither links nor directories, nor what was there before: nothing else can become a second name.
    guard let status = try source.status(of: old), made.contains(status.identity) else {
      throw refusal(entry, "a hard link to «\(target)», which is no file that came before it")
    }
    if target == entry.path { return }
    try replacing(name, in: directory, entry) { () throws(StoreError) in
      try directory.makeHardLink(name, to: old, in: source)
    }
  }

  private mutating func makeDevice(
    _ name: EntryName, in directory: DirectoryHandle, _ entry: TreeEntry, _ mode: FileMode, _ major: UInt32, _ minor: UInt32
  ) throws(StoreError) {
    switch options.devices {
    case .refuse: throw refusal(entry, "a device node; these are only made when asked for")
    case .skip:
      summary.skipped.append(entry.path)
      summary.entryCount -= 1
    case .create: try makeNode(name, in: directory, entry, mode, major, minor)
    }
  }

  private mutating func makeNode(
    _ name: EntryName, in directory: DirectoryHandle, _ entry: TreeEntry, _ mode: FileMode, _ major: UInt32, _ minor: UInt32
  ) throws(StoreError) {
    try replacing(name, in: directory, entry) { () throws(StoreError) in
      try directory.makeNode(name, mode: mode.rawValue | 0o600, major: major, minor: minor)
    }
    if let status = try directory.status(of: name) { made.insert(status.identity) }
    try setAttributes(of: name, in: directory, entry)
  }
}

/// Attributes, always in this order: a change of owner clears setuid and capabilities, every change but that of times changes none.
extension TreeExtractor {
  private func setAttributes(of file: FileDescriptor, path: FilePath, _ entry: TreeEntry) throws(StoreError) {
    do {
      if keepsOwners { try file.setOwner(user: entry.userID, group: entry.groupID) }
      try file.setPermissions(entry.permissions)
    } catch { throw .system(operation: "set the mode of", path: path, error) }
    if options.keepsExtendedAttributes {
      for attribute in entry.extendedAttributes { try file.setExtendedAttribute(attribute, path: path) }
    }
    do { try file.setModificationTime(entry.modificationTime) } catch {
      throw .system(operation: "set the time of", path: path, error)
    }
  }

  /// For what cannot be opened: links and special files. A link has no mode.
  private func setAttributes(of name: EntryName, in directory: DirectoryHandle, _ entry: TreeEntry) throws(StoreError) {
    if keepsOwners { try directory.setOwner(of: name, user: entry.userID, group: entry.groupID) }
    if case .symbolicLink = entry.kind {} else { try directory.setPermissions(of: name, to: entry.permissions) }
    if options.keepsExtendedAttributes {
      for attribute in entry.extendedAttributes { try directory.setExtendedAttribute(attribute, of: name) }
    }
    try directory.setModificationTime(of: name, to: entry.modificationTime)
  }

  private mutating func finishDirectories() throws(StoreError) {
    // The deepest first; of one that came twice the later attributes count.
    var done: Set<TreePath> = []
    for entry in directories.reversed().sorted(by: { $0.path.components.count > $1.path.components.count })
    where done.insert(entry.path).inserted {
      let handle = try open(entry.path, for: entry)
      try setAttributes(of: handle.descriptor, path: handle.path, entry)
    }
    directories = []
  }
}
