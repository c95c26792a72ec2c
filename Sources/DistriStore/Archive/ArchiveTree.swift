// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore
import SystemPackage

/// The entries of an archive: tar, zip, cpio or ar, compressed with gzip, bzip2, xz, lzma, lzip, zstd, lz4 or compress.
///
/// Absolute names become relative; a name with `..` is an error. Entries come as they are stored: their directories may be left out
/// or come later, and a name may come twice, as in tar, where the later one counts. Access control lists and file flags are not read. A cpio
/// archive with hard links is an error, since there the last name has the contents.
public struct ArchiveTree: FileTree {
  /// What an archive may announce; it may be made to fill memory or disk.
  public struct Limits: Sendable {
    /// How many entries.
    public var entryCount: Int
    /// The sum of all files' sizes, in bytes.
    public var byteCount: UInt64
    /// How many directories in one another.
    public var depth: Int

    /// By default 8 million entries, 64 GiB, 256 levels.
    public init(entryCount: Int = 8 << 20, byteCount: UInt64 = 64 << 30, depth: Int = 256) {
      self.entryCount = entryCount
      self.byteCount = byteCount
      self.depth = depth
    }
  }

  private let reader: ArchiveReader
  private let strippedComponents: Int
  private let limits: Limits
  private var entryCount = 0
  private var totalByteCount: UInt64 = 0
  private var contentByteCount: UInt64 = 0

  /// Opens an archive; its format and compression are found by its contents.
  ///
  /// - Parameters:
  ///   - path: the archive.
  ///   - strippingComponents: so many leading components of each name are dropped; entries that have no more than these are left
  ///     out. Upstream's source archives hold one directory that wraps everything: 1.
  ///   - limits: what it may announce.
  /// - Throws: ``StoreError/system(operation:path:_:)`` when the file cannot be read; ``StoreError/invalidArchive(_:entry:reason:)``
  ///   when it is no archive.
  public init(path: FilePath, strippingComponents: Int = 0, limits: Limits = Limits()) throws(StoreError) {
    let file = try OwnedDescriptor(reading: path)
    let status: FileStatus
    do { status = try file.descriptor.status() } catch { throw .system(operation: "stat", path: path, error) }
    try self.init(
      file: file, range: 0..<status.byteCount, path: path, strippingComponents: strippingComponents, limits: limits)
  }

  init(
    file: OwnedDescriptor, range: Range<UInt64>, path: FilePath, strippingComponents: Int, limits: Limits
  ) throws(StoreError) {
    reader = try ArchiveReader(file: file, range: range, path: path)
    strippedComponents = max(0, strippingComponents)
    self.limits = limits
  }

  /// The next entry.
  ///
  /// - Throws: ``StoreError/invalidArchive(_:entry:reason:)`` that names the entry: damage, a name that leaves the tree, a limit;
  ///   ``StoreError/system(operation:path:_:)`` when the file cannot be read.
  public mutating func next() throws -> TreeEntry? {
    contentByteCount = 0
    while try reader.nextHeader() {
      entryCount += 1
      guard entryCount <= limits.entryCount else { throw reader.failure("the archive has more than \(limits.entryCount) entries") }
      guard let path = try path(of: reader.name) else { continue }
      if path.isRoot && entryCount > 1 { continue }
      return try entry(at: path)
    }
    return nil
  }

  /// Appends contents of the current file; holes are zeros.
  ///
  /// - Throws: ``StoreError/invalidArchive(_:entry:reason:)`` for damage, a wrong checksum, or contents of another size than announced.
  public mutating func readContents(into output: inout OutputRawSpan) throws {
    try reader.readContents(into: &output, byteCount: contentByteCount)
  }

  /// Where an entry goes; nil when stripping leaves nothing of it.
  private func path(of name: [UInt8]?) throws(StoreError) -> TreePath? {
    guard let name, !name.isEmpty else { throw reader.failure("an entry without a name, or in an unknown character set") }
    guard name.count < 4096 else { throw reader.failure("its name is longer than 4095 bytes") }
    let path: TreePath
    do { path = try TreePath(parsing: name) } catch {
      throw reader.failure("its name would leave the tree or cannot be one on Linux (\(error))")
    }
    guard path.components.count <= limits.depth else {
      throw reader.failure("nested deeper than \(limits.depth) directories")
    }
    if strippedComponents == 0 { return path }
    guard path.components.count > strippedComponents else { return nil }
    return TreePath(components: Array(path.components.dropFirst(strippedComponents)))
  }

  private mutating func entry(at path: TreePath) throws(StoreError) -> TreeEntry {
    let kind = try kind()
    if path.isRoot, kind != .directory { throw reader.failure("the root of a tree can only be a directory") }
    if case .regular(let byteCount) = kind {
      guard byteCount <= limits.byteCount - totalByteCount else {
        throw reader.failure("the archive announces more than \(limits.byteCount) bytes")
      }
      totalByteCount += byteCount
      contentByteCount = byteCount
    }
    guard let userID = UInt32(exactly: reader.userID), let groupID = UInt32(exactly: reader.groupID) else {
      throw reader.failure("its owner \(reader.userID):\(reader.groupID) is not within 32 bits")
    }
    return TreeEntry(
      path: path, kind: kind, permissions: UInt16(truncatingIfNeeded: reader.mode & 0o7777), userID: userID, groupID: groupID,
      modificationTime: reader.modificationTime, extendedAttributes: try extendedAttributes())
  }

  private func kind() throws(StoreError) -> TreeEntry.Kind {
    let announced = reader.byteCount
    if let target = reader.hardLinkTarget {
      guard announced ?? 0 == 0 else { throw reader.failure("a hard link with contents of its own is not supported") }
      guard let path = try path(of: target), !path.isRoot else {
        throw reader.failure("a hard link to what is not in the tree")
      }
      return .hardLink(to: path)
    }
    guard let mode = FileMode(rawValue: reader.mode & FileMode.mask) else {
      throw reader.failure("it is of an unknown kind (mode \(String(reader.mode, radix: 8)))")
    }
    switch mode {
    case .directory: return .directory
    case .regular:
      if reader.isEncrypted { throw reader.failure("it is encrypted") }
      guard let announced, let byteCount = UInt64(exactly: announced) else { throw reader.failure("it does not say its size") }
      return .regular(byteCount: byteCount)
    case .symbolicLink:
      guard let target = reader.symbolicLinkTarget, !target.isEmpty, target.count < 4096 else {
        throw reader.failure("a symbolic link without a target, or one longer than 4095 bytes")
      }
      return .symbolicLink(target: target)
    case .characterDevice, .blockDevice:
      guard let major = UInt32(exactly: reader.deviceMajor), let minor = UInt32(exactly: reader.deviceMinor) else {
        throw reader.failure("a device number that is not within 32 bits")
      }
      return mode == .blockDevice ? .blockDevice(major: major, minor: minor) : .characterDevice(major: major, minor: minor)
    case .fifo: return .fifo
    case .socket: return .socket
    }
  }

  private func extendedAttributes() throws(StoreError) -> [ExtendedAttribute] {
    let attributes = reader.extendedAttributes
    for attribute in attributes where attribute.name.count > 255 || attribute.value.count > 65_536 {
      throw reader.failure("an extended attribute larger than Linux allows")
    }
    return attributes
  }
}
