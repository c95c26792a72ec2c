// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore
import SystemPackage

/// The files by which kmod finds kernel modules, their aliases and what they need. Debian makes them on the machine; here the package has
/// them, because its files cannot change there.
struct ModuleIndexes {
  /// An empty place for links to the modules, on the file system that holds them.
  let work: FilePath

  private static let modules = PackageLayout.path("out/lib/modules")

  /// The kernels that a package has modules for: directories with the list of those that are built in.
  static func versions(in tree: PackageTree) -> [EntryName] {
    tree.sortedNodes.compactMap { node in
      let components = node.entry.path.components
      guard components.count == modules.components.count + 2, components.starts(with: modules.components),
        components.last?.description == "modules.builtin"
      else { return nil }
      return components[modules.components.count]
    }
  }

  /// Adds what `depmod` makes of the modules.
  ///
  /// - Throws: ``BuildError/tool(_:reason:)`` when depmod is missing or fails; ``BuildError/system(operation:path:_:)``.
  func insert(into tree: inout PackageTree) throws {
    for version in Self.versions(in: tree) {
      let directory = Self.modules.appending(version)
      let place = work.appending("lib/modules/\(version)")
      try lay(directory, of: tree, at: place)
      // Its configuration is the machine's: an empty directory stands for it.
      let configuration = work.appending("depmod.d")
      try configuration.makeDirectories()
      let arguments = ["--basedir", work.string, "--config", configuration.string, "--", version.description]
      _ = try HostCommand(program: "depmod", arguments: arguments, package: "kmod").runBlocking()
      var made = try DirectoryTree(path: place)
      while let entry = try made.next() {
        guard entry.path.components.count == 1, let name = entry.path.name, case .regular(let byteCount) = entry.kind,
          tree[directory.appending(name)] == nil
        else { continue }
        let bytes = try place.appending(name.description).contents(limit: Self.largestIndex)
        guard bytes.count == byteCount else { throw BuildError.tool("depmod", reason: "\(name) has \(byteCount) bytes: too many") }
        tree.insertFile(directory.appending(name), bytes)
      }
    }
  }

  /// The most bytes of an index; those of a kernel with all modules have 2 MiB.
  private static let largestIndex = 64 << 20

  /// Gives the files of a directory their names again, as far as depmod looks at them.
  private func lay(_ directory: TreePath, of tree: PackageTree, at place: FilePath) throws {
    for node in tree.sortedNodes where node.entry.path.components.starts(with: directory.components) {
      let rest = node.entry.path.components.dropFirst(directory.components.count)
      let path = rest.reduce(place) { $0.appending($1.description) }
      switch (node.entry.kind, node.contents) {
      case (.directory, _): try path.makeDirectories()
      case (.regular, .file(let file)): try file.makeHardLink(at: path)
      case (.regular, .bytes(let bytes)): try path.write(bytes)
      default: continue
      }
    }
  }
}
