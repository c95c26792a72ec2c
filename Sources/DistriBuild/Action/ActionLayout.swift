// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore
import SystemPackage

/// Where things are in an action's input root, for who fills it and who works in it.
///
/// | what | where |
/// |---|---|
/// | what is to be built | `order.textproto` |
/// | the definition, and those whose source it uses | `definitions/<name>/…` |
/// | archives of sources, by their SHA-256 | `sources/<digits>` |
/// | packages that the build sees or names, with all that those need | `store/` |
/// | the builder, and what it needs to run | `tool/`, `tool/lib/` |
/// | what comes out | `out/` |
public enum ActionLayout {
  /// The directory of definitions.
  public static let definitions = "definitions"
  /// The directory of archives.
  public static let sources = "sources"
  /// The store of dependencies.
  public static let store = "store"
  /// The store of results, with log and bills of materials beside them.
  public static let results = "out"
  /// The directory of our own program.
  public static let tool = "tool"
  /// Our own program.
  public static let program = "distri-build"
  /// The program that rewrites ELF files, where the host has it.
  public static let patchelf = "patchelf"
  /// What the steps wrote, among the results.
  static let log = "build.log"
  /// The loader in the directory of shared objects.
  public static let loader = "ld.so"

  /// A path below the root.
  ///
  /// - Throws: ``StoreError/invalidName(_:_:)``.
  static func path(_ parts: String...) throws(StoreError) -> TreePath {
    var components: [EntryName] = []
    for part in parts { components.append(try EntryName(part)) }
    return TreePath(components: components)
  }

  /// All files that building a definition makes.
  static func outputs(of packages: [PackageID]) throws(StoreError) -> [ActionOutput] {
    var result = [ActionOutput(path: try path(results, log), role: .log)]
    for package in packages {
      let image = package.imageFileName
      result += [
        ActionOutput(path: try path(results, image), role: .image(package, .packages)),
        ActionOutput(path: try path(results, package.metadataFileName), role: .metadata(package)),
        ActionOutput(path: try path(results, "\(package).spdx.json"), role: .billOfMaterials(package)),
        ActionOutput(path: try path(results, LocalStore.Section.debug.rawValue, image), role: .image(package, .debug)),
      ]
    }
    if let main = packages.first {
      let section = LocalStore.Section.sources
      result.append(
        ActionOutput(path: try path(results, section.rawValue, main.imageFileName), role: .image(main, section)))
    }
    return result.sorted { $0.path.components.lexicographicallyPrecedes($1.path.components) }
  }
}
