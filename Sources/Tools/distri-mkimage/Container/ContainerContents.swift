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

  /// Makes a tar of some packages, and nothing that depends on what else there is.
  func writeLayer(of packages: [PackageID], to path: FilePath) throws {
    try TarArchive.write(to: path) { archive in
      try archive.appendDirectory(try TreePath(parsing: Self.view))
      for package in packages { try append(package, to: archive) }
    }
  }

  /// Makes a tar of what is not in packages.
  func writeRest(to path: FilePath) throws { try TarArchive.write(to: path) { try $0.append(rest, time: time) } }

  /// Makes a tar of everything.
  func writeAll(to path: FilePath, report: (String) -> Void) throws {
    try TarArchive.write(to: path) { archive in
      try archive.append(rest, time: time)
      for package in packages {
        report("\(package)")
        try append(package, to: archive)
      }
    }
  }

  private func append(_ package: PackageID, to archive: borrowing TarArchive) throws {
    try archive.append(try store.image(of: package), at: TreePath(parsing: "\(Self.view)/\(package)"))
  }
}
