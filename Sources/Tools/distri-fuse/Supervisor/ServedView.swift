// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriFS
import DistriStore
import Glibc

/// A view, and what it takes to bring it up to date.
struct ServedView: Sendable {
  let fileSystem: PackageFileSystem
  let recipe: Recipe
  let source: (any RemotePackageSource)?
  let keeper: any DescriptorKeeper
  let report: @Sendable (String) -> Void

  /// Looks at the store, and asks the repository for its packages.
  func rescan() {
    let now = Int64(time(nil))
    if let remote = recipe.remote, let source {
      do {
        return try fileSystem.follow(try remote.update(source, recipe.section, keeper, report: report), at: now)
      } catch {
        // What was there can be used still.
        report("\(error)")
      }
    }
    try? fileSystem.refresh(at: now)
  }
}
