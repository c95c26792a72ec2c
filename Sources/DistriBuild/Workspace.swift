// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore
import Glibc
import SystemPackage

/// The directories of one build: `<work>/<package>/<version>/`, and its log beside them.
struct Workspace: Sendable {
  let directory: FilePath
  let log: FilePath
  let layout: BuildLayout
  private let lock: WorkspaceLock

  /// Empties the directories, which are nobody else's from now on.
  ///
  /// - Throws: ``BuildError/workspaceInUse(_:)``; ``BuildError/system(operation:path:_:)``.
  init(for file: DefinitionFile, package: PackageID, below work: FilePath, jobs: Int) async throws {
    let home = work.appending(package.name)
    directory = home.appending("\(package.architecture)-\(package.version)")
    log = Self.log(of: package, below: work)
    layout = BuildLayout(
      package: package, definition: file.path.removingLastComponent(), below: directory,
      buildsInTree: file.definition.buildsInTree, jobs: jobs)
    try home.makeDirectories()
    lock = try await WorkspaceLock(home)
    try directory.removeAll()
    try directory.makeDirectories()
    // Steps may make setuid programs and sockets: nobody else may reach them.
    guard unsafe directory.withPlatformString({ unsafe chmod($0, 0o700) }) == 0 else {
      throw BuildError.system(operation: "chmod", path: directory, Errno(rawValue: errno))
    }
    for path in [layout.source, layout.build, layout.libraries, layout.installed.appending("out")] { try path.makeDirectories() }
    // Some packages install into the exchange directories by name.
    for name in ["lib", "share"] {
      try layout.installed.appending("out").appending(name).makeDirectories()
      try layout.destination.appending("ro").appending(name).makeLink(to: "\(package)/out/\(name)")
    }
  }

  /// Where the log of a build is.
  static func log(of package: PackageID, below work: FilePath) -> FilePath {
    work.appending(package.name).appending("build-\(package.architecture)-\(package.version).log")
  }

  /// Refuses what a hostile step may leave: a link in place of a directory would lead us into the host.
  func checkInstalled() throws {
    let etc = layout.destination.appending("etc")
    for path in [layout.installed.removingLastComponent(), layout.installed, etc] {
      guard path.isRealDirectory || (path == etc && path.isAbsent) else {
        throw BuildError.invalidPackage(
          "\(layout.package)", pass: "take installed files", reason: "a step replaced the directory \(path)")
      }
    }
  }

  /// The installed files as the package's tree.
  func takeInstalled(modificationTime: Int64) throws -> PackageTree {
    var tree = try PackageTree(directory: layout.installed, modificationTime: modificationTime)
    let etc = layout.destination.appending("etc")
    if etc.isDirectory {
      for var node in try PackageTree(directory: etc).sortedNodes {
        node.entry.path = TreePath(components: PackageLayout.etc.components + node.entry.path.components)
        if case .hardLink(let first) = node.entry.kind {
          node.entry.kind = .hardLink(to: TreePath(components: PackageLayout.etc.components + first.components))
        }
        tree.insert(node)
      }
    }
    // What an ordinary user installs as user 0 of the sandbox is the user's own outside.
    if geteuid() != 0 {
      for var node in tree.sortedNodes {
        node.entry.userID = 0
        node.entry.groupID = 0
        tree.insert(node)
      }
    }
    for name in ["out/lib", "out/share", "out", "etc"].map(PackageLayout.path(named:)) where tree.names(in: name).isEmpty {
      tree.remove(name)
    }
    return tree
  }

  /// What the steps installed elsewhere, as paths of the running system.
  func strayFiles() throws -> [String] {
    var tree = try DirectoryTree(path: layout.destination)
    var result: [String] = []
    let expected = ["ro/lib", "ro/share"]
    while let entry = try tree.next() {
      let path = entry.path.description
      let isOurs =
        entry.path.isRoot || path == "ro" || expected.contains(path) || path == "etc" || path.hasPrefix("etc/")
        || path == "ro/\(layout.package)" || path.hasPrefix("ro/\(layout.package)/")
      if case .directory = entry.kind { continue }
      if !isOurs { result.append("/\(path)") }
    }
    return result
  }

  /// The definition's own wrappers, `wrappers/<program>` beside it.
  func addWrappers(to tree: inout PackageTree, _ variables: Variables) throws {
    let directory = layout.definition.appending("wrappers")
    guard directory.isDirectory else { return }
    for node in try PackageTree(directory: directory).sortedNodes {
      guard case .regular = node.entry.kind, node.entry.path.components.count == 1 else { continue }
      let bytes = try tree.contents(of: node, limit: 1 << 20)
      guard let text = String(validating: bytes, as: UTF8.self) else {
        throw BuildError.invalidPackage("\(layout.package)", pass: "wrappers", reason: "\(node.entry.path) is not UTF-8")
      }
      let path = TreePath(components: PackageLayout.bin.components + node.entry.path.components)
      tree.insertFile(path, Array(try variables.expand(text).utf8), permissions: 0o755)
    }
  }

  /// Removes the directories; the log stays.
  func remove() throws { try directory.removeAll() }
}

extension PackageLayout {
  /// For paths that are written here and parse.
  fileprivate static func path(named text: String) -> TreePath { (try? TreePath(parsing: text)) ?? .root }
}
