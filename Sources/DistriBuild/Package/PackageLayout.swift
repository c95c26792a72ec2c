// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore

/// Where things are in a package, and how paths of other distributions map to that.
public enum PackageLayout {
  /// The components of `<package>/out`-style paths are trusted to parse: they are written here.
  static func path(_ text: StaticString) -> TreePath {
    (try? TreePath(parsing: text.description)) ?? .root
  }

  /// What the steps installed.
  public static let out = path("out")
  /// Defaults for `/etc`.
  public static let etc = path("etc")
  /// The wrappers.
  public static let bin = path("bin")
  /// The library farm.
  public static let lib = path("lib")

  /// The absolute path of something in a package, in the view.
  public static func inView(_ path: TreePath, of package: PackageID) -> String { "/ro/\(package)/\(path)" }

  /// Where a symbolic link in a directory of a package leads, as components from the package's root.
  ///
  /// - Returns: nil when it leaves the package.
  static func inside(_ target: [UInt8], at directory: [EntryName], of package: PackageID) -> [EntryName]? {
    var result: [EntryName]
    var parts = target.split(separator: UInt8(ascii: "/"))[...]
    if target.first == UInt8(ascii: "/") {
      guard parts.count >= 2, parts.removeFirst().elementsEqual("ro".utf8),
        parts.removeFirst().elementsEqual(package.description.utf8)
      else { return nil }
      result = []
    } else {
      result = directory
    }
    for part in parts {
      if part.elementsEqual(".".utf8) { continue }
      if part.elementsEqual("..".utf8) {
        guard !result.isEmpty else { return nil }
        result.removeLast()
      } else {
        guard let name = try? EntryName(part) else { return nil }
        result.append(name)
      }
    }
    return result
  }

  /// The directories that the loader searches by itself, for files of a machine; as multiarch and plain systems have them.
  static func libraryDirectories(machine: UInt16, is64Bit: Bool) -> [TreePath] {
    switch (machine, is64Bit) {
    case (62, true): [path("out/lib/x86_64-linux-gnu"), path("out/lib"), path("out/lib64")]
    case (62, false): [path("out/libx32")]
    case (3, _): [path("out/lib/i386-linux-gnu"), path("out/lib32"), path("out/lib")]
    case (183, true): [path("out/lib/aarch64-linux-gnu"), path("out/lib"), path("out/lib64")]
    default: [path("out/lib")]
    }
  }

  /// The same for an architecture's own programs.
  static func libraryDirectories(of architecture: Architecture) -> [TreePath] {
    switch architecture {
    case .amd64: libraryDirectories(machine: 62, is64Bit: true)
    case .i686: libraryDirectories(machine: 3, is64Bit: false)
    case .arm64: libraryDirectories(machine: 183, is64Bit: true)
    }
  }

  /// All of them.
  static let allLibraryDirectories = [
    "out/lib", "out/lib64", "out/lib32", "out/libx32", "out/lib/x86_64-linux-gnu", "out/lib/i386-linux-gnu",
    "out/lib/aarch64-linux-gnu",
  ].map(path)

  /// Whether only debuggers read a file.
  static func holdsDebugSymbols(_ path: TreePath) -> Bool {
    let debug = [Self.path("out/lib/debug"), Self.path("debug")]
    return debug.contains { path.components.starts(with: $0.components) }
  }

  /// What a directory of a RUNPATH means for a file of a package; nil for one that means nothing there.
  ///
  /// `$ORIGIN` is the file's directory. `/usr/lib/x` and `/lib/x` are `out/lib/x`, of this package if it has it.
  static func location(ofSearchDirectory directory: String, for file: TreePath, of package: PackageID) -> PackageSet.Location? {
    for origin in ["$ORIGIN", "${ORIGIN}"] where directory.hasPrefix(origin) {
      let rest = Array(directory.dropFirst(origin.count).drop { $0 == "/" }.utf8)
      return inside(rest, at: file.parent.components, of: package).map {
        PackageSet.Location(package: package, path: TreePath(components: $0))
      }
    }
    guard directory.hasPrefix("/"), let path = try? TreePath(parsing: directory) else { return nil }
    if path.components.first?.bytes == Array("ro".utf8) {
      guard path.components.count > 2, let other = try? PackageID(parsing: path.components[1].description) else { return nil }
      return PackageSet.Location(package: other, path: TreePath(components: Array(path.components.dropFirst(2))))
    }
    return inPackage(path).map { PackageSet.Location(package: package, path: $0) }
  }

  /// Where a path of a system with the file system hierarchy standard is in a package; nil for what is in no package.
  static func inPackage(_ path: TreePath) -> TreePath? {
    var rest = path.components[...]
    guard let first = rest.popFirst()?.description else { return nil }
    switch first {
    case "usr": return rest.isEmpty ? out : TreePath(components: out.components + rest)
    case "etc": return path
    case "bin", "sbin", "lib", "lib32", "lib64", "libx32", "opt", "srv", "boot":
      return TreePath(components: out.components + path.components)
    default: return nil
    }
  }

  /// The relative target of a link in one directory of a package that leads to a path of the same package.
  static func relative(from directory: TreePath, to path: TreePath) -> [UInt8] {
    let common = zip(directory.components, path.components).prefix { $0 == $1 }.count
    let up = Array(repeating: Array("..".utf8), count: directory.components.count - common)
    let parts = up + path.components.dropFirst(common).map(\.bytes)
    return parts.isEmpty ? Array(".".utf8) : Array(parts.joined(separator: [UInt8(ascii: "/")]))
  }
}
