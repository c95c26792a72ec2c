// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore
import SystemPackage

/// A copy of packages of a store, in a file system that is being made: what a mount of it would leave in its index directory, so that
/// already the first one has nothing to parse.
package struct CopiedStore {
  private let packages: [PackageID]
  private let store: LocalStore
  private let sources = ExchangeSource.packages

  /// - Parameters:
  ///   - packages: what the copy has.
  ///   - store: has the same packages, and gives what is to be known of them.
  package init(of packages: [PackageID], in store: LocalStore) {
    self.packages = packages.sorted()
    self.store = store
  }

  /// The names of the files that ``indexes(inodes:modificationTime:)`` gives, below the copy's directory.
  package var indexNames: [String] {
    (packages.map { IndexDirectory.fileName(of: $0.description) } + [ViewSaver.fileName(ViewSaver.digest(of: sources))])
      .map { "\(IndexDirectory.name)/\($0)" }
  }

  /// The indexes of the packages and the view, in the order of ``indexNames``. What is not as it is said here makes them useless, no more: then they are
  /// made anew.
  ///
  /// - Parameters:
  ///   - inodes: the number of each file in the copy's directory, by name.
  ///   - time: the modification time of the images in the copy, in seconds since 1970.
  /// - Throws: ``StoreError`` for an image that cannot be read.
  package func indexes(inodes: [String: UInt64], modificationTime time: Int64) throws(StoreError) -> [[UInt8]] {
    var result: [[UInt8]] = []
    var numbering = Numbering()
    var arrivals: [ViewBuilder.Arrival] = []
    for package in packages {
      let (index, byteCount) = try index(of: package)
      let identity = ImageIdentity(
        inode: inodes[package.imageFileName] ?? 0, byteCount: byteCount, modificationTime: time, nanoseconds: 0)
      result.append(index.bytes(boundTo: identity))
      let name = Array(package.description.utf8)
      guard let number = numbering.package(name, identity) else { continue }
      arrivals.append(
        .init(package: MountedPackage(number: number, name: IndexBytes(name), identity: identity), index: index))
    }
    let view = view(of: arrivals, &numbering)
    result.append(
      ViewFile.bytes(of: view, StoreScan.Fingerprint(ofFiles: inodes), sources: ViewSaver.digest(of: sources)))
    return result
  }

  private func view(of arrivals: [ViewBuilder.Arrival], _ numbering: inout Numbering) -> View {
    let empty = ViewBuilder.emptyView(sources, &numbering)
    let built = ViewBuilder.apply(removing: [], adding: arrivals, to: empty, sources: sources, at: nil, &numbering)
    var slots = PackageSlots()
    for arrival in arrivals { slots[arrival.package.number] = View.Slot(package: arrival.package, isShown: true) }
    let unions = arrivals.flatMap { RuntimeUnions.declarations(of: $0.package, in: store) }
    return View(
      file: nil, changed: empty.changed.merging(built.changed) { $1 }, slots: slots, unions: RuntimeUnions(declarations: unions),
      nextPackage: numbering.nextPackage, nextDirectory: numbering.nextDirectory)
  }

  private func index(of package: PackageID) throws(StoreError) -> (PackageIndex, byteCount: UInt64) {
    let path = store.path.appending(package.imageFileName)
    let file = try OwnedDescriptor(reading: path)
    let (identity, mapping): (ImageIdentity, MappedFile)
    do throws(Errno) {
      identity = try ImageIdentity(of: file.descriptor)
      mapping = try MappedFile(descriptor: file.descriptor)
    } catch {
      throw .system(operation: "map", path: path, error)
    }
    return (try store.index(of: package.description, image: mapping, identity), identity.byteCount)
  }
}
