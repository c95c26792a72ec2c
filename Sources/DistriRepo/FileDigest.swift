// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore
import SystemPackage

extension RepositoryIndex.FileDigest {
  /// Reads a file, all of it.
  ///
  /// - Throws: ``RepositoryError/system(operation:path:_:)``.
  public init(of path: FilePath) throws { self = try Files.digest(of: path) }
}
