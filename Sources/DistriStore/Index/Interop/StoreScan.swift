// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import Glibc
import SystemPackage

/// The files of packages in a store's directory, listed once, without a look at any of them.
package struct StoreScan: Sendable {
  /// What tells one state of a directory from another: the number of files, and a sum over their names and inodes that does not depend on
  /// their order.
  package struct Fingerprint: Sendable, Hashable {
    package var count: UInt64 = 0
    package var sum: UInt64 = 0

    package init(count: UInt64 = 0, sum: UInt64 = 0) {
      self.count = count
      self.sum = sum
    }

    /// That of a store without generations, in whose directory these files lie, whatever else does.
    package init(ofFiles inodes: [String: UInt64]) {
      self.init()
      for (name, inode) in inodes { add(name, inode) }
    }
  }

  /// What there is of a package.
  package struct Package: Sendable {
    fileprivate var offset: Int
    fileprivate var length: Int
    /// Of the image, as the directory says; 0 when there is none.
    package fileprivate(set) var imageInode: UInt64 = 0
    package fileprivate(set) var hasMetadata = false
  }

  /// Of the files, and of what is selected of them.
  package private(set) var fingerprint = Fingerprint()
  /// What was selected when the listing began: so whoever sees a generation finds the packages that it names.
  package private(set) var selection = CurrentSelection.State.everything
  /// By the ``mix(_:)`` of the full name.
  package private(set) var packages: [UInt64: Package] = [:]
  private var names: [UInt8] = []

  /// The full name of a package, or what stands in its place.
  package func name(of package: Package) -> [UInt8] { Array(names[package.offset..<(package.offset + package.length)]) }

  /// The full names of packages whose image and metadata are listed.
  package func packages(where isWanted: ([UInt8]) -> Bool) -> [String] {
    packages.values.compactMap { package in
      guard package.imageInode != 0, package.hasMetadata, case let name = name(of: package), isWanted(name) else { return nil }
      return String(decoding: name, as: UTF8.self)
    }
  }

  /// Lists a store.
  ///
  /// - Throws: ``StoreError/system(operation:path:_:)``; sections that are not there are empty, but for the packages themselves.
  package init(_ store: LocalStore) throws(StoreError) {
    var scan = StoreScan()
    scan.selection = CurrentSelection.state(of: store)
    scan.fingerprint.add(scan.selection)
    try unsafe Self.forEachFile(of: store) { name, suffix, inode in
      let stem = unsafe UnsafeRawBufferPointer(rebasing: name.dropLast(suffix.count))
      let key = unsafe mix(stem)
      if scan.packages[key] == nil {
        scan.packages[key] = Package(offset: scan.names.count, length: stem.count)
        unsafe scan.names.append(contentsOf: stem)
      }
      if suffix.count == imageSuffix.count {
        scan.packages[key]?.imageInode = inode
      } else {
        scan.packages[key]?.hasMetadata = true
      }
      scan.fingerprint.add(unsafe mix(name), inode)
    }
    self = scan
  }

  private init() {}

  /// The fingerprint alone.
  ///
  /// - Throws: as ``init(_:)``.
  package static func fingerprint(of store: LocalStore) throws(StoreError) -> Fingerprint {
    var fingerprint = Fingerprint()
    fingerprint.add(CurrentSelection.state(of: store))
    try unsafe forEachFile(of: store) { name, _, inode in fingerprint.add(unsafe mix(name), inode) }
    return fingerprint
  }

  private static func forEachFile(
    of store: LocalStore, _ body: (UnsafeRawBufferPointer, [UInt8], UInt64) -> Void
  ) throws(StoreError) {
    guard let stream = unsafe store.path.withPlatformString({ unsafe opendir($0) }) else {
      let failure = Errno(rawValue: errno)
      if failure == .noSuchFileOrDirectory, store.section != .packages { return }
      throw .system(operation: "list", path: store.path, failure)
    }
    defer { unsafe closedir(stream) }
    while true {
      errno = 0
      guard let entry = unsafe readdir(stream) else {
        guard errno == 0 else { throw .system(operation: "list", path: store.path, Errno(rawValue: errno)) }
        return
      }
      let inode = UInt64(unsafe entry.pointee.d_ino)
      unsafe withUnsafeBytes(of: &entry.pointee.d_name) { field in
        let name = unsafe UnsafeRawBufferPointer(rebasing: field[..<(field.firstIndex(of: 0) ?? field.count)])
        if let suffix = unsafe packageSuffix(of: name) { unsafe body(name, suffix, inode) }
      }
    }
  }
}

private let imageSuffix = Array(".squashfs".utf8)
private let metadataSuffix = Array(".meta.textproto".utf8)

/// The ending of the name of a package's file; nil for other files.
private func packageSuffix(of name: UnsafeRawBufferPointer) -> [UInt8]? {
  if unsafe name.first == UInt8(ascii: ".") { return nil }
  return [imageSuffix, metadataSuffix].first { suffix in
    unsafe name.count > suffix.count && name.suffix(suffix.count).elementsEqual(suffix)
  }
}

extension StoreScan.Fingerprint {
  fileprivate mutating func add(_ name: String, _ inode: UInt64) {
    unsafe Array(name.utf8).withUnsafeBytes { name in
      if unsafe packageSuffix(of: name) != nil { add(unsafe mix(name), inode) }
    }
  }

  fileprivate mutating func add(_ selection: CurrentSelection.State) {
    switch selection {
    case .everything: break
    case .selected(let selection): sum &+= selection.checksum
    case .unreadable: sum &+= 1
    }
  }

  fileprivate mutating func add(_ name: UInt64, _ inode: UInt64) {
    count &+= 1
    sum &+= unsafe withUnsafeBytes(of: (name, inode)) { unsafe mix($0) }
  }
}
