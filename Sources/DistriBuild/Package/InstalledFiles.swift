// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore
import Glibc
import SystemPackage

/// Judges what the steps left, before anything else is done with it. What has a harmless form gets that and is reported; what has none
/// is refused. What the definition deletes is not looked at.
///
/// - Refused: devices, pipes and sockets; files with a further name outside of the package; symbolic links to places that exist in the
///   build only, such as the build directory, or in no running system.
/// - Taken away: setuid bits that no `chmod` of the definition declares, setgid bits, capabilities of files (`capability` gives them),
///   owners and groups other than root, attributes of security modules, and `DESTDIR` at the start of a link's target.
struct InstalledFiles {
  let layout: BuildLayout
  let install: InstallInstructions

  private static let pass = "installed files"

  /// Where links of a package may lead, below the root of a running system.
  private static let places: Set<String> = [
    "ro", "etc", "var", "run", "dev", "proc", "sys", "usr", "bin", "sbin", "lib", "lib32", "lib64", "share", "include", "opt",
    "srv", "boot", "mnt", "media",
  ]

  /// - Returns: what was changed, a sentence a path.
  /// - Throws: ``BuildError/invalidPackage(_:pass:reason:)`` that names every path that is refused.
  func clean(_ tree: inout PackageTree) throws(BuildError) -> [String] {
    let deleted = paths(install.deletions)
    let declared = Set(paths(install.modes.filter(\.setsUserID).map(\.name)))
    var changes: [String] = []
    var refusals: [String] = []
    for node in tree.sortedNodes where !deleted.contains(where: { node.entry.path.components.starts(with: $0.components) }) {
      var entry = node.entry
      changes += clean(&entry, isDeclared: declared.contains(entry.path))
      switch entry.kind {
      case .characterDevice, .blockDevice: refusals.append("\(entry.path) is a device")
      case .fifo: refusals.append("\(entry.path) is a named pipe")
      case .socket: refusals.append("\(entry.path) is a socket")
      case .symbolicLink(let target):
        switch judge(target, of: entry.path) {
        case .fine: break
        case .replace(let better):
          changes.append("\(entry.path): its target began with DESTDIR")
          entry.kind = .symbolicLink(target: better)
        case .refuse:
          let text = String(decoding: target, as: UTF8.self).printable
          refusals.append("\(entry.path) is a link to \(text), which is in no running system")
        }
      case .directory, .regular, .hardLink: break
      }
      if entry != node.entry { tree.insert(PackageTree.Node(entry: entry, contents: node.contents)) }
    }
    refusals += try namesOutside(tree).map { "\($0) is a hard link to a file outside of the package" }
    guard refusals.isEmpty else {
      throw .invalidPackage(
        layout.package.description, pass: Self.pass,
        reason: refusals.joined(separator: "; ") + "; change that in a step, or leave it out with install { delete: \"…\" }")
    }
    return changes
  }

  // MARK: What is taken away

  private func clean(_ entry: inout TreeEntry, isDeclared: Bool) -> [String] {
    var changes: [String] = []
    func change(_ what: String) { changes.append("\(entry.path): \(what)") }
    var isFile = true
    if case .directory = entry.kind { isFile = false }
    if entry.permissions & 0o4000 != 0, !isDeclared || !isFile {
      entry.permissions &= ~0o4000
      if isFile { change("setuid bit cleared; install { chmod { setuid: true name: \"…\" } } keeps it") }
    }
    if entry.permissions & 0o2000 != 0 {
      entry.permissions &= ~0o2000
      // Directories get the bit from the directory that the build happens in.
      if isFile { change("setgid bit cleared") }
    }
    if entry.userID != 0 || entry.groupID != 0 {
      change("owner \(entry.userID):\(entry.groupID) changed to root")
      entry.userID = 0
      entry.groupID = 0
    }
    let capability = Array("security.capability".utf8)
    if entry.extendedAttributes.contains(where: { $0.name == capability }) {
      change("capabilities cleared; install { capability { … } } gives them")
    }
    // The rest of what is not the file's own says something about this machine: labels, access lists.
    entry.extendedAttributes.removeAll { !$0.name.starts(with: "user.".utf8) }
    return changes
  }

  /// Paths of install instructions, as they are below `out`. One that does not parse is reported when it is carried out.
  private func paths(_ texts: [String]) -> [TreePath] {
    let variables = Variables(layout: layout, dependencies: [])
    return texts.compactMap { text in
      guard let expanded = try? variables.expand(text) else { return nil }
      let prefix = "\(layout.prefix)/"
      let relative = expanded.hasPrefix(prefix) ? String(expanded.dropFirst(prefix.count)) : expanded
      return (try? TreePath(parsing: relative)).map { TreePath(components: PackageLayout.out.components + $0.components) }
    }
  }

  // MARK: Links

  private enum Verdict {
    case fine, refuse
    case replace([UInt8])
  }

  private func judge(_ target: [UInt8], of path: TreePath) -> Verdict {
    let slash = UInt8(ascii: "/")
    let home = layout.home.components.map { Array($0.string.utf8) } + path.parent.components.map(\.bytes)
    var place: [[UInt8]] = target.first == slash ? [] : home
    for part in target.split(separator: slash) {
      if part.elementsEqual(".".utf8) { continue }
      if part.elementsEqual("..".utf8) {
        _ = place.popLast()
      } else {
        place.append(Array(part))
      }
    }
    func begins(with directory: FilePath) -> Bool {
      place.starts(with: directory.components.map { Array($0.string.utf8) })
    }
    if target.first == slash, begins(with: layout.insideDestination) {
      let rest = place.dropFirst(layout.insideDestination.components.count)
      return .replace([slash] + rest.joined(separator: [slash]))
    }
    if begins(with: layout.insideSource) || begins(with: layout.insideBuild) { return .refuse }
    guard let first = place.first else { return .fine }
    return Self.places.contains(String(decoding: first, as: UTF8.self)) ? .fine : .refuse
  }

  /// Files that have more names than the package has for them. They must not be written to, as the passes after this one do.
  private func namesOutside(_ tree: PackageTree) throws(BuildError) -> [TreePath] {
    struct Identity: Hashable {
      var device: dev_t
      var inode: ino_t
    }
    var found: [Identity: (names: UInt64, links: UInt64, first: TreePath)] = [:]
    for node in tree.sortedNodes {
      guard case .file(let path) = tree.file(at: node.entry.path)?.contents else { continue }
      var status = stat()
      guard unsafe path.withPlatformString({ unsafe lstat($0, &status) }) == 0 else {
        throw .system(operation: "stat", path: path, Errno(rawValue: errno))
      }
      let identity = Identity(device: status.st_dev, inode: status.st_ino)
      found[identity, default: (0, UInt64(status.st_nlink), node.entry.path)].names += 1
    }
    return found.values.filter { $0.links > $0.names }.map(\.first)
      .sorted { $0.components.lexicographicallyPrecedes($1.components) }
  }
}
