// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import SystemPackage

/// A SquashFS 4.0 image, opened for reading.
public final class PackageImage: Sendable {
  /// The file.
  public let path: FilePath

  /// Opens and maps the image.
  public init(path: FilePath) throws(StoreError) {
    self.path = path
  }
}
