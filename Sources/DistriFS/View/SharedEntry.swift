// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore

extension View {
  /// What a mount shows besides the packages' own files: a directory that packages fill together, or a link in one.
  public struct SharedEntry: Sendable, Hashable {
    /// Below the view's root, such as `bin/awk`; of a plug-in's link, in the package that shows it.
    public var path: TreePath
    /// Raw bytes; nil for a directory.
    public var target: [UInt8]?
  }

  /// All such entries, sorted by path: with them and the packages' files, a copy is what the mount shows. Of a name that several packages
  /// claim, the winner's link is there.
  public var sharedEntries: [SharedEntry] {
    var result: [SharedEntry] = []
    for directory in directories {
      let prefix = directory.number == NodeCodec.rootDirectory ? [] : directory.path + [UInt8(ascii: "/")]
      for index in 0..<directory.count {
        let entry = directory.entry(at: index)
        guard entry.kind != .package, let path = try? TreePath(parsing: prefix + directory.name(of: entry)) else { continue }
        if entry.kind == .directory {
          result.append(SharedEntry(path: path, target: nil))
        } else if let claim = entry.claims.first.map({ directory.claim(at: $0) }),
          let package = package(numbered: claim.package)
        {
          result.append(SharedEntry(path: path, target: directory.target(of: entry, claim, package: package.name)))
        }
      }
    }
    result += unions.shown.compactMap { path, target in
      (try? TreePath(parsing: path)).map { SharedEntry(path: $0, target: target) }
    }
    return result.sorted { $0.path.components.lexicographicallyPrecedes($1.path.components) }
  }
}
