// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore

/// Makes the first lines of a package's scripts name exact versions: `#!/usr/bin/env python3` becomes
/// `#!/ro/python3-amd64-3.11.2-1/bin/python3`.
///
/// Looked at is every executable file. A program is looked for in the package itself, then in the packages that the build saw.
struct ScriptInterpreters {
  let package: PackageID
  let dependencies: PackageSet

  /// A script whose interpreter cannot be pinned.
  struct Unresolved: Hashable {
    var path: TreePath
    var interpreter: String
  }

  /// Larger scripts stay as they are, in bytes.
  private static let maximumByteCount: UInt64 = 16 << 20
  private static let directories: Set<String> = [
    "/bin", "/sbin", "/usr/bin", "/usr/sbin", "/usr/local/bin", "/usr/local/sbin", "/ro/bin", "/ro/sbin",
  ]

  /// - Returns: the scripts that stay as they are, since no package has their interpreter.
  /// - Throws: ``BuildError/system(operation:path:_:)``; what reading the packages throws.
  func pin(in tree: inout PackageTree) throws -> [Unresolved] {
    var result: [Unresolved] = []
    var known: [String: String?] = [:]
    for var node in tree.sortedNodes where node.entry.permissions & 0o111 != 0 {
      guard let script = try Script(of: node, in: tree), case .regular(let byteCount) = node.entry.kind else { continue }
      let wanted = script.programForEnv.map { "/usr/bin/\($0)" } ?? script.interpreter
      guard RuntimeDependencies.package(inView: wanted) == nil else { continue }
      let found = try known[wanted] ?? program(wanted, in: tree)
      known[wanted] = found
      var line = found.map { "#!\($0)" }
      if script.programForEnv == nil, !script.argument.isEmpty { line?.append(" \(script.argument)") }
      // A line that the kernel would cut off starts another program than the one meant.
      guard let line, line.utf8.count < Script.maximumByteCount, byteCount <= Self.maximumByteCount else {
        result.append(Unresolved(path: node.entry.path, interpreter: wanted))
        continue
      }
      let bytes = try Array(line.utf8) + tree.contents(of: node, limit: Int(byteCount)).dropFirst(script.byteCount)
      node.entry.kind = .regular(byteCount: UInt64(bytes.count))
      node.contents = .bytes(bytes)
      tree.insert(node)
    }
    return result
  }

  /// Where a program is in the view: its wrapper, for those that get one.
  private func program(_ absolute: String, in tree: PackageTree) throws -> String? {
    guard let slash = absolute.lastIndex(of: "/"), let name = try? EntryName(String(absolute[absolute.index(after: slash)...]))
    else { return nil }
    guard Self.directories.contains(String(absolute[..<slash])) else {
      guard let path = (try? TreePath(parsing: absolute)).flatMap(PackageLayout.inPackage) else { return nil }
      if tree.kind(of: path) != nil { return PackageLayout.inView(path, of: package) }
      return try dependencies.location(of: path)?.inView
    }
    for directory in ["out/bin", "out/sbin"].map(PackageLayout.path) where tree.kind(of: directory.appending(name)) != nil {
      return PackageLayout.inView(PackageLayout.bin.appending(name), of: package)
    }
    let wrapper = PackageLayout.bin.appending(name)
    return try dependencies.location(of: wrapper)?.inView
  }
}
