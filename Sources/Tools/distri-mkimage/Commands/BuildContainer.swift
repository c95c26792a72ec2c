// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import DistriFS
import DistriStore
import SystemPackage
import ToolSupport

extension Build {
  /// The container that shall be made instead of a disk; nil for a disk.
  ///
  /// - Throws: `ValidationError` for a container and something else.
  static func containerFormat(of description: ImageDescription) throws -> ImageFormat? {
    guard let format = description.formats.first(where: \.isContainer) else { return nil }
    guard description.formats.count == 1 else {
      throw ValidationError("the format \(format.rawValue) is made alone; name no other one beside it")
    }
    return format
  }

  /// Makes a container of packages and of what `root` says.
  func writeContainer(_ format: ImageFormat, _ root: RootContents, from store: LocalStore, _ progress: ProgressDisplay) throws {
    var root = root
    root.view = try PackageFileSystem(store: store, only: root.packages).view.sharedEntries
    let contents = ContainerContents(
      packages: root.packages, store: store, rest: try root.plan(from: store), description: root.description,
      time: Self.sourceDate())
    progress.setTotal(UInt64(root.packages.count))
    let report = { (detail: String) in progress.advance(detail: detail) }
    switch format {
    case .oci:
      try OutputDirectory(path: FilePath(output)).replace {
        try OCILayout(contents: contents).write(to: $0, work: $1, report: report)
      }
    case .lxd:
      try OutputDirectory(path: FilePath(output)).replace {
        try LXDArchives(contents: contents).write(to: $0, work: $1, report: report)
      }
    default:
      try OutputFile(path: FilePath(output)).replace {
        try OCILayout(contents: contents).writeDockerArchive(to: $0, work: $1, report: report)
      }
    }
  }
}
