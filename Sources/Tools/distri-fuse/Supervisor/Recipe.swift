// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriFS
import DistriRepo
import DistriStore
import SystemPackage

/// What is shown by a mount: enough for every server to come, also of a newer program, to make the same view.
struct Recipe: Sendable {
  /// Absolute; nil when only a repository is shown.
  var store: FilePath?
  var section = LocalStore.Section.packages
  /// Nil for all.
  var packages: [PackageID]?
  /// Names of exchange directories; nil for all.
  var exchange: [String]?
  /// Whether device nodes of packages are there.
  var showsDevices = true
  /// Shows the packages of a repository that the store has not.
  var remote: RemoteRecipe?

  /// What is mounted, for the table of mounts.
  var source: String { store?.string ?? remote?.root.withoutCredentials ?? "distri" }

  /// The view, with the files that the process before has left to the keeper.
  ///
  /// - Parameter report: is told what is wrong with packages of a repository when it is met.
  func makeView(keeper: any DescriptorKeeper, report: @escaping @Sendable (String) -> Void) throws -> ServedView {
    let repository = try remote?.open(section, keeper, report: report)
    if let repository, case let unproven = repository.unprovenPackages, let first = unproven.first {
      report("\(first) and \(unproven.count - 1) others are not shown: nothing in the index proves a part of them")
    }
    let local = try LocalStore(path: try store ?? viewDirectory(), section: section)
    let view = try PackageFileSystem(
      store: local, only: packages, sources: Self.sources(named: exchange), showsDevices: showsDevices, keeper: keeper,
      remote: repository, report: { report("\($0)") })
    return ServedView(fileSystem: view, recipe: self, repository: repository, keeper: keeper, report: report)
  }

  /// A store without packages, in which the view of a repository is kept.
  private func viewDirectory() throws -> FilePath {
    guard let remote else { throw Errno.badMessage }
    let path = remote.cache.appending("views").appending(remote.root.trustName)
    try Files.makeDirectories(try LocalStore(path: path, section: section).path)
    return path
  }

  private static func sources(named names: [String]?) -> [ExchangeSource]? {
    guard let names else { return nil }
    return ExchangeSource.packages.filter { names.contains($0.name.description) }
  }

  /// The names of exchange directories, separated by commas.
  ///
  /// - Throws: ``UnknownExchangeDirectory``.
  static func exchange(parsing text: String?) throws(UnknownExchangeDirectory) -> [String]? {
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

  init(
    store: FilePath?, section: LocalStore.Section = .packages, packages: [PackageID]? = nil, exchange: [String]? = nil,
    showsDevices: Bool = true, remote: RemoteRecipe? = nil
  ) {
    self.store = store
    self.section = section
    self.packages = packages
    self.exchange = exchange
    self.showsDevices = showsDevices
    self.remote = remote
  }

  /// - Throws: `EBADMSG` for what is no recipe.
  init(parsing bytes: [UInt8]) throws {
    var fields: [String: String] = [:]
    for field in bytes.split(separator: 0) {
      let parts = String(decoding: field, as: UTF8.self).split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
      if parts.count == 2 { fields[String(parts[0])] = String(parts[1]) }
    }
    let (store, remote) = (fields["store"], try RemoteRecipe(fields))
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
struct UnknownExchangeDirectory: Error, CustomStringConvertible {
  let name: String
  let known: [String]
  var description: String { "there is no exchange directory \(name); there are \(known.joined(separator: ", "))" }
}
