// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore
import SystemPackage

extension Generation.PackageSet {
  /// The largest file that is read, in bytes.
  public static let maximumFileByteCount = 1 << 20

  /// Reads `pkgset.d/<name>.pkgset` of a configuration: a package a line; empty lines and lines that start with `#` say nothing.
  ///
  /// - Parameter directory: the configuration, by custom `/etc/distri`.
  /// - Throws: `StoreError.invalidName` for a name of the set or of a package that is none; ``RepositoryError/notFound(url:)`` when there is no such
  ///   file; ``RepositoryError/system(operation:path:_:)``; ``RepositoryError/tooLarge(url:limit:)``.
  public init(named name: String, in directory: FilePath) throws {
    let name = try Generation.setName(name)
    let path = directory.appending("pkgset.d").appending("\(name).pkgset")
    let bytes: [UInt8]
    do throws(RepositoryError) {
      bytes = try Files.contents(of: path, limit: Self.maximumFileByteCount)
    } catch {
      if case .system(_, _, .noSuchFileOrDirectory) = error { throw RepositoryError.notFound(url: path.string) }
      throw error
    }
    try self.init(named: name, parsing: String(decoding: bytes, as: UTF8.self))
  }
}
