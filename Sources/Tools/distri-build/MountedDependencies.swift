// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriBuild
import DistriFS
import DistriStore
import FoundationEssentials
import Glibc
import SystemPackage

/// Shows a build its dependencies by a mount of its own.
struct MountedDependencies: DependencyRoot {
  let store: LocalStore
  /// Where mount points are made.
  var folder = FilePath(FileManager.default.temporaryDirectory.path)

  func withRoot<R: Sendable>(
    of packages: [PackageID], reserving own: PackageID, _ body: (FilePath) async throws -> R
  ) async throws -> R {
    removeAbandonedMounts()
    let name = "\(Self.prefix)\(getpid())-\(UUID().uuidString)"
    let point = folder.appending(name)
    try FileManager.default.createDirectory(atPath: point.string, withIntermediateDirectories: true)
    // Only an empty directory is removed: never what is mounted.
    defer { _ = rmdir(point.string) }
    var options = MountOptions()
    options.source = store.path.string
    // An ordinary user's sandbox is that user; others need not look in.
    options.allowsOtherUsers = geteuid() == 0
    // For as long as the build lasts, a collector leaves them alone. Where we may not write, there is nothing to be done about it.
    let held = try? await store.reserve(packages)
    defer { withExtendedLifetime(held) {} }
    let view = try PackageFileSystem(store: store, only: packages, reserving: own)
    return try await withMount(of: view, at: point, options: options) { mount in
      try await body(mount.mountPoint)
    }
  }

  private static let prefix = "distri-build-"

  /// Takes away what builds that were killed have left mounted: the number of their process is in the name.
  private func removeAbandonedMounts() {
    for entry in (try? MountTable.current().entries) ?? [] where entry.isOurs {
      let point = entry.mountPoint
      guard point.removingLastComponent() == folder, let name = point.lastComponent?.string, name.hasPrefix(Self.prefix),
        let process = Int32(name.dropFirst(Self.prefix.count).prefix { $0 != "-" }), process > 0, kill(process, 0) != 0,
        errno == ESRCH
      else { continue }
      try? Mount.unmount(point, lazily: true)
      _ = rmdir(point.string)
    }
  }
}
