// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore
import Glibc
import SystemPackage

/// What a package declares of the machine that it gets into: users and groups, and what has to exist outside of packages.
///
/// It is data for systemd's own tools; nothing here interprets it. Formats: sysusers.d(5), tmpfiles.d(5).
public struct SystemDeclaration: Sendable, Hashable {
  /// Which of systemd's tools it is for.
  public enum Kind: String, Sendable, Hashable, CaseIterable {
    /// Users and groups. They come first: files belong to them.
    case users = "sysusers.d"
    /// Directories, links and so on, below `/var` and `/run` above all.
    case files = "tmpfiles.d"

    /// The program that it is for.
    public var program: String { self == .users ? "systemd-sysusers" : "systemd-tmpfiles" }
  }

  /// Which tool it is for.
  public var kind: Kind
  /// The name of the file, which ends in `.conf`. One of the same name below `/etc` goes before it.
  public var name: String
  /// Whose it is.
  public var package: PackageID
  /// The text.
  public var contents: [UInt8]

  private static let maximumByteCount = 1 << 20

  /// Those of packages, in the order in which they are to be applied.
  ///
  /// - Throws: `StoreError.damagedImage`; `StoreError.system` with `EFBIG` for a file of more than a MiB.
  static func all(of images: [(PackageID, PackageImage)]) throws -> [SystemDeclaration] {
    try Kind.allCases.flatMap { kind in
      try images.flatMap { try all(kind, of: $0, in: $1) }.sorted { ($0.name, $0.package) < ($1.name, $1.package) }
    }
  }

  private static func all(_ kind: Kind, of package: PackageID, in image: PackageImage) throws -> [SystemDeclaration] {
    let directory = try image.node(at: try TreePath(parsing: "out/lib/\(kind.rawValue)"))
    guard let directory, try image.attributes(of: directory).kind == .directory else { return [] }
    return try image.entries(of: directory).compactMap { entry in
      guard entry.kind == .regular, let name = String(validating: entry.name.bytes, as: UTF8.self), name.hasSuffix(".conf") else {
        return nil
      }
      let contents = try image.contents(of: entry.node, limit: maximumByteCount)
      return SystemDeclaration(kind: kind, name: name, package: package, contents: contents)
    }
  }

  /// Has systemd's tool do what is declared, on the machine that has the root. What is there already stays; files of the same name below the root's
  /// `/etc` go before it.
  ///
  /// - Parameters:
  ///   - environment: of the tool; `PATH` says where it is.
  /// - Throws: ``RepositoryError/declaration(_:reason:)``; ``RepositoryError/system(operation:path:_:)``.
  public func apply(below root: FilePath, environment: [String]) async throws {
    // Accounts need a place.
    try Files.makeDirectories(root.appending("etc"))
    let arguments =
      (kind == .files ? ["--create"] : []) + (root == "/" ? [] : ["--root=\(root.lexicallyNormalized())"])
      + ["--replace=/usr/lib/\(kind.rawValue)/\(name)", "-"]
    do {
      _ = try await Subprocess.run(
        [kind.program] + arguments, environment: environment, input: contents, maximumByteCount: 1 << 20, timeLimit: .seconds(60))
    } catch let failure as Subprocess.Failure {
      throw RepositoryError.declaration(self, reason: "\(failure)")
    }
  }
}
