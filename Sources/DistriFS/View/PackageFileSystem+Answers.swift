// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore
import SystemPackage

extension PackageFileSystem {
  /// The extended attribute of the view's root that says how the mount is: a line for each fact, fields separated by tabs. Extension.
  public static let statusAttribute = "user.distri.status"

  /// The entry of a directory; `EIO` in a damaged package.
  public func lookUp(_ name: EntryName, in directory: NodeID) throws(FileSystemFailure) -> Attributes {
    try current.withValue { view throws(FileSystemFailure) in
      let found: Attributes?
      switch try place(of: directory, in: view) {
      case .directory(let exchange):
        found = try exchange.entry(named: name.bytes).map { entry throws(FileSystemFailure) in
          try attributes(of: entry, in: exchange, view)
        }
      case .file(let package, let number):
        found = try answer(package) { opened throws(FileSystemFailure) in
          guard let node = opened.index.node(number), node.kind == .directory else { throw .errno(.notDirectory) }
          if let child = opened.index.lookUp(name.bytes, in: node) { return try attributes(of: child, opened.index, package) }
          return view.unions.links[directory]?.first { $0.name == name }?.attributes
        }
      case .reserved: found = nil
      case .link, .unionLink: throw .errno(.notDirectory)
      }
      guard let found else { throw .errno(.noSuchFileOrDirectory) }
      count(found.inode)
      return found
    }
  }

  /// What `lstat` says; a damaged package is a directory whose contents cannot be read.
  public func attributes(of inode: NodeID) throws(FileSystemFailure) -> Attributes {
    try current.withValue { view throws(FileSystemFailure) in
      switch try place(of: inode, in: view) {
      case .directory(let directory): return directory.attributes
      case .link(let directory, let entry, let claim): return try linkAttributes(of: entry, claim, in: directory, view)
      case .unionLink(let link): return link.attributes
      case .reserved(let package), .file(let package, PackageIndex.root): return package.attributes
      case .file(let package, let node):
        return try answer(package) { opened throws(FileSystemFailure) in
          guard let found = try attributes(of: node, opened.index, package) else { throw .errno(.staleNFSFileHandle) }
          return found
        }
      }
    }
  }

  /// The entries of a directory, in an order that survives changes of the store.
  public func entries(
    of directory: NodeID, after cookie: UInt64, _ emit: (EntryName, Attributes, UInt64) -> Bool
  ) throws(FileSystemFailure) {
    func counted(_ name: [UInt8], _ attributes: Attributes, _ cookie: UInt64) -> Bool {
      // Before the kernel hears of it.
      count(attributes.inode)
      if emit(EntryName(checked: name), attributes, cookie) { return true }
      // Not `forget`, which may replace the view that is in use here.
      if let number = NodeCodec.packageNumber(of: attributes.inode) { _ = references.subtract(1, from: number) }
      return false
    }
    try current.withValue { view throws(FileSystemFailure) in
      switch try place(of: directory, in: view) {
      case .directory(let exchange):
        for position in exchange.position(from: cookie &+ 1)..<exchange.count {
          let entry = exchange.entry(at: position)
          if !counted(exchange.name(of: entry), try attributes(of: entry, in: exchange, view), entry.hash) { return }
        }
      case .file(let package, let number):
        if number == PackageIndex.root, cookie == 0 {
          prefetcher.walkHasReached(package, in: view) { [supply] in _ = try? $0.open(in: supply) }
        }
        try answer(package) { opened throws(FileSystemFailure) in
          let index = opened.index
          guard let node = index.node(number), node.kind == .directory else { throw .errno(.notDirectory) }
          for entryNumber in node.entries.dropFirst(Int(clamping: cookie)) {
            let entry = index.entry(entryNumber)
            guard let attributes = try attributes(of: entry.node, index, package) else { continue }
            let name = index.names.array(entry.nameOffset, entry.nameLength)
            if !counted(name, attributes, UInt64(entryNumber - node.entries.lowerBound) + 1) { return }
          }
          for link in view.unions.links[directory] ?? [] where link.cookie > cookie {
            if !counted(link.name.bytes, link.attributes, link.cookie) { return }
          }
        }
      case .reserved: break
      case .link, .unionLink: throw .errno(.notDirectory)
      }
    }
  }

  /// Bytes of a file; without a copy where they lie uncompressed in the image.
  public func read(
    _ file: NodeID, at offset: UInt64, count: Int, into reply: inout ReplyBuffer
  ) throws(FileSystemFailure) {
    let (package, opened, node) = try current.withValue { view throws(FileSystemFailure) in
      guard case .file(let package, let number) = try place(of: file, in: view) else { throw .errno(.isDirectory) }
      return try answer(package) { opened throws(FileSystemFailure) in
        guard let node = opened.index.node(number) else { throw .errno(.staleNFSFileHandle) }
        return (package, opened, node)
      }
    }
    guard node.kind == .regular else { throw .errno(node.kind == .directory ? .isDirectory : .invalidArgument) }
    if offset >= node.byteCount || count <= 0 { return }
    let mapping: MappedFile
    switch opened.contents {
    case .mapped(let image): mapping = image
    case .remote(let source):
      let file = RemoteFile(package: package, opened: opened, source: source)
      return try read(node, of: file, at: offset, count: count, into: &reply)
    }
    do throws(StoreError) {
      if let run = node.storedRun {
        let start = run.lowerBound + offset
        do throws(Errno) {
          let end = start + min(UInt64(count), run.upperBound - start)
          try reply.append(mapping, start..<end, ahead: Self.readAhead(count, at: end, in: run))
        } catch {
          throw .system(operation: "read", path: store.path.appending("\(package.description).squashfs"), error)
        }
      } else if let image = try opened.image() {
        try reply.append(upTo: count) { output throws(StoreError) in try image.read(node.image, at: offset, into: &output) }
        if mapping.hasFaulted { throw Self.truncated(store, package) }
      }
    } catch {
      throw .errno(Errno(answering: package.note(error)))
    }
  }

  /// The target of a link, of the view or of a package.
  public func symbolicLinkTarget(of link: NodeID, into reply: inout ReplyBuffer) throws(FileSystemFailure) {
    let target = try current.withValue { view throws(FileSystemFailure) -> [UInt8] in
      switch try place(of: link, in: view) {
      case .link(let directory, let entry, let claim):
        guard let package = view.package(numbered: claim.package) else { throw .errno(.staleNFSFileHandle) }
        return directory.target(of: entry, claim, package: package.name)
      case .unionLink(let link): return link.target
      case .file(let package, let number):
        return try answer(package) { opened throws(FileSystemFailure) in
          guard let node = opened.index.node(number), node.kind == .symbolicLink else { throw .errno(.invalidArgument) }
          return opened.index.target(of: node)
        }
      default: throw .errno(.invalidArgument)
      }
    }
    reply.append(target)
  }

  /// The attributes that the image holds; the root has ``statusAttribute``.
  public func extendedAttributes(of inode: NodeID) throws(FileSystemFailure) -> [ExtendedAttribute] {
    if inode == .root { return [ExtendedAttribute(name: Array(Self.statusAttribute.utf8), value: status)] }
    return try current.withValue { view throws(FileSystemFailure) in
      guard case .file(let package, let number) = try place(of: inode, in: view) else { return [] }
      if package.problem != nil, number == PackageIndex.root { return [] }
      return try answer(package) { opened throws(FileSystemFailure) in
        guard let node = opened.index.node(number) else { throw .errno(.staleNFSFileHandle) }
        return opened.index.extendedAttributes(of: node)
      }
    }
  }

  /// How many bytes behind a read are likely to be wanted next.
  private static func readAhead(_ count: Int, at end: UInt64, in run: Range<UInt64>) -> UInt64 {
    // Small files lie side by side in the image, and are read side by side.
    if run.upperBound - run.lowerBound <= 64 << 10 { return 256 << 10 }
    // The kernel asks for so much only when a file is read from one end to the other.
    return count >= 512 << 10 ? min(2 * UInt64(count), run.upperBound - end) : 0
  }

  /// At most as long as the kernel takes, 64 KiB.
  private var status: [UInt8] {
    var bytes = Array("packages\t\(view.shownCount)\n".utf8)
    for (subject, reason) in problems {
      let line = Array("problem\t\(subject.printable)\t\(reason.printable)\n".utf8)
      if bytes.count + line.count > 60_000 { break }
      bytes += line
    }
    return bytes
  }

  /// Notes that the kernel is about to hold one more reference.
  private func count(_ inode: NodeID) {
    if let number = NodeCodec.packageNumber(of: inode) { references.add(number) }
  }

  private static func truncated(_ store: LocalStore, _ package: MountedPackage) -> StoreError {
    .system(operation: "read", path: store.path.appending("\(package.description).squashfs"), .ioError)
  }
}

// MARK: - Places

extension PackageFileSystem {
  private enum Place {
    case directory(ExchangeDirectory)
    case link(ExchangeDirectory, ExchangeDirectory.Entry, ExchangeDirectory.Claim)
    case unionLink(RuntimeUnions.Link)
    case reserved(MountedPackage)
    /// By the number that the package's index gives it.
    case file(MountedPackage, UInt32)
  }

  /// What an inode is.
  ///
  /// - Throws: `ESTALE` for what has gone: the kernel then looks the name up again.
  private func place(of inode: NodeID, in view: View) throws(FileSystemFailure) -> Place {
    switch NodeCodec.meaning(of: inode) {
    case .directory(let number): return .directory(try directory(number, in: view))
    case .link(let number, let claim):
      if let link = view.unions.link(inode) { return .unionLink(link) }
      guard let package = view.package(numbered: number), case let claims = package.summary.claims, Int(claim) < claims.count / 8
      else { break }
      let parent = try directory(claims.u32(Int(claim) * 8), in: view)
      if let found = parent.entry(of: number, claim: claim, prefix: claims.u32(Int(claim) * 8 + 4)) {
        return .link(parent, found.entry, found.claim)
      }
    case .file(let number, let node):
      if let package = view.package(numbered: number) { return package.identity == nil ? .reserved(package) : .file(package, node) }
    case nil: break
    }
    throw .errno(.staleNFSFileHandle)
  }

  private func directory(_ number: UInt32, in view: View) throws(FileSystemFailure) -> ExchangeDirectory {
    let directory = view.directory(numbered: number)
    guard view.file?.isDamaged == true else {
      if let directory { return directory }
      throw .errno(.staleNFSFileHandle)
    }
    // The next look makes the view anew.
    saver.schedule { [weak self] in try? self?.refresh(at: SystemCalls.now) }
    throw .errno(.ioError)
  }

  /// Asks the package's index.
  private func answer<Answer>(
    _ package: MountedPackage, _ body: (OpenedPackage) throws(FileSystemFailure) -> Answer
  ) throws(FileSystemFailure) -> Answer {
    let opened: OpenedPackage
    do throws(StoreError) { opened = try package.open(in: supply) } catch {
      if case .unavailable = error, let remote = supply.remote, let there = supply.remotePackage(of: package) {
        throw .notReady { [supply] in try await package.fetchIndex(of: there, from: remote, in: supply) }
      }
      throw .errno(Errno(answering: error))
    }
    let answer: Answer
    do throws(FileSystemFailure) { answer = try body(opened) } catch {
      // What a damaged index says is no reason either.
      guard opened.index.hasFaulted else { throw error }
      throw .errno(Errno(answering: package.note(Self.truncated(store, package))))
    }
    if opened.index.hasFaulted { throw .errno(Errno(answering: package.note(Self.truncated(store, package)))) }
    return answer
  }

  private func attributes(
    of entry: ExchangeDirectory.Entry, in directory: ExchangeDirectory, _ view: View
  ) throws(FileSystemFailure) -> Attributes {
    switch entry.kind {
    case .directory: return try self.directory(entry.detail, in: view).attributes
    case .package:
      guard let package = view.package(numbered: entry.detail) else { throw .errno(.staleNFSFileHandle) }
      return package.attributes
    case .link: return try linkAttributes(of: entry, directory.claim(at: entry.claims.lowerBound), in: directory, view)
    }
  }

  private func linkAttributes(
    of entry: ExchangeDirectory.Entry, _ claim: ExchangeDirectory.Claim, in directory: ExchangeDirectory, _ view: View
  ) throws(FileSystemFailure) -> Attributes {
    guard let package = view.package(numbered: claim.package) else { throw .errno(.staleNFSFileHandle) }
    let isShown = entry.kind == .link && directory.claim(at: entry.claims.lowerBound) == claim
    let byteCount = isShown ? UInt64(entry.detail) : UInt64(directory.target(of: entry, claim, package: package.name).count)
    return Attributes(
      inode: NodeCodec.link(package: claim.package, claim: claim.number), kind: .symbolicLink, permissions: 0o777,
      byteCount: byteCount,
      modificationTime: package.modificationTime)
  }

  /// Of a file of a package; nil for what is not there, or not to be shown.
  private func attributes(
    of number: UInt32, _ index: PackageIndex, _ package: MountedPackage
  ) throws(FileSystemFailure) -> Attributes? {
    guard let node = index.node(number), showsDevices || !node.isDevice else { return nil }
    var attributes = Attributes(
      inode: NodeCodec.file(package: package.number, node: number), kind: node.kind,
      permissions: UInt16(truncatingIfNeeded: node.mode & 0o7777), userID: node.userID, groupID: node.groupID,
      linkCount: node.linkCount,
      byteCount: node.byteCount, modificationTime: node.modificationTime)
    if node.isDevice { attributes.device = node.device }
    return attributes
  }
}

extension ExchangeDirectory {
  fileprivate var attributes: Attributes {
    Attributes(
      inode: NodeCodec.directory(number), kind: .directory, permissions: 0o555, linkCount: 2 &+ directoryCount,
      modificationTime: modificationTime)
  }
}
