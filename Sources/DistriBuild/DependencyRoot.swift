// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore
import SystemPackage

/// Shows a choice of packages as a directory, as `/ro` shows all: what a build sees. A program that embeds the builder plugs in a view
/// of DistriFS; a directory that holds the packages unpacked will do as well.
public protocol DependencyRoot: Sendable {
  /// Calls the body with a directory that holds the packages by their full names and the exchange directories of FORMATS section 4, and
  /// an empty directory for the package that is built. It is gone when the call returns.
  func withRoot<R: Sendable>(
    of packages: [PackageID], reserving own: PackageID, _ body: (FilePath) async throws -> R
  ) async throws -> R
}
