// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import SystemPackage

/// Keeps packages in the store for as long as somebody holds it, whatever generations say: the collector leaves them alone.
///
/// It is a file in a locked area of `.staging`, so that the kernel ends it with the process that made it.
public final class PackageReservation: Sendable {
  /// Those of the packages that the store has not.
  public let missing: [PackageID]
  private let area: StagingArea
  private let staging: DirectoryHandle

  fileprivate init(missing: [PackageID], area: consuming StagingArea, staging: DirectoryHandle) {
    self.missing = missing
    self.area = area
    self.staging = staging
  }

  deinit { try? staging.removeTree(area.name) }
}

extension LocalStore {
  /// Keeps the packages from the collector until the value is gone; processes that were forked meanwhile hold it, too.
  ///
  /// - Throws: ``StoreError/locked(_:holder:)``; ``StoreError/system(operation:path:_:)``, also where the store cannot be written.
  public func reserve(_ packages: [PackageID]) async throws -> PackageReservation {
    let writer = try await openForWriting()
    let lock = try await writer.lock(patience: patience)
    let area = try StagingArea.make(in: writer.staging)
    let handle = area.handle
    let missing = try await blocking { [self] in try writer.reserve(packages, in: handle, of: self) }
    lock.release()
    return PackageReservation(missing: missing, area: area, staging: writer.staging)
  }

  /// Keeps the packages from the collector until the transaction that the area belongs to has ended.
  ///
  /// - Returns: those that the store has not.
  /// - Throws: as ``reserve(_:)``.
  public func reserve(_ packages: [PackageID], in area: borrowing StagingArea) async throws -> [PackageID] {
    let handle = area.handle
    let writer = try await openForWriting()
    // Under the lock, a collector sees either the reservation, or has removed what the answer calls missing.
    let lock = try await writer.lock(patience: patience)
    let missing = try await blocking { [self] in try writer.reserve(packages, in: handle, of: self) }
    lock.release()
    return missing
  }
}

extension StoreWriter {
  private static let reservationName = ".reserved"
  private static let maximumReservationByteCount = 32 << 20

  /// The holder of the store's lock calls this.
  func reserve(_ packages: [PackageID], in area: DirectoryHandle, of store: LocalStore) throws(StoreError) -> [PackageID] {
    let name = try EntryName(Self.reservationName)
    let bytes = Array(packages.sorted().map { "\($0)\n" }.joined().utf8)
    if try area.status(of: name) != nil { try area.remove(name) }
    let file = try area.open(name, createNewForWriting, mode: 0o644)
    do { _ = try file.descriptor.writeAll(bytes) } catch {
      throw .system(operation: "write", path: area.path.appending(raw: name), error as? Errno ?? .ioError)
    }
    let present = Set(try store.packages())
    return packages.filter { !present.contains($0) }.sorted()
  }

  /// What living writers and mounts have reserved. The lock is held, and ``recover()`` has cleared what the dead left.
  func reservations() throws(StoreError) -> Set<PackageID> {
    var result: Set<PackageID> = []
    for name in try staging.names() where name.description != StoreLock.fileName {
      guard try staging.status(of: name)?.isDirectory == true else { continue }
      let path = staging.path.appending(raw: name).appending(Self.reservationName)
      let bytes: [UInt8]
      do throws(StoreError) {
        let area = try staging.openDirectory(beneath: TreePath(components: [name]))
        bytes = try area.open(try EntryName(Self.reservationName), openForReadingWithoutBlocking)
          .contents(limit: Self.maximumReservationByteCount, path: path)
      } catch {
        // None, or one that its holder has just given up.
        if case .system(_, _, .noSuchFileOrDirectory) = error { continue }
        throw error
      }
      for line in String(decoding: bytes, as: UTF8.self).split(separator: "\n") {
        if let package = try? PackageID(parsing: line) { result.insert(package) }
      }
    }
    return result
  }
}
