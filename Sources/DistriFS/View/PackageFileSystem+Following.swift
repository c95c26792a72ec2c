// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore
import SystemPackage

extension PackageFileSystem {
  /// Looks at the store, at every file of it, shows what has changed, and tells the subscribers.
  ///
  /// - Parameter time: now, in seconds since 1970: the modification time of directories that change.
  /// - Throws: ``StoreError/system(operation:path:_:)`` when the store cannot be listed; then nothing changes.
  public func refresh(at time: Int64) throws(StoreError) { try refresh(looking: .atAll, at: time) }

  private func refresh(looking extent: Update.Extent, at time: Int64) throws(StoreError) {
    if selection.only != nil { return }
    let result: Result<Void, StoreError> = following.withLock { following in
      do throws(StoreError) {
        try refresh(&following, looking: extent, at: time)
        return .success(())
      } catch {
        return .failure(error)
      }
    }
    try result.get()
  }

  private func refresh(_ following: inout Following, looking extent: Update.Extent, at time: Int64) throws(StoreError) {
    var before = current.value
    if before.file?.isDamaged == true { before = try rebuilt(&following) }
    let update = Update(supply, selection, sources, references)
    let result = try update.run(after: before, &following.numbering, looking: extent, at: time)
    // Taken in any case: without a keeper nobody needs them.
    let notes = following.numbering.takeNotes()
    journal?.append(notes)
    let isNew = result.view !== before || following.fingerprint != result.fingerprint
    following.fingerprint = result.fingerprint
    if result.view !== before { current.replace(by: result.view) }
    let changes = following.unreported + result.changes
    if !changes.isEmpty {
      for report in following.subscribers.values { report(changes) }
      if !following.subscribers.isEmpty { following.unreported = [] }
    }
    if isNew { saveSoon() }
    if current.withValue({ $0.hasLingering }) { forgetLingering(after: 1) }
  }

  /// Makes the kernel forget files of packages that have gone. It has forgotten all that nobody was using when they went; what somebody was in
  /// the middle of stays known to it by name, for good, unless each name is forgotten, too.
  ///
  /// - Parameter seconds: until then, and twice as long each time until nothing is left.
  private func forgetLingering(after seconds: Int) {
    lingering.schedule(after: seconds) { [weak self] in
      guard let self else { return }
      let isDone = following.withLock { following in
        let changes = self.current.value.lingering.flatMap { package in
          package.openedIfUsed.map { package.names(of: $0.index) } ?? []
        }
        if !changes.isEmpty { for report in following.subscribers.values { report(changes) } }
        self.dropUnused()
        return following.subscribers.isEmpty || !self.current.withValue { $0.hasLingering }
      }
      if !isDone { forgetLingering(after: min(seconds * 2, 64)) }
    }
  }

  /// The holder of the lock calls this.
  private func dropUnused() {
    let before = current.value
    let after = Update(supply, selection, sources, references).dropUnused(before)
    if after !== before { current.replace(by: after) }
  }

  /// A view made from scratch when the file of the present one has turned out to be damaged: with new numbers, since the old ones are lost.
  private func rebuilt(_ following: inout Following) throws(StoreError) -> View {
    let lost = current.value
    following.numbering.skip(to: lost)
    let view = ViewBuilder.emptyView(sources, &following.numbering)
    following.unreported += lost.shown.compactMap { package in (try? EntryName(package.name.array)).map { .entry($0, in: .root) } }
    following.unreported += sources.map { .entry($0.name, in: .root) }
    following.unreported.append(.directory(.root))
    var slots = PackageSlots()
    for slot in lost.slots { slots[slot.package.number] = View.Slot(package: slot.package, isShown: false) }
    return view.with(slots: slots)
  }

  /// Follows the store until the subscription is cancelled.
  public func subscribe(_ report: @escaping @Sendable ([FileSystemChange]) -> Void) throws -> any ChangeSubscription {
    let key = following.withLock { following in
      defer { following.nextSubscriber &+= 1 }
      following.subscribers[following.nextSubscriber] = report
      return following.nextSubscriber
    }
    if keeper != nil || current.value.file == nil { saveSoon() }
    do {
      // The first look is for what happened before the watch began.
      let watcher = try StoreWatcher(store.path) { [self] event in
        switch event {
        case .start:
          // Here, since somebody has to answer meanwhile. At all files: one that was replaced may have the number of the old one.
          reportUnreported()
          try? refresh(looking: .atAll, at: SystemCalls.now)
        case .files(let names): try? refresh(looking: .atNames(names), at: SystemCalls.now)
        case .unknown: try? refresh(looking: .atAll, at: SystemCalls.now)
        }
      }
      return Subscription(fileSystem: self, key: key, watcher: watcher)
    } catch {
      following.withLock { $0.subscribers[key] = nil }
      throw StoreError.system(operation: "watch", path: store.path, error)
    }
  }

  private func reportUnreported() {
    following.withLock { following in
      if following.unreported.isEmpty || following.subscribers.isEmpty { return }
      for report in following.subscribers.values { report(following.unreported) }
      following.unreported = []
    }
  }

  private struct Subscription: ChangeSubscription {
    let fileSystem: PackageFileSystem
    let key: UInt64
    let watcher: StoreWatcher

    func cancel() {
      fileSystem.following.withLock { $0.subscribers[key] = nil }
      watcher.cancel()
      fileSystem.save()
    }
  }

  // MARK: - References of the kernel

  /// Counts down; a package that has gone from the store is closed with its last user.
  public func forget(_ inode: NodeID, lookups: UInt64) {
    guard let number = NodeCodec.packageNumber(of: inode), references.subtract(lookups, from: number),
      !current.withValue({ $0.isShown(number) })
    else { return }
    // Not when somebody looks at the store, who may be waiting for this very thread: it is done at the end of the next look then.
    following.withLockIfAvailable { _ in dropUnused() }
  }

  // MARK: - Keeping the view

  private func saveSoon() {
    if !selection.isWhole { return }
    saver.schedule { [weak self] in self?.save() }
  }

  /// Writes the view for the next mount, and goes on with the file that was written.
  private func save() {
    guard selection.isWhole else { return }
    let (view, fingerprint) = following.withLock { (current.value, $0.fingerprint) }
    let isKept = following.withLock { keeper == nil || $0.isKept }
    if view.changed.isEmpty, view.file?.fingerprint == fingerprint, isKept { return }
    let digest = ViewSaver.digest(of: sources, supply.remote)
    let bytes = ViewFile.bytes(of: view, fingerprint, sources: digest)
    let directory = IndexDirectory(store)
    let name = ViewSaver.fileName(digest)
    let isWritten = directory.write(name, bytes)
    guard let descriptor = isWritten ? directory.open(name) : try? MappedFile.anonymousFile(bytes) else { return }
    defer { try? descriptor.close() }
    guard let file = (try? MappedFile(descriptor: descriptor)).flatMap({ ViewFile($0, sources: digest) }),
      file.fingerprint == fingerprint
    else { return }
    if isWritten { sweep(directory, view) }
    following.withLock { following in
      // The kernel has heard of all that is in the file; only such a state may be kept for the next server.
      let now = current.value
      if let keeper {
        keeper.keep(descriptor, as: ViewSaver.keeperName)
        following.isKept = now === view
        if now === view { journal?.clear() }
      }
      current.replace(by: now.with(file, writtenOf: view))
      if now !== view { saveSoon() }
    }
  }

  /// Indexes of packages that have gone are of no use.
  private func sweep(_ directory: IndexDirectory, _ view: View) {
    let packages = Set(view.shown.map { IndexDirectory.fileName(of: $0.description) })
    directory.sweep { name in name.hasPrefix("view-") || packages.contains(name) }
  }
}
