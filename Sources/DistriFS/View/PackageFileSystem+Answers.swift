// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore
import SystemPackage

extension PackageFileSystem {
  /// The extended attribute of the view's root that says how the mount is: a line for each fact, fields separated by tabs. Extension.
  public static let statusAttribute = "user.distri.status"

  /// The entry of a directory; `EIO` in a damaged package.
  public func lookUp(_ name: EntryName, in directory: NodeID) throws(FileSystemFailure) -> Attributes {
    let view = view
    let found: Attributes
    switch try place(of: directory, in: view) {
    case .root(let exchange):
      if let entry = exchange.entry(named: name) {
        found = try attributes(of: entry, in: exchange, view)
      } else if let package = view.package(named: name) {
        found = attributes(ofDirectoryOf: package)
      } else {
        throw .errno(.noSuchFileOrDirectory)
      }
    case .directory(let exchange):
      guard let entry = exchange.entry(named: name) else { throw .errno(.noSuchFileOrDirectory) }
      found = try attributes(of: entry, in: exchange, view)
    case .file(let package, let node):
      found = try answer(package) { image throws(StoreError) in
        guard let child = try image.lookUp(name, in: node ?? image.root) else { return nil }
        return try attributes(of: child, in: image, package)
      }
    case .reserved: throw .errno(.noSuchFileOrDirectory)
    case .link: throw .errno(.notDirectory)
    }
    count(found.inode, in: view)
    return found
  }

  /// What `lstat` says; a damaged package is a directory whose contents cannot be read.
  public func attributes(of inode: NodeID) throws(FileSystemFailure) -> Attributes {
    let view = view
    switch try place(of: inode, in: view) {
    case .root(let exchange):
      let count = UInt32(clamping: view.shown.count)
      return Attributes(
        inode: .root, kind: .directory, permissions: 0o555, linkCount: 2 &+ exchange.directoryCount &+ count,
        modificationTime: exchange.modificationTime)
    case .directory(let directory): return attributes(of: directory)
    case .link(let directory, let entry): return directory.linkAttributes(of: entry)
    case .reserved(let package), .file(let package, nil): return attributes(ofDirectoryOf: package)
    case .file(let package, .some(let node)):
      return try answer(package) { image throws(StoreError) in try attributes(of: node, in: image, package) }
    }
  }

  /// The entries of a directory, in an order that survives changes of the store.
  public func entries(
    of directory: NodeID, after cookie: UInt64, _ emit: (EntryName, Attributes, UInt64) -> Bool
  ) throws(FileSystemFailure) {
    let view = view
    func counted(_ name: EntryName, _ attributes: Attributes, _ cookie: UInt64) -> Bool {
      guard emit(name, attributes, cookie) else { return false }
      count(attributes.inode, in: view)
      return true
    }
    switch try place(of: directory, in: view) {
    case .root(let exchange):
      guard try emitEntries(of: exchange, view, after: cookie, counted) else { return }
      let first = cookie < Self.firstPackageCookie ? 0 : Int(clamping: cookie - Self.firstPackageCookie) + 1
      for slot in view.slots.dropFirst(first) {
        guard let slot, slot.isShown, let name = try? EntryName(slot.package.id.description) else { continue }
        let cookie = Self.firstPackageCookie + UInt64(slot.package.number)
        if !counted(name, attributes(ofDirectoryOf: slot.package), cookie) { return }
      }
    case .directory(let exchange): _ = try emitEntries(of: exchange, view, after: cookie, counted)
    case .file(let package, let node):
      _ = try answer(package) { image throws(StoreError) in
        try emitEntries(of: node ?? image.root, in: image, package, after: cookie, counted)
        return true
      }
    case .reserved: break
    case .link: throw .errno(.notDirectory)
    }
  }

  /// Bytes of a file; without a copy where they lie uncompressed in the image.
  public func read(
    _ file: NodeID, at offset: UInt64, count: Int, into reply: inout ReplyBuffer
  ) throws(FileSystemFailure) {
    guard case .file(let package, .some(let node)) = try place(of: file, in: view) else { throw .errno(.isDirectory) }
    let (image, run) = try answer(package) { image throws(StoreError) in
      (image, try package.storedRun(of: node, in: image))
    }
    if let run {
      let (start, isPastEnd) = run.lowerBound.addingReportingOverflow(offset)
      if isPastEnd || start >= run.upperBound || count <= 0 { return }
      do {
        try reply.append(image.mapping, start..<(start + min(UInt64(count), run.upperBound - start)))
      } catch {
        throw .errno(Errno(answering: package.note(.system(operation: "read", path: image.path, error))))
      }
      return
    }
    do throws(StoreError) {
      try reply.append(upTo: count) { output throws(StoreError) in try image.read(node, at: offset, into: &output) }
    } catch {
      throw .errno(Errno(answering: package.note(error)))
    }
  }

  /// The target of a link, of the view or of a package.
  public func symbolicLinkTarget(of link: NodeID, into reply: inout ReplyBuffer) throws(FileSystemFailure) {
    switch try place(of: link, in: view) {
    case .link(let directory, let entry): reply.append(directory.target(of: entry))
    case .file(let package, .some(let node)):
      reply.append(try answer(package) { image throws(StoreError) in try image.symbolicLinkTarget(of: node) })
    default: throw .errno(.invalidArgument)
    }
  }

  /// The attributes that the image holds; the root has ``statusAttribute``.
  public func extendedAttributes(of inode: NodeID) throws(FileSystemFailure) -> [ExtendedAttribute] {
    switch try place(of: inode, in: view) {
    case .root: return [ExtendedAttribute(name: Array(Self.statusAttribute.utf8), value: status)]
    case .file(let package, let node):
      if package.problem != nil, node == nil { return [] }
      return try answer(package) { image throws(StoreError) in try image.extendedAttributes(of: node ?? image.root) }
    case .directory, .link, .reserved: return []
    }
  }

  /// At most as long as the kernel takes, 64 KiB.
  private var status: [UInt8] {
    var bytes = Array("packages\t\(view.shown.count)\n".utf8)
    for (subject, reason) in problems {
      let line = Array("problem\t\(subject.printable)\t\(reason.printable)\n".utf8)
      if bytes.count + line.count > 60_000 { break }
      bytes += line
    }
    return bytes
  }
}

// MARK: - Places

extension PackageFileSystem {
  /// Packages are listed after the exchange directories, whose cookies are below this.
  private static let firstPackageCookie: UInt64 = 1 << 32

  private enum Place {
    case root(ExchangeDirectory)
    case directory(ExchangeDirectory)
    case link(ExchangeDirectory, ExchangeDirectory.Entry)
    case reserved(MountedPackage)
    /// Nil is the image's root.
    case file(MountedPackage, PackageImage.Node?)
  }

  /// What an inode is.
  ///
  /// - Throws: `ESTALE` for what has gone: the kernel then looks the name up again.
  private func place(of inode: NodeID, in view: View) throws(FileSystemFailure) -> Place {
    switch InodeCodec.meaning(of: inode) {
    case .root: if let root = view.root { return .root(root) }
    case .directory(let number): if let directory = view.directory(numbered: number) { return .directory(directory) }
    case .link(let number, let entry):
      if let directory = view.directory(numbered: number), let entry = directory.entry(numbered: entry) {
        return .link(directory, entry)
      }
    case .package(let number):
      if let package = view.package(numbered: number) {
        return package.file == nil ? .reserved(package) : .file(package, nil)
      }
    case .file(let number, let node):
      if let package = view.package(numbered: number), package.file != nil { return .file(package, node) }
    case nil: break
    }
    throw .errno(.staleNFSFileHandle)
  }

  /// Asks the package's image.
  private func answer<Answer>(
    _ package: MountedPackage, _ body: (PackageImage) throws(StoreError) -> Answer?
  ) throws(FileSystemFailure) -> Answer {
    do throws(StoreError) {
      if let answer = try body(try package.image()) { return answer }
    } catch {
      if case .damagedImage = error { _ = package.note(error) }
      throw .errno(Errno(answering: error))
    }
    throw .errno(.noSuchFileOrDirectory)
  }

  private func attributes(of directory: ExchangeDirectory) -> Attributes {
    Attributes(
      inode: directory.inode, kind: .directory, permissions: 0o555, linkCount: 2 &+ directory.directoryCount,
      modificationTime: directory.modificationTime)
  }

  private func attributes(
    of entry: ExchangeDirectory.Entry, in directory: ExchangeDirectory, _ view: View
  ) throws(FileSystemFailure) -> Attributes {
    guard case .directory(let number) = entry.content else { return directory.linkAttributes(of: entry) }
    guard let child = view.directory(numbered: number) else { throw .errno(.staleNFSFileHandle) }
    return attributes(of: child)
  }

  /// A damaged package is still there: a directory that cannot be listed.
  private func attributes(ofDirectoryOf package: MountedPackage) -> Attributes {
    do throws(StoreError) {
      if package.file != nil {
        let image = try package.image()
        var attributes = try attributes(of: image.root, in: image, package)
        attributes.inode = InodeCodec.package(package.number)
        return attributes
      }
    } catch {
      _ = package.note(error)
    }
    return Attributes(
      inode: InodeCodec.package(package.number), kind: .directory, permissions: 0o555, linkCount: 2,
      modificationTime: package.modificationTime)
  }

  private func attributes(
    of node: PackageImage.Node, in image: PackageImage, _ package: MountedPackage
  ) throws(StoreError) -> Attributes {
    guard let inode = InodeCodec.file(package: package.number, node) else {
      throw .damagedImage(image.path, place: "inode table", reason: "larger than 2 GiB")
    }
    let found = try image.attributes(of: node)
    var attributes = Attributes(
      inode: inode, kind: found.kind, permissions: found.permissions, userID: found.userID, groupID: found.groupID,
      linkCount: found.linkCount, byteCount: found.byteCount, modificationTime: found.modificationTime)
    attributes.device = (found.device.major, found.device.minor)
    return attributes
  }

  /// In the order of the entries' numbers. False when `emit` wanted no more.
  private func emitEntries(
    of directory: ExchangeDirectory, _ view: View, after cookie: UInt64, _ emit: (EntryName, Attributes, UInt64) -> Bool
  ) throws(FileSystemFailure) -> Bool {
    for position in directory.positions.dropFirst(Int(clamping: cookie)) where position >= 0 {
      let entry = directory.entries[Int(position)]
      let attributes = try attributes(of: entry, in: directory, view)
      if !emit(entry.name, attributes, UInt64(entry.number) + 1) { return false }
    }
    return true
  }

  private func emitEntries(
    of node: PackageImage.Node, in image: PackageImage, _ package: MountedPackage, after cookie: UInt64,
    _ emit: (EntryName, Attributes, UInt64) -> Bool
  ) throws(StoreError) {
    var failure: StoreError?
    try image.forEachEntry(of: node, after: cookie) { entry, cookie in
      do throws(StoreError) {
        return emit(entry.name, try attributes(of: entry.node, in: image, package), cookie)
      } catch {
        failure = error
        return false
      }
    }
    if let failure { throw failure }
  }
}
