// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore

extension ImportDefinition.Package {
  /// Does to the files what the definition says: what maintainer scripts would have done, or what nobody needs.
  ///
  /// - Throws: ``BuildError/invalidPackage(_:pass:reason:)`` for a path that is none, or names nothing.
  func apply(to tree: inout PackageTree) throws {
    for pattern in deleted.map(Wildcard.init) {
      for node in tree.sortedNodes where pattern.matches(node.entry.path.description) { tree.remove(node.entry.path) }
    }
    for join in joins { tree.insertFile(try path(join.path), try contents(of: join, in: tree)) }
    for file in files { tree.insertFile(try path(file.path), Array(file.contents.utf8)) }
    for link in links { tree.insertLink(try path(link.path), to: link.target) }
    for item in attributes {
      guard var node = tree[try path(item.path)], node.entry.kind.isRegular else {
        throw defect("attributes are given to \(item.path), which is no file of it")
      }
      node.entry.permissions = item.permissions
      node.entry.userID = item.userID
      node.entry.groupID = item.groupID
      tree.insert(node)
    }
  }

  private func contents(of join: ImportDefinition.Join, in tree: PackageTree) throws -> [UInt8] {
    let pattern = Wildcard(join.pattern)
    let parts = tree.sortedNodes.filter { $0.entry.kind.isRegular && pattern.matches($0.entry.path.description) }
    guard !parts.isEmpty else { throw defect("nothing matches \(join.pattern), of which \(join.path) is made") }
    var bytes: [UInt8] = []
    for part in parts {
      bytes += try tree.contents(of: part, limit: Self.largestPart)
      guard bytes.count <= Self.largestPart else { throw defect("\(join.path) would have more than \(Self.largestPart) bytes") }
    }
    return bytes
  }

  /// The most bytes of a joined file.
  private static var largestPart: Int { 16 << 20 }

  private func path(_ text: String) throws -> TreePath {
    do { return try TreePath(parsing: text) } catch { throw defect("\(error)") }
  }

  private func defect(_ reason: String) -> BuildError { .invalidPackage(name, pass: "instructions", reason: reason) }
}

extension TreeEntry.Kind {
  fileprivate var isRegular: Bool { if case .regular = self { true } else { false } }
}
