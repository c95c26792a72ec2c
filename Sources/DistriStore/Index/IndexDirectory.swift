// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import SystemPackage

/// `<store>/.index`: what is derived from a store, so that nobody has to parse it again. Whatever goes wrong with it is no error: then the
/// index is made in memory.
package struct IndexDirectory: Sendable {
  /// Its name in the store.
  package static let name = ".index"
  private let path: FilePath

  package init(_ store: LocalStore) { self.init(in: store.path) }

  /// The one in a directory that is no store.
  package init(in directory: FilePath) { path = directory.appending(Self.name) }

  /// The file name of a package's index.
  package static func fileName(of package: String) -> String { "\(package).index" }

  /// Maps a file; nil where there is none.
  package func map(_ name: String) -> MappedFile? {
    guard let file = try? OwnedDescriptor(reading: path.appending(name)) else { return nil }
    return try? MappedFile(descriptor: file.descriptor)
  }

  /// Opens a file; nil where there is none.
  package func open(_ name: String) -> FileDescriptor? {
    try? FileDescriptor.open(path.appending(name), .readOnly, options: [.closeOnExec, .nonBlocking])
  }

  /// Puts a file there in one step, in place of one of the same name. False where that is not possible.
  ///
  /// It is written without a name, so that a writer that is killed leaves nothing.
  @discardableResult
  package func write(_ name: String, _ bytes: [UInt8]) -> Bool {
    do {
      let store = try DirectoryHandle(opening: path.removingLastComponent())
      let own = try EntryName(Self.name)
      if try store.status(of: own) == nil { try? store.makeDirectory(own, permissions: 0o755) }
      let directory = try store.openDirectory(beneath: TreePath(components: [own]))
      let file = try directory.createUnnamed(permissions: 0o644)
      try file.descriptor.writeAll(bytes)
      let name = try EntryName(name)
      // Another process may do the same: its file is as good.
      if try directory.status(of: name) != nil { try? directory.remove(name) }
      try directory.give(file, name)
      return true
    } catch {
      return false
    }
  }

  /// Makes the index of an image that is being staged, beside it.
  static func makeIndex(of package: PackageID, in area: DirectoryHandle) throws {
    let image = try area.open(try EntryName(package.imageFileName), openForReadingWithoutBlocking)
    let identity = try ImageIdentity(of: image.descriptor)
    let path = area.path.appending(package.imageFileName)
    let bytes = try PackageIndexBuilder.bytes(of: try PackageImage(descriptor: image.descriptor, path: path), identity)
    let file = try area.open(try EntryName(fileName(of: package.description)), createNewForWriting, mode: 0o644)
    try file.descriptor.writeAll(bytes)
  }

  /// Moves an index from where it was staged to its place, if there is one.
  static func move(indexOf package: PackageID, from area: DirectoryHandle, to store: DirectoryHandle) {
    do {
      let name = try EntryName(fileName(of: package.description))
      guard try area.status(of: name) != nil else { return }
      let own = try EntryName(Self.name)
      if try store.status(of: own) == nil { try store.makeDirectory(own, permissions: 0o755) }
      try area.rename(name, to: try store.openDirectory(beneath: TreePath(components: [own])), as: name)
    } catch {
      // It is made again when it is wanted.
    }
  }

  /// Removes a file, if it is there.
  package func remove(_ name: String) {
    guard let directory = try? DirectoryHandle(opening: path), let name = try? EntryName(name) else { return }
    try? directory.remove(name)
  }

  /// Removes the indexes of packages that are not there any more.
  package func sweep(isKept: (String) -> Bool) {
    guard let directory = try? DirectoryHandle(opening: path), let names = try? directory.names() else { return }
    for name in names where !isKept(name.description) { try? directory.remove(name) }
  }
}

extension LocalStore {
  /// The index of an image: the one that is there, or one made now, kept for the next time where the store can be written.
  ///
  /// - Parameters:
  ///   - package: the full name.
  ///   - mapping: the image.
  ///   - identity: the image's file.
  /// - Throws: ``StoreError/damagedImage(_:place:reason:)``; ``StoreError/system(operation:path:_:)``.
  package func index(
    of package: String, image mapping: MappedFile, _ identity: ImageIdentity
  ) throws(StoreError) -> PackageIndex {
    let directory = IndexDirectory(self)
    let name = IndexDirectory.fileName(of: package)
    if let index = PackageIndex.kept(name, in: directory, of: identity) { return index }
    let path = path.appending("\(package).squashfs")
    return try directory.index(
      name, try PackageIndexBuilder.bytes(of: try PackageImage(mapping, path: path), identity), of: identity, path: path)
  }
}

extension IndexDirectory {
  /// Keeps an index that was made now, and maps it; where it cannot be kept, it is in memory.
  func index(
    _ name: String, _ bytes: [UInt8], of identity: ImageIdentity, path: FilePath
  ) throws(StoreError) -> PackageIndex {
    if write(name, bytes), let file = map(name), let index = PackageIndex(file, of: identity) { return index }
    do {
      if let index = PackageIndex(try MappedFile(copying: bytes), of: identity) { return index }
    } catch {
      throw .system(operation: "index", path: path, error)
    }
    throw .damagedImage(path, place: "index", reason: "it does not read back as it was written")
  }
}
