// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore

/// The packages that a package needs by itself, and for each of them why.
public struct DependencyReasons: Sendable, Hashable {
  /// What uses the same thing of a package: the first path, and how many there are.
  private struct Users: Hashable {
    var first: TreePath?
    var count: Int

    mutating func add(_ other: Users) {
      count += other.count
      guard let path = other.first else { return }
      first = first.map { path.components.lexicographicallyPrecedes($0.components) ? path : $0 } ?? path
    }
  }

  private var found: [PackageID: [String: Users]] = [:]

  /// Needs nothing.
  public init() {}

  /// Needs packages, each for the same reason.
  public init(_ packages: some Sequence<PackageID>, _ reason: String) {
    for package in packages { add(package, reason) }
  }

  /// The packages.
  public var packages: Set<PackageID> { Set(found.keys) }

  /// Adds a reason.
  ///
  /// - Parameters:
  ///   - reason: begins a sentence, such as «library libz.so.1».
  ///   - path: the file that is the reason; the sentence goes on «of out/bin/git».
  public mutating func add(_ package: PackageID, _ reason: String, of path: TreePath? = nil) {
    found[package, default: [:]][reason.printable, default: Users(first: nil, count: 0)].add(Users(first: path, count: 1))
  }

  /// Adds what another pass has found.
  public mutating func formUnion(_ other: DependencyReasons) {
    for (package, reasons) in other.found {
      for (reason, users) in reasons { found[package, default: [:]][reason, default: Users(first: nil, count: 0)].add(users) }
    }
  }

  /// Takes a package out: none depends on itself.
  public mutating func remove(_ package: PackageID) { found[package] = nil }

  /// The reasons for a package, sorted; none when it is not needed.
  public func reasons(for package: PackageID) -> [String] {
    (found[package] ?? [:]).map { reason, users in
      guard let path = users.first else { return reason }
      return "\(reason) of \(path.description.printable)\(users.count > 1 ? " and \(users.count - 1) more" : "")"
    }.sorted()
  }

  /// What metadata keep.
  public var metadata: [PackageMetadata.DependencyReason] {
    packages.sorted().map { PackageMetadata.DependencyReason(package: $0, reasons: reasons(for: $0)) }
  }
}
