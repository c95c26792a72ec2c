// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore

/// Moves the files that split packages claim out of the package that the steps installed.
struct SplitPackages {
  let package: PackageID
  let splits: [Definition.SplitPackage]

  /// - Returns: the packages with their files, in the order of the definition. Each claimed file leaves a link to its new place behind.
  /// - Throws: ``BuildError/invalidPackage(_:pass:reason:)`` for a claim that nothing matches; ``StoreError/invalidName(_:_:)``.
  func split(_ tree: inout PackageTree) throws -> [(PackageID, PackageTree)] {
    var result: [(PackageID, PackageTree)] = []
    for split in splits {
      let other = try PackageID(parsing: "\(split.name)-\(package.architecture)-\(package.version)")
      guard other != package, !result.contains(where: { $0.0 == other }) else { throw defect("two packages are called \(other)") }
      var part = PackageTree(modificationTime: tree.modificationTime)
      for claim in split.claims { try move(claim, of: other, from: &tree, to: &part) }
      result.append((other, part))
    }
    return result
  }

  private func defect(_ reason: String) -> BuildError { .invalidPackage("\(package)", pass: "split packages", reason: reason) }

  private func move(
    _ claim: Definition.SplitPackage.Claim, of other: PackageID, from tree: inout PackageTree, to part: inout PackageTree
  ) throws {
    let pattern: Glob
    do throws(Glob.Defect) { pattern = try Glob(claim.glob) } catch {
      throw defect("the claim «\(claim.glob.printable)» \(error.reason)")
    }
    let claimed = tree.sortedNodes.map(\.entry.path).filter(pattern.matches)
    guard !claimed.isEmpty else { throw defect("\(other) claims \(claim.glob.printable), which nothing matches") }
    for path in claimed {
      var place = path
      if !claim.directory.isEmpty {
        guard let directory = try? TreePath(parsing: claim.directory), let name = path.name else {
          throw defect("«\(claim.directory.printable)» is no directory of a package")
        }
        place = directory.appending(name)
      }
      for var node in tree.sortedNodes where node.entry.path.components.starts(with: path.components) {
        let rest = node.entry.path.components.dropFirst(path.components.count)
        if case .hardLink(let first) = node.entry.kind, let file = tree[first] {
          // A further name of a file: the parts are images of their own, so that each gets the bytes.
          node.entry.kind = file.entry.kind
          node.contents = file.contents
        }
        node.entry.path = TreePath(components: place.components + rest)
        part.insert(node)
      }
      tree.keepLinkedContents(of: path)
      tree.remove(path)
      tree.insertLink(path, to: PackageLayout.inView(place, of: other))
    }
  }
}

extension PackageTree {
  /// Before something is removed: lets the first further name outside of each of its files become the file.
  fileprivate mutating func keepLinkedContents(of path: TreePath) {
    var heirs: [TreePath: TreePath] = [:]
    for var node in sortedNodes {
      guard case .hardLink(let first) = node.entry.kind, first.components.starts(with: path.components),
        !node.entry.path.components.starts(with: path.components), let file = self[first]
      else { continue }
      if let heir = heirs[first] {
        node.entry.kind = .hardLink(to: heir)
      } else {
        heirs[first] = node.entry.path
        node.entry.kind = file.entry.kind
        node.contents = file.contents
      }
      insert(node)
    }
  }
}
