// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore

/// What a mount shows at one moment: packages, and the directories that they fill together. Immutable.
///
/// Most of it lies in a mapped file; what has changed since that was written, beside it.
public final class View: Sendable {
  /// A name that several packages claim.
  public struct Conflict: Sendable, Hashable {
    /// Below the view's root, such as `bin/awk`.
    public var path: TreePath
    /// Whose file is shown; of a directory, the first package that has it.
    public var winner: PackageID
    /// Whose files are not.
    public var losers: [PackageID]
  }

  /// A package, and whether it is shown: one that has gone stays for as long as the kernel refers to its files.
  struct Slot: Sendable {
    var package: MountedPackage
    var isShown: Bool
    /// Whether the store's generation names it: the others are there under their full names only.
    var isSelected = true
  }

  /// Where directories lie that have not changed.
  let file: ViewFile?
  /// What has changed since the file was written, by number; nil for what is gone.
  let changed: [UInt32: ExchangeDirectory?]
  /// By ``NodeCodec``'s package number.
  let slots: PackageSlots
  let unions: RuntimeUnions
  /// Numbers from here on have never been given out.
  let nextPackage: UInt32
  /// Numbers from here on have never been given out.
  let nextDirectory: UInt32

  init(
    file: ViewFile?, changed: [UInt32: ExchangeDirectory?], slots: PackageSlots, unions: RuntimeUnions, nextPackage: UInt32,
    nextDirectory: UInt32
  ) {
    self.file = file
    self.changed = changed
    self.slots = slots
    self.unions = unions
    self.nextPackage = nextPackage
    self.nextDirectory = nextDirectory
  }

  /// The packages, sorted.
  public var packages: [PackageID] { shown.compactMap { try? $0.id }.sorted() }

  /// The packages that are shown, in the order of their numbers.
  var shown: [MountedPackage] { slots.compactMap { $0.isShown ? $0.package : nil } }

  /// How many packages are shown.
  var shownCount: Int { slots.count { $0.isShown } }

  /// Packages that have gone, and whose files somebody uses.
  var lingering: [MountedPackage] { slots.compactMap { $0.isShown ? nil : $0.package } }

  var hasLingering: Bool { slots.contains { !$0.isShown } }

  var root: ExchangeDirectory? { directory(numbered: NodeCodec.rootDirectory) }

  func directory(numbered number: UInt32) -> ExchangeDirectory? {
    if !changed.isEmpty, let directory = changed[number] { return directory }
    return file?.directory(numbered: number)
  }

  /// All directories, in no particular order.
  var directories: [ExchangeDirectory] {
    let unchanged = (file?.directoryNumbers ?? []).filter { changed[$0] == nil }.compactMap { file?.directory(numbered: $0) }
    return unchanged + changed.values.compactMap(\.self)
  }

  /// The package of a number, shown or still in use.
  func package(numbered number: UInt32) -> MountedPackage? { slots[number]?.package }

  func isShown(_ number: UInt32) -> Bool { slots[number]?.isShown == true }

  /// The package that is shown under a name.
  func package(named name: [UInt8]) -> MountedPackage? {
    guard let entry = root?.entry(named: name), entry.kind == .package else { return nil }
    return package(numbered: entry.detail)
  }

  /// The view on top of a file that was written of an earlier one: only what has changed since then lies beside it.
  func with(_ file: ViewFile, writtenOf earlier: View) -> View {
    let rest = changed.filter { number, directory in
      guard let before = earlier.changed[number] else { return true }
      if let directory, let before { return !directory.block.isSameMemory(as: before.block) }
      return directory != nil || before != nil
    }
    return View(
      file: file, changed: rest, slots: slots, unions: unions, nextPackage: nextPackage, nextDirectory: nextDirectory)
  }

  /// The view with other packages or unions.
  func with(slots: PackageSlots? = nil, unions: RuntimeUnions? = nil) -> View {
    View(
      file: file, changed: changed, slots: slots ?? self.slots, unions: unions ?? self.unions,
      nextPackage: nextPackage, nextDirectory: nextDirectory)
  }

  /// The names that more than one package claims, sorted by path. Versions of one package do not contend with each other.
  var conflicts: [Conflict] {
    var ids: [UInt32: PackageID] = [:]
    for package in shown { ids[package.number] = try? package.id }
    var result: [Conflict] = []
    for directory in directories {
      for index in 0..<directory.count {
        let entry = directory.entry(at: index)
        guard entry.claims.count > 1, entry.kind != .package else { continue }
        let claims = entry.claims.map { directory.claim(at: $0) }
        let winning = claims.first { $0.kind == entry.kind } ?? claims[0]
        guard let winner = ids[winning.package] else { continue }
        let losers = claims.filter { $0.kind == .link && $0.package != winning.package }.compactMap { ids[$0.package] }
          .filter { $0.unversioned != winner.unversioned }
        guard !losers.isEmpty, let path = try? TreePath(parsing: directory.path + [UInt8(ascii: "/")] + directory.name(of: entry))
        else {
          continue
        }
        result.append(Conflict(path: path, winner: winner, losers: losers))
      }
    }
    return result.sorted { $0.path.bytes.lexicographicallyPrecedes($1.path.bytes) }
  }
}
