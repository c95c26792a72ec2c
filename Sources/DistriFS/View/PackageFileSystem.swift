// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore
import Synchronization
import SystemPackage

/// The view of a store: each package under its full name, and the exchange directories that packages fill together.
///
/// A package that arrives in the store or leaves it is shown or hidden while the view is mounted. Each package is opened on its own, when it
/// is first used: one that is damaged gives `EIO`, and the others work. Where the store has generations, the packages of the current one fill
/// the exchange directories, and another one shows there as soon as it is current; the others are shown under their names only. Answers come from indexes that lie in `<store>/.index`, where the store
/// can be written, or in memory.
public final class PackageFileSystem: LiveFileSystem {
  /// What is shown.
  public var store: LocalStore { supply.store }
  let supply: PackageSupply
  let selection: Selection
  let sources: [ExchangeSource]
  let showsDevices: Bool
  var keeper: (any DescriptorKeeper)? { supply.keeper }
  let references: ReferenceCounts
  let current: SnapshotCell<View>
  /// Taken by whoever looks at the store; the view is replaced by its holder only, never by who answers.
  let following: Mutex<Following>
  let journal: NumberJournal?
  let saver = ViewSaver()
  let lingering = ViewSaver()
  let prefetcher = Prefetcher()

  /// Which packages are shown.
  struct Selection: Sendable {
    var only: Set<PackageID>?
    var reserved: PackageID?

    /// Whether the view is that of the store, and can be kept for the next mount.
    var isWhole: Bool { only == nil && reserved == nil }
  }

  struct Following: Sendable {
    var subscribers: [UInt64: @Sendable ([FileSystemChange]) -> Void] = [:]
    var nextSubscriber: UInt64 = 0
    var numbering: Numbering
    /// The state of the store that the view shows.
    var fingerprint: StoreScan.Fingerprint
    /// What the kernel may not have heard of: a server before was ended in the middle.
    var unreported: [FileSystemChange] = []
    /// Whether the view's file is with the keeper.
    var isKept = false
  }

  /// Shows a store.
  ///
  /// - Parameters:
  ///   - store: the store, or a section of it.
  ///   - remote: further packages, of which only what is used is fetched: those that the store has not. They fill exchange directories where
  ///     the store has no generation that says which packages do; their runtime unions are not shown.
  ///   - packages: shows these only, and does not follow the store; nil for all.
  ///   - own: a package whose directory is there, and empty, whether the store has the package or not: what is being built is put over it.
  ///   - sources: the exchange directories; nil for those of the section: none for sources, all for others.
  ///   - showsDevices: whether device nodes of packages are there.
  ///   - report: is told when a part of a remote package cannot be brought here, or is not what it should be.
  ///   - keeper: holds what the next server of the same mount goes on with, and has what the one before left.
  /// - Throws: ``StoreError/notFound(_:)`` for one of `packages` that is not there; ``StoreError/system(operation:path:_:)``.
  public init(
    store: LocalStore, only packages: [PackageID]? = nil, reserving own: PackageID? = nil, sources: [ExchangeSource]? = nil,
    showsDevices: Bool = true, keeper: (any DescriptorKeeper)? = nil, remote: (any RemotePackageSource)? = nil,
    report: @escaping @Sendable (StoreError) -> Void = { _ in }
  ) throws(StoreError) {
    let supply = PackageSupply(store: store, remote: remote.map { RemoteCatalog($0) }, keeper: keeper, report: report)
    self.supply = supply
    self.sources = sources ?? (store.section == .sources ? [] : ExchangeSource.packages)
    self.showsDevices = showsDevices
    selection = Selection(only: packages.map { Set($0).subtracting(own.map { [$0] } ?? []) }, reserved: own)
    do throws(Errno) { references = try ReferenceCounts(keeper) } catch {
      throw .system(operation: "share memory for", path: store.path, error)
    }
    journal = keeper.flatMap { NumberJournal($0) }
    var start = try Start(supply, selection, self.sources)
    if start.isInherited { start.replay(supply, self.sources) }
    let fingerprint = start.file == nil ? nil : try supply.fingerprint()
    if fingerprint == nil || fingerprint != start.file?.fingerprint || start.isInherited || !selection.isWhole {
      let update = Update(supply, selection, self.sources, references)
      let isFirst = start.file == nil || !selection.isWhole
      let result = try update.run(
        after: start.view, &start.numbering, looking: .atAll, at: isFirst ? nil : SystemCalls.now, isInherited: start.isInherited)
      if start.isInherited { start.unreported += result.changes + update.possibleSwitches(in: result.view) }
      if keeper == nil, selection.only != nil, !result.view.changed.isEmpty {
        SelectionViews(store, self.sources).keep(result.view, result.fingerprint)
      }
      start.view = update.withReserved(result.view, &start.numbering)
      start.fingerprint = result.fingerprint
      let notes = start.numbering.takeNotes()
      journal?.append(notes)
    }
    if let packages, !start.isInherited {
      let there = Set(start.view.packages)
      for package in packages where package != own && !there.contains(package) { throw .notFound(package.description) }
    }
    current = SnapshotCell(start.view)
    following = Mutex(
      Following(
        numbering: start.numbering, fingerprint: start.fingerprint ?? fingerprint ?? .init(), unreported: start.unreported,
        isKept: start.isInherited && start.file != nil))
  }

  /// What is shown at this moment.
  public var view: View { current.value }

  /// The names that more than one package claims, sorted by path.
  public var conflicts: [View.Conflict] { view.conflicts }

  /// What is wrong with the store: the package or file, and the reason. Damage is noticed when it is met.
  public var problems: [(subject: String, reason: String)] {
    var problems: [(subject: String, reason: String)] = []
    do throws(StoreError) {
      problems = try store.defects().map { ("store", "\($0)") } + hidden()
      if selection.only == nil, case .unreadable(let error) = CurrentSelection.state(of: store) {
        problems.append(("generation", "all packages are shown: \(error)"))
      }
    } catch {
      problems = [("store", "\(error)")]
    }
    for package in view.shown {
      // One that a view kept from an earlier mount knows nothing of.
      if package.isDoubtful { _ = try? package.open(in: supply) }
      if let problem = package.problem { problems.append((package.description, "\(problem)")) }
    }
    return problems
  }

  /// Packages of the store that are not shown since nothing can be said of their files.
  private func hidden() throws(StoreError) -> [(subject: String, reason: String)] {
    if !selection.isWhole { return [] }
    let view = view
    return try StoreScan(store).packages(where: { name in view.package(named: name) == nil }).compactMap { name in
      let path = store.path.appending("\(name).squashfs")
      do throws(Errno) {
        _ = try ImageIdentity(of: path)
        return nil
      } catch {
        return (name, "stat \(path): \(error)")
      }
    }.sorted { $0.subject < $1.subject }
  }

  /// How much the images take, and how many files they hold.
  public var capacity: FileSystemCapacity {
    current.withValue { view in
      var capacity = FileSystemCapacity(byteCount: 0, fileCount: 0)
      for package in view.shown {
        capacity.byteCount &+= package.identity?.byteCount ?? 0
        capacity.fileCount &+= UInt64(max(1, package.summary.fileCount))
      }
      return capacity
    }
  }
}
