// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore
import Synchronization
import SystemPackage

/// The view of a store: each package under its full name, and the exchange directories that packages fill together.
///
/// A package that arrives in the store or leaves it is shown or hidden while the view is mounted. Each package is opened on its own: one that
/// is damaged gives `EIO`, and the others work.
public final class PackageFileSystem: LiveFileSystem {
  /// What is shown.
  public let store: LocalStore
  private let selection: Selection
  private let sources: [ExchangeSource]
  private let current: Mutex<View>
  /// Taken by whoever looks at the store; the view is replaced by its holder only.
  private let following = Mutex(Following())
  /// Files of the store that cannot be shown. A lock of its own: answers must not wait for who looks at the store.
  private let defects: Mutex<[StoreDefect]>

  /// Which packages are shown.
  private struct Selection: Sendable {
    var only: Set<PackageID>?
    var reserved: PackageID?
  }

  private struct Following {
    var subscribers: [UInt64: @Sendable ([FileSystemChange]) -> Void] = [:]
    var nextSubscriber: UInt64 = 0
  }

  /// Shows a store.
  ///
  /// - Parameters:
  ///   - store: the store, or a section of it.
  ///   - packages: shows these only, and does not follow the store; nil for all.
  ///   - own: a package whose directory is there, and empty, whether the store has the package or not: what is being built is put over it.
  ///   - sources: the exchange directories; nil for those of the section: none for sources, all for others.
  /// - Throws: ``StoreError/notFound(_:)`` for one of `packages` that is not there; ``StoreError/system(operation:path:_:)``.
  public init(
    store: LocalStore, only packages: [PackageID]? = nil, reserving own: PackageID? = nil,
    sources: [ExchangeSource]? = nil
  ) throws(StoreError) {
    self.store = store
    self.sources = sources ?? (store.section == .sources ? [] : ExchangeSource.packages)
    selection = Selection(only: packages.map(Set.init), reserved: own)
    let there = try store.packages()
    let known = Set(there)
    for package in packages ?? [] where package != own && !known.contains(package) { throw .notFound(package.description) }
    let empty = View(shown: [], slots: [nil], directories: [nil, nil])
    let members = Self.members(there, of: store, selection, after: empty)
    Self.loadContents(of: members, self.sources)
    current = Mutex(ViewBuilder.view(of: members, sources: self.sources).view)
    defects = Mutex(try store.defects())
  }

  /// What is shown at this moment.
  public var view: View { current.withLock { $0 } }

  /// The names that more than one package claims, sorted by path.
  public var conflicts: [View.Conflict] { ViewBuilder.conflicts(of: view.shown, sources: sources) }

  /// What is wrong with the store: the package or file, and the reason. Damage is noticed when it is met.
  public var problems: [(subject: String, reason: String)] {
    defects.withLock { $0 }.map { ("store", "\($0)") }
      + view.shown.compactMap { package in package.problem.map { (package.id.description, "\($0)") } }
  }

  // MARK: - Following the store

  /// Looks at the store, shows what has changed, and tells the subscribers.
  ///
  /// - Parameter time: now, in seconds since 1970: the modification time of directories that change.
  /// - Throws: ``StoreError/system(operation:path:_:)`` when the store cannot be listed; then nothing changes.
  public func refresh(at time: Int64) throws(StoreError) {
    if selection.only != nil { return }
    let result: Result<Void, StoreError> = following.withLock { following in
      let (there, found): ([PackageID], [StoreDefect])
      do throws(StoreError) {
        (there, found) = (try store.packages(), try store.defects())
      } catch {
        return .failure(error)
      }
      defects.withLock { $0 = found }
      let before = view
      let members = Self.members(there, of: store, selection, after: before)
      Self.loadContents(of: members, sources)
      let (after, changes) = ViewBuilder.view(of: members, sources: sources, after: before, at: time)
      if changes.isEmpty { return .success(()) }
      current.withLock { $0 = after }
      for report in following.subscribers.values { report(changes) }
      return .success(())
    }
    try result.get()
  }

  /// Follows the store until the subscription is cancelled.
  public func subscribe(_ report: @escaping @Sendable ([FileSystemChange]) -> Void) throws -> any ChangeSubscription {
    let key = following.withLock { following in
      defer { following.nextSubscriber &+= 1 }
      following.subscribers[following.nextSubscriber] = report
      return following.nextSubscriber
    }
    do {
      // The first look is for what happened before the watch began.
      let watcher = try StoreWatcher(store.path) { [self] in try? refresh(at: SystemCalls.now) }
      return Subscription(fileSystem: self, key: key, watcher: watcher)
    } catch {
      following.withLock { $0.subscribers[key] = nil }
      throw StoreError.system(operation: "watch", path: store.path, error)
    }
  }

  private struct Subscription: ChangeSubscription {
    let fileSystem: PackageFileSystem
    let key: UInt64
    let watcher: StoreWatcher

    func cancel() {
      fileSystem.following.withLock { $0.subscribers[key] = nil }
      watcher.cancel()
    }
  }

  /// The packages to show: those of the view before where their files are the same, new ones for the rest.
  private static func members(
    _ there: [PackageID], of store: LocalStore, _ selection: Selection, after view: View
  ) -> [MountedPackage] {
    let before = Dictionary(view.shown.map { ($0.id, $0) }) { first, _ in first }
    var next = UInt32(view.slots.count)
    var wanted = there.filter { $0 != selection.reserved && selection.only?.contains($0) ?? true }
    if let own = selection.reserved { wanted.append(own) }
    var members: [MountedPackage] = []
    for id in wanted.sorted() {
      let file = id == selection.reserved ? nil : try? ImageFile(store.path.appending(id.imageFileName))
      // Gone since the store was listed.
      if file == nil && id != selection.reserved { continue }
      if let known = before[id], known.file == file {
        members.append(known)
      } else if next < InodeCodec.packageLimit {
        members.append(MountedPackage(id: id, number: next, file: file))
        next += 1
      }
    }
    return members
  }

  private static func loadContents(of packages: [MountedPackage], _ sources: [ExchangeSource]) {
    Parallel.forEach(packages) { $0.loadContents(of: sources) }
  }

  // MARK: - Answers

  /// How much the images take.
  public var capacity: FileSystemCapacity {
    let shown = view.shown
    return FileSystemCapacity(
      byteCount: shown.reduce(0) { $0 &+ ($1.file?.byteCount ?? 0) }, fileCount: UInt64(shown.count))
  }

  /// Counts down; a package that has gone from the store is closed with its last user.
  public func forget(_ inode: NodeID, lookups: UInt64) {
    let view = view
    guard let number = Self.packageNumber(of: inode), let package = view.package(numbered: number) else { return }
    let left = package.lookups.subtract(Int64(clamping: lookups), ordering: .relaxed).newValue
    guard left <= 0, number < view.slots.count, view.slots[Int(number)]?.isShown == false else { return }
    current.withLock { $0 = $0.withoutUnused() }
  }

  /// Notes that the kernel holds one more reference.
  func count(_ inode: NodeID, in view: View) {
    guard let number = Self.packageNumber(of: inode) else { return }
    view.package(numbered: number)?.lookups.add(1, ordering: .relaxed)
  }

  private static func packageNumber(of inode: NodeID) -> UInt32? {
    switch InodeCodec.meaning(of: inode) {
    case .package(let number), .file(let number, _): number
    default: nil
    }
  }
}
