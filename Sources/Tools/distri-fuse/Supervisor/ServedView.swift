// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriFS
import DistriRepo
import DistriStore
import Glibc

/// A view, and what it takes to bring it up to date.
struct ServedView: Sendable {
  let fileSystem: PackageFileSystem
  let recipe: Recipe
  let repository: RemoteRepository?
  let keeper: any DescriptorKeeper
  let report: @Sendable (String) -> Void

  /// Looks at the store, and asks the repository for its packages.
  func rescan() {
    let now = Int64(time(nil))
    if let remote = recipe.remote, let repository {
      do {
        return try fileSystem.follow(try remote.update(repository, recipe.section, keeper, report: report), at: now)
      } catch {
        // What was there can be used still.
        report("\(error)")
      }
    }
    try? fileSystem.refresh(at: now)
  }
}
