// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriFS
import DistriStore
import SystemPackage

/// What is shown by a mount: enough for every server to come, also of a newer program, to make the same view.
package struct Recipe: Sendable {
  /// Absolute; nil when only a repository is shown.
  package var store: FilePath?
  var section = LocalStore.Section.packages
  /// Nil for all.
  package var packages: [PackageID]?
  /// Names of exchange directories; nil for all.
  var exchange: [String]?
  /// Whether device nodes of packages are there.
  var showsDevices = true
  /// Shows the packages of a repository that the store has not.
  package var remote: (any RemoteRecipe)?

  /// What is mounted, for the table of mounts.
  package var source: String { store?.string ?? remote?.name ?? "distri" }

  /// The view, with the files that the process before has left to the keeper.
  ///
  /// - Parameter report: is told what is wrong with packages of a repository when it is met.
  func makeView(keeper: any DescriptorKeeper, report: @escaping @Sendable (String) -> Void) throws -> ServedView {
    let source = try remote?.open(section, keeper, report: report)
    guard let path = try store ?? remote?.makeViewDirectory(for: section) else { throw Errno.badMessage }
    let view = try PackageFileSystem(
      store: try LocalStore(path: path, section: section), only: packages, sources: Self.sources(named: exchange),
      showsDevices: showsDevices, keeper: keeper, remote: source, report: { report("\($0)") })
    return ServedView(fileSystem: view, recipe: self, source: source, keeper: keeper, report: report)
  }

  private static func sources(named names: [String]?) -> [ExchangeSource]? {
    guard let names else { return nil }
    return ExchangeSource.packages.filter { names.contains($0.name.description) }
  }

  /// The names of exchange directories, separated by commas.
  ///
  /// - Throws: ``UnknownExchangeDirectory``.
  package static func exchange(parsing text: String?) throws(UnknownExchangeDirectory) -> [String]? {
    guard let text else { return nil }
    let names = text.split(separator: ",").map(String.init)
    let known = ExchangeSource.packages.map(\.name.description)
    for name in names where !known.contains(name) { throw UnknownExchangeDirectory(name: name, known: known) }
    return names
  }

  // MARK: As text, for a program that takes over

  /// Fields that end with NUL; what a program does not know, it skips.
  var bytes: [UInt8] {
    var fields = ["section=\(section.rawValue)"] + (remote?.fields ?? [])
    if let store { fields.append("store=\(store)") }
    if let packages { fields.append("packages=" + packages.map(\.description).joined(separator: ",")) }
    if !showsDevices { fields.append("devices=hidden") }
    if let exchange { fields.append("exchange=" + exchange.joined(separator: ",")) }
    return fields.flatMap { Array($0.utf8) + [0] }
  }

  package init(
    store: FilePath?, section: LocalStore.Section = .packages, packages: [PackageID]? = nil, exchange: [String]? = nil,
    showsDevices: Bool = true, remote: (any RemoteRecipe)? = nil
  ) {
    self.store = store
    self.section = section
    self.packages = packages
    self.exchange = exchange
    self.showsDevices = showsDevices
    self.remote = remote
  }

  /// - Parameter parseRemote: makes of the fields the repository that they name; nil where they name none.
  /// - Throws: `EBADMSG` for what is no recipe.
  init(parsing bytes: [UInt8], parseRemote: ([String: String]) throws -> (any RemoteRecipe)?) throws {
    var fields: [String: String] = [:]
    for field in bytes.split(separator: 0) {
      let parts = String(decoding: field, as: UTF8.self).split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
      if parts.count == 2 { fields[String(parts[0])] = String(parts[1]) }
    }
    let (store, remote) = (fields["store"], try parseRemote(fields))
    guard store != nil || remote != nil, let section = fields["section"].flatMap(LocalStore.Section.init(rawValue:)) else {
      throw Errno.badMessage
    }
    self.init(
      store: store.map { FilePath($0) }, section: section,
      packages: try fields["packages"].map { try $0.split(separator: ",").map { try PackageID(parsing: String($0)) } },
      exchange: fields["exchange"].map { $0.split(separator: ",").map(String.init) },
      showsDevices: fields["devices"] != "hidden", remote: remote)
  }
}

/// A name that is no exchange directory.
package struct UnknownExchangeDirectory: Error, CustomStringConvertible {
  package let name: String
  package let known: [String]
  package var description: String { "there is no exchange directory \(name); there are \(known.joined(separator: ", "))" }
}

/// A repository of which a view shows packages, and all that it takes to ask it again.
package protocol RemoteRecipe: Sendable {
  /// For the table of mounts.
  var name: String { get }
  /// The fields of a recipe that say all this.
  var fields: [String] { get }

  /// Makes a store without packages, in which the view of the repository is kept where no other store is shown.
  func makeViewDirectory(for section: LocalStore.Section) throws -> FilePath

  /// The packages. A server that follows another one shows the same as that, and needs no network for it.
  ///
  /// - Throws: what is wrong with the repository or the cache.
  func open(
    _ section: LocalStore.Section, _ keeper: any DescriptorKeeper, report: @escaping @Sendable (String) -> Void
  ) throws -> any RemotePackageSource

  /// The packages that the repository has now.
  ///
  /// - Parameter source: what ``open(_:_:report:)`` or this have given.
  /// - Throws: what is wrong with the repository.
  func update(
    _ source: any RemotePackageSource, _ section: LocalStore.Section, _ keeper: any DescriptorKeeper,
    report: @escaping @Sendable (String) -> Void
  ) throws -> any RemotePackageSource
}
