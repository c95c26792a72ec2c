// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore
import FoundationEssentials
import SystemPackage

/// What the keys of a console mean, as `loadkeys --bkeymap` writes it; distri-init's `Keymap` reads that.
enum Keymap {
  /// Where it lies, in the initramfs and in the root, for the initramfs of another kernel.
  static let path = "etc/distri/keymap"

  private static let keymaps = "out/share/keymaps"
  /// Where the keymaps of a PC are, rather than those of other machines.
  private static let directories = ["i386", "xkb"]
  private static let endings = [".kmap.gz", ".map.gz", ".kmap", ".map"]
  /// Of a file and of the result, in bytes.
  private static let largestFile = 1 << 20
  private static let mostFiles = 10_000

  /// Compiles a keymap that one of the packages has.
  ///
  /// - Parameter work: a directory for temporary files.
  /// - Throws: ``MkimageError/unusableFile(_:reason:)`` where none has it; ``MkimageError/missingTool(_:package:)``.
  static func compile(_ name: String, from images: [PackageImage], work: FilePath) throws -> [UInt8] {
    let root = try TreePath(parsing: keymaps)
    for image in images {
      guard let directory = try image.node(at: root) else { continue }
      var files: [(path: TreePath, node: PackageImage.Node)] = []
      try collect(directory, at: TreePath(components: []), of: image, into: &files)
      guard let chosen = files.first(where: { isKeymap($0.path, name) })?.path else { continue }
      // It includes others, which are found from where it is.
      let place = work.appending("keymaps")
      for (path, node) in files {
        let file = place.appending("\(path)")
        try FileManager.default.createDirectory(
          atPath: file.removingLastComponent().string, withIntermediateDirectories: true)
        try Scratch.write(try image.contents(of: node, limit: largestFile), to: file)
      }
      let loadkeys = try ChildProcess.locate("loadkeys", package: "kbd")
      let compiled = try ChildProcess.run(
        loadkeys, ["--quiet", "--unicode", "--bkeymap", place.appending("\(chosen)").string],
        limits: .init(fileByteCount: largestFile), work: work)
      guard compiled.starts(with: Array("bkeymap".utf8)) else {
        throw MkimageError.toolFailed(loadkeys.string, status: 0, words: "this is no binary keymap")
      }
      return compiled
    }
    throw MkimageError.unusableFile(
      "keymap «\(name)»", reason: "no package of the image has it in share/keymaps; Debian's are in console-data")
  }

  private static func isKeymap(_ path: TreePath, _ name: String) -> Bool {
    guard let first = path.components.first, directories.contains("\(first)"), let last = path.components.last else { return false }
    return endings.contains { "\(last)" == name + $0 }
  }

  private static func collect(
    _ directory: PackageImage.Node, at path: TreePath, of image: PackageImage,
    into files: inout [(path: TreePath, node: PackageImage.Node)]
  ) throws {
    guard path.components.count < 16, files.count < mostFiles else {
      throw MkimageError.unusableFile("\(image.path)", reason: "share/keymaps is too large")
    }
    for entry in try image.entries(of: directory) {
      switch entry.kind {
      case .directory: try collect(entry.node, at: path.appending(entry.name), of: image, into: &files)
      case .regular: files.append((path.appending(entry.name), entry.node))
      default: break
      }
    }
  }
}
