// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriBuild
import DistriStore
import SystemPackage

/// The first file system of a machine: `distri-init` as `/init`, what it needs, and kernel modules.
///
/// All shared objects lie in `/lib`, the run-time linker as `/lib/ld.so`: `distri-init` starts itself through it as the view's daemon after the root
/// has been switched, when the usual places lead into the view that is not there yet.
struct InitramfsContents {
  /// `distri-init`.
  let initProgram: FilePath
  /// In the order in which they can be loaded.
  let modules: [KernelPackage.Module]
  /// Names of those that are loaded whatever hardware there is.
  let always: [String]
  /// By path below `lib/firmware`.
  var firmware: [String: [UInt8]] = [:]
  /// What ``Keymap`` has compiled; nil where keyboards are as the kernel takes them.
  var keymap: [UInt8]?
  /// Opens encrypted disks; nil where none is.
  var cryptsetup: FilePath?
  /// A static busybox for the rescue shell; nil where there is none.
  var shell: FilePath?
  /// Where shared objects are looked for first.
  var libraryDirectories: [FilePath] = []
  /// Where those are looked for that are nowhere else.
  var otherLibraryDirectories: [FilePath] = []

  /// Plans everything.
  ///
  /// - Throws: ``MkimageError/missingObject(_:neededBy:)`` and others.
  func plan() throws -> Contents {
    var contents = Contents()
    for name in ["proc", "sys", "run", "sysroot", "oldroot"] { try contents.addDirectory(TreePath(parsing: name)) }
    // The kernel opens the console before there is a devtmpfs.
    for (name, permissions, minor) in [("console", 0o600, 1), ("null", 0o666, 3)] as [(String, UInt16, UInt32)] {
      let kind = Contents.Kind.characterDevice(major: name == "console" ? 5 : 1, minor: minor)
      try contents.add(TreePath(parsing: "dev/\(name)"), Contents.Node(kind: kind, permissions: permissions))
    }
    try contents.addFile(TreePath(parsing: "init"), initProgram.asSource(), permissions: 0o755)
    // systemd comes back here at the end.
    try contents.addLink(TreePath(parsing: "shutdown"), to: "init")
    if let cryptsetup { try contents.addFile(TreePath(parsing: "bin/cryptsetup"), cryptsetup.asSource(), permissions: 0o755) }
    if let shell {
      try contents.addFile(TreePath(parsing: "bin/busybox"), shell.asSource(), permissions: 0o755)
      try contents.addLink(TreePath(parsing: "bin/sh"), to: "busybox")
    }
    try addSharedObjects(to: &contents)
    for module in modules {
      try contents.addFile(TreePath(parsing: "modules/\(module.name).ko"), .bytes(module.bytes))
    }
    for (name, bytes) in firmware { try contents.addFile(TreePath(parsing: "lib/firmware/\(name)"), .bytes(bytes)) }
    try contents.addFile(TreePath(parsing: "etc/distri/modules"), index)
    if let keymap { try contents.addFile(TreePath(parsing: Keymap.path), .bytes(keymap)) }
    return contents
  }

  /// What `distri-init` knows of the modules: its `ModuleIndex` has the syntax.
  private var index: String {
    var lines = modules.map { (["module", $0.name] + $0.dependencies).joined(separator: " ") }
    let names = Set(always.map { ModuleInfo.canonical($0) })
    lines += modules.filter { names.contains($0.name) }.map { "load \($0.name)" }
    lines += modules.flatMap { module in module.aliases.map { "alias \($0) \(module.name)" } }
    return lines.map { $0 + "\n" }.joined()
  }

  private func addSharedObjects(to contents: inout Contents) throws {
    let programs = [initProgram] + (cryptsetup.map { [$0] } ?? [])
    let objects: SharedObjects
    do {
      objects = try SharedObjects(of: programs, searching: libraryDirectories, then: otherLibraryDirectories)
    } catch {
      switch error {
      case .missingObject(let name, let user): throw MkimageError.missingObject(name, neededBy: user)
      case .tool(let program, let reason): throw MkimageError.unusableFile(program, reason: reason)
      default: throw error
      }
    }
    guard let interpreter = objects.interpreter else { return }
    try contents.addFile(TreePath(parsing: "lib/ld.so"), FilePath(interpreter).resolved().asSource(), permissions: 0o755)
    for (name, path) in objects.files {
      try contents.addFile(TreePath(parsing: "lib/\(name)"), path.asSource(), permissions: 0o755)
    }
    try contents.addLink(TreePath(parsing: interpreter), to: "/lib/ld.so")
    // Programs that say nothing of where their libraries are rely on the linker's own directory.
    if let directory = objects.systemDirectory, TreePath.library != (try TreePath(parsing: directory)) {
      try contents.addLink(TreePath(parsing: directory), to: "/lib")
    }
  }
}

extension TreePath {
  /// `/lib`.
  fileprivate static var library: TreePath? { try? TreePath(parsing: "lib") }
}
