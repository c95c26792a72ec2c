// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import SystemPackage

/// Where a transaction collects the files of packages before they appear in the store, all at once.
public struct StagingArea: ~Copyable, Sendable {
  /// The directory that holds the files; on the store's file system.
  public let directory: FilePath
}
