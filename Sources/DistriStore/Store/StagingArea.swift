// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import SystemPackage

/// Where a transaction collects the files of packages before they appear in the store.
///
/// It is a directory of its own below `<store>/.staging`, locked while its writer lives, so that nobody else clears it away.
/// Several may be filled at the same time. Files of other names than those of packages are scratch and vanish with it.
public struct StagingArea: ~Copyable, Sendable {
  /// The directory that holds the files; on the store's file system.
  public let directory: FilePath

  let handle: DirectoryHandle
  let name: EntryName

  /// Where the image has to be created.
  public func imagePath(of package: PackageID) -> FilePath { directory.appending(package.imageFileName) }

  /// Where the metadata has to be created; ``stage(_:of:)`` does it.
  public func metadataPath(of package: PackageID) -> FilePath { directory.appending(package.metadataFileName) }

  /// Both paths, for a task that cannot borrow the area.
  public func files(of package: PackageID) -> StagedFiles {
    StagedFiles(image: imagePath(of: package), metadata: metadataPath(of: package), partials: partials)
  }

  /// What outlives the area when its writer is killed.
  public var partials: PartialFiles { PartialFiles(staging: directory.removingLastComponent()) }

  /// Writes the package's metadata file.
  ///
  /// - Throws: ``StoreError/system(operation:path:_:)``.
  public func stage(_ metadata: PackageMetadata, of package: PackageID) throws(StoreError) {
    let path = metadataPath(of: package)
    do {
      let file = try FileDescriptor.open(
        path, .writeOnly, options: [.create, .truncate, .noFollow, .closeOnExec], permissions: FilePermissions(rawValue: 0o644))
      try file.closeAfter { _ = try file.writeAll(Array(metadata.textproto.utf8)) }
    } catch {
      throw .system(operation: "write", path: path, error as? Errno ?? .ioError)
    }
  }

  /// Packs the tree as the package's image.
  ///
  /// - Throws: what ``ImageWriter`` and the tree throw; ``StoreError/system(operation:path:_:)``.
  @discardableResult
  public func stage<Tree: FileTree>(
    _ tree: inout Tree, of package: PackageID, with writer: ImageWriter = ImageWriter()
  ) throws -> ImageSummary {
    try create(package) { file, path in try writer.write(&tree, to: file, path: path) }
  }

  /// Packs the tree as the package's image; the kernel copies what it can.
  ///
  /// - Throws: what ``ImageWriter`` and the tree throw; ``StoreError/system(operation:path:_:)``.
  @discardableResult
  public func stage<Tree: DescriptorBackedTree>(
    _ tree: inout Tree, of package: PackageID, with writer: ImageWriter = ImageWriter()
  ) throws -> ImageSummary {
    try create(package) { file, path in try writer.write(&tree, to: file, path: path) }
  }

  private func create<R>(_ package: PackageID, _ write: (FileDescriptor, FilePath) throws -> R) throws -> R {
    let path = imagePath(of: package)
    let file: FileDescriptor
    do {
      file = try FileDescriptor.open(
        path, .readWrite, options: [.create, .truncate, .noFollow, .closeOnExec], permissions: FilePermissions(rawValue: 0o644))
    } catch {
      throw StoreError.system(operation: "create", path: path, error as? Errno ?? .ioError)
    }
    return try file.closeAfter { try write(file, path) }
  }

  /// Makes an area and locks it. The caller holds the store's lock: a cleaner between the two steps would take it for abandoned.
  static func make(in staging: DirectoryHandle, suffix: String = "") throws(StoreError) -> StagingArea {
    var generator = SystemRandomNumberGenerator()
    let random = String(generator.next() as UInt64, radix: 16)
    let name = try EntryName("\(processIdentifier)-\(random)\(suffix)")
    try staging.makeDirectory(name, permissions: 0o755)
    let handle = try staging.openDirectory(beneath: TreePath(components: [name]))
    do { _ = try handle.descriptor.lockExclusively() } catch {
      throw .system(operation: "lock", path: handle.path, error)
    }
    return StagingArea(directory: handle.path, handle: handle, name: name)
  }
}
