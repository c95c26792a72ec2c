// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore
import SystemPackage

/// A file that programs of a desktop read in the place of many others.
///
/// Debian makes one on the machine, for all packages at once; here each package has its own, made of its own files by a tool of this machine, and
/// programs are led to those of their closure by `XDG_DATA_DIRS`, whose directories GLib looks through one after the other.
struct DesktopCache: Sendable {
  /// Where it is in a package.
  let path: TreePath
  private let directory: TreePath
  private let endings: [String]
  private let tool: (name: String, package: String)
  /// What the tool is told, from the directory that stands for `out/share`.
  private let argument: String

  /// The schemas of GLib's settings, compiled; and what kind of file has which marks.
  static let all = [
    Self(
      path: PackageLayout.path("out/share/glib-2.0/schemas/gschemas.compiled"),
      directory: PackageLayout.path("out/share/glib-2.0/schemas"), endings: [".gschema.xml", ".enums.xml", ".gschema.override"],
      tool: ("glib-compile-schemas", "libglib2.0-bin"), argument: "glib-2.0/schemas"),
    Self(
      path: PackageLayout.path("out/share/mime/mime.cache"), directory: PackageLayout.path("out/share/mime/packages"),
      endings: [".xml"], tool: ("update-mime-database", "shared-mime-info"), argument: "mime"),
  ]

  /// The files of a package that the cache is made of.
  func sources(in tree: PackageTree) -> [PackageTree.Node] {
    tree.sortedNodes.filter { node in
      node.entry.path.parent == directory && endings.contains { node.entry.path.name?.description.hasSuffix($0) == true }
    }
  }

  /// Adds the cache to a package that has such files.
  ///
  /// - Parameter work: a place for copies.
  /// - Throws: ``BuildError/tool(_:reason:)`` when the tool is missing or fails; ``BuildError/system(operation:path:_:)``.
  func insert(into tree: inout PackageTree, work: FilePath) throws {
    let sources = sources(in: tree)
    guard !sources.isEmpty else { return }
    for node in sources {
      let copy = work.pushing(FilePath(node.entry.path.description))
      try copy.removingLastComponent().makeDirectories()
      try copy.write(try tree.contents(of: node, limit: Self.largestFile))
    }
    let place = work.appending("out/share").pushing(FilePath(argument))
    _ = try HostCommand(program: tool.name, arguments: [place.string], package: tool.package).runBlocking()
    tree.insertFile(path, try work.pushing(FilePath(path.description)).contents(limit: Self.largestFile))
  }

  /// The most bytes of a file that a cache is made of, and of a cache.
  private static let largestFile = 16 << 20
}
