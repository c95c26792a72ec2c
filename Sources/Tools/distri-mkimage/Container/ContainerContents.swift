// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore
import SystemPackage

/// What a container consists of: its packages, unpacked to where a view would show them, and all else. So it needs neither FUSE nor
/// privileges.
struct ContainerContents {
  let packages: [PackageID]
  let store: LocalStore
  /// Without the packages' own files: the links of the view, `/etc` and so on.
  let rest: Contents
  let description: ImageDescription
  /// Seconds since 1970, of the rest; packages' files have their own.
  let time: Int64

  private static let view = "ro"

  /// What the container runs.
  var command: [String] {
    let commands = description.bootCommands
    if commands.isEmpty { return [description.users.first { $0.name == "root" }?.shell ?? ImageDescription.User().shell] }
    if commands.count == 1 { return ["/bin/sh", "-c"] + commands }
    return ["/bin/sh", "-c", "for command do /bin/sh -c \"$command\" || exit; done", "sh"] + commands
  }

  var architecture: Architecture { packages.first?.architecture ?? .host }

  /// Which packages are in a layer together.
  func layers() throws -> [[PackageID]] {
    LayerPlan.layers(of: try packages.map { ($0, try store.image(of: $0).byteCount) })
  }

  /// Makes a tar of some packages, in which nothing depends on what else there is.
  ///
  /// - Throws: `StoreError`; ``MkimageError/unusableFile(_:reason:)`` for what a layer cannot hold.
  func writeLayer(of packages: [PackageID], to path: FilePath) throws {
    try TarArchive.write(to: path) { archive in
      try archive.appendDirectory(try TreePath(parsing: Self.view))
      for package in packages { try append(package, to: archive, check: Self.checkForLayer) }
    }
  }

  /// Makes a tar of what is not in packages.
  ///
  /// - Throws: as ``writeLayer(of:to:)``.
  func writeRest(to path: FilePath) throws {
    for (path, _) in rest.entries { try Self.checkForLayer(path) }
    try TarArchive.write(to: path) { try $0.append(rest, time: time) }
  }

  /// Makes a tar of everything.
  ///
  /// - Throws: `StoreError`; ``MkimageError/unusableFile(_:reason:)``.
  func writeAll(to path: FilePath, report: (String) -> Void) throws {
    try TarArchive.write(to: path) { archive in
      try archive.append(rest, time: time)
      for package in packages {
        report("\(package)")
        try append(package, to: archive) { _ in }
      }
    }
  }

  private func append(_ package: PackageID, to archive: borrowing TarArchive, check: (TreePath) throws -> Void) throws {
    try archive.append(try store.image(of: package), at: TreePath(parsing: "\(Self.view)/\(package)"), check: check)
  }

  /// In a layer, such a file means that another one is to be removed.
  private static func checkForLayer(_ path: TreePath) throws {
    guard path.name?.bytes.starts(with: Array(".wh.".utf8)) != true else {
      throw MkimageError.unusableFile("/\(path)", reason: "a layer cannot hold a name that begins with .wh.; the format lxd can")
    }
  }
}
