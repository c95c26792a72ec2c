// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore
import SystemPackage

/// The tree that a directory of definitions lies in, as a source: `distriroot://`.
///
/// Of a working copy of git, the tracked files as they are, all with the time of the last commit; of another tree, all files but those with a
/// leading dot at its top, and `_build`. Modes are 0644 and 0755, so that the umask of a checkout does not matter.
struct WorkingCopy {
  /// The directory above the one that holds the definitions.
  let root: FilePath

  init(around definition: FilePath) {
    root = definition.appending("..").appending("..").lexicallyNormalized()
  }

  /// Copies the files.
  ///
  /// - Returns: the time of the last commit, in seconds since 1970; nil without git: then the files' own times count.
  /// - Throws: ``BuildError/tool(_:reason:)`` without the program git; what reading and writing throw.
  func copy(into destination: FilePath, options: TreeExtractor.Options) throws -> Int64? {
    let tracked = try trackedFiles()
    let date = try tracked == nil ? nil : commitDate()
    let (root, wanted) = (root, tracked)
    let change: @Sendable (TreeEntry) throws -> TreeEntry? = { entry in
      var entry = entry
      let path = entry.path
      if let wanted {
        guard path.isRoot || wanted.contains(path) else { return nil }
      } else if let first = path.components.first?.description, first.hasPrefix(".") || first == "_build" {
        return nil
      }
      // Where it goes to may be inside.
      if path.components.reduce(root, { $0.appending($1.description) }) == destination { return nil }
      switch entry.kind {
      case .directory: entry.permissions = 0o755
      case .regular: entry.permissions = entry.permissions & 0o111 == 0 ? 0o644 : 0o755
      default: break
      }
      if let date { entry.modificationTime = date }
      return entry
    }
    var tree = try DirectoryTree(path: root, options: .init(extendedAttributes: false, map: change))
    _ = try TreeExtractor.extract(&tree, into: destination, options: options)
    return date
  }

  /// The paths that git knows, with the directories above them; nil where there is no working copy.
  private func trackedFiles() throws -> Set<TreePath>? {
    var above = root
    while !above.appending(".git").exists {
      guard above.removeLastComponent() else { return nil }
    }
    var result: Set<TreePath> = []
    for name in try git(["ls-files", "-z", "--cached"]).split(separator: 0) {
      guard var path = try? TreePath(parsing: name) else { continue }
      while !path.isRoot, result.insert(path).inserted { path = path.parent }
    }
    guard !result.isEmpty else { throw BuildError.source("\(root)", reason: "git knows no file there") }
    return result
  }

  private func commitDate() throws -> Int64 {
    let text = String(decoding: try git(["log", "-1", "--format=%ct"]), as: UTF8.self).filter { !$0.isNewline }
    guard let date = Int64(text), date >= 0 else {
      throw BuildError.source("\(root)", reason: "git does not tell the time of the last commit")
    }
    return date
  }

  /// Nothing that a configuration in the working copy names is run.
  private func git(_ arguments: [String]) throws(BuildError) -> [UInt8] {
    let settings = ["-c", "safe.directory=*", "-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null"]
    let command = HostCommand(
      program: "git", arguments: settings + ["-C", root.string, "--no-pager"] + arguments, directory: nil, package: "git")
    return try command.runBlocking()
  }
}
