// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore
import SystemPackage

/// The debug symbols of what the steps installed, a file per build id, taken out of the programs.
struct DebugSymbols: Sendable {
  /// By build id in hexadecimal digits.
  var files: [String: FilePath] = [:]

  /// Where debuggers look for symbols, below the package's root.
  static let directory = PackageLayout.path("debug/.build-id")

  var isEmpty: Bool { files.isEmpty }

  /// What debuggers are to find of a package.
  ///
  /// - Returns: nil when nothing of the package has symbols.
  /// - Throws: ``BuildError/invalidPackage(_:pass:reason:)``; ``BuildError/system(operation:path:_:)``.
  func tree(of package: PackageTree) throws -> PackageTree? {
    guard !files.isEmpty else { return nil }
    var result = PackageTree(modificationTime: package.modificationTime)
    for object in try Self.objects(in: package) {
      guard let id = object.buildID, let file = files[id] else { continue }
      let path = Self.directory.appending(try EntryName(String(id.prefix(2)))).appending(
        try EntryName("\(id.dropFirst(2)).debug"))
      let entry = TreeEntry(
        path: path, kind: .regular(byteCount: try file.byteCount()), permissions: 0o644,
        modificationTime: package.modificationTime)
      result.insert(.init(entry: entry, contents: .file(file)))
    }
    return result.count == 0 ? nil : result
  }

  /// Lets a package lead to its symbols, which are mounted apart.
  static func link(_ package: PackageID, in tree: inout PackageTree) {
    let path = PackageLayout.path("debug")
    if tree.kind(of: path) == nil { tree.insertLink(path, to: "/ro-dbg/\(package)/debug") }
  }

  /// A program or library.
  struct Object: Sendable {
    var path: TreePath
    var elf: ELFFile
    /// Its bytes, outside.
    var file: FilePath

    /// In hexadecimal digits; nil where there is none that can be a file's name.
    var buildID: String? { (4...64).contains(elf.buildID.count) ? hexadecimal(elf.buildID) : nil }
  }

  /// All programs and libraries of a tree, static ones too; no object files, which are input of linkers.
  static func objects(in tree: PackageTree) throws(BuildError) -> [Object] {
    var result: [Object] = []
    for node in tree.sortedNodes {
      guard case .file(let file) = node.contents, !PackageLayout.holdsDebugSymbols(node.entry.path),
        let elf = try ELFFile(path: file, named: node.entry.path.description), elf.kind == .shared || elf.kind == .executable
      else { continue }
      result.append(Object(path: node.entry.path, elf: elf, file: file))
    }
    return result
  }
}

extension Execution {
  /// Takes debug symbols out of the installed programs and libraries, with the build's own binutils; without, they stay.
  ///
  /// - Parameter acknowledgement: why the package has none; empty when it should have some.
  /// - Throws: ``BuildError/invalidPackage(_:pass:reason:)`` for a package of programs without symbols; as ``runSteps()``.
  func splitDebugSymbols(acknowledgement: String) async throws -> DebugSymbols {
    let layout = plan.layout
    let objects = try await onThread {
      try DebugSymbols.objects(in: PackageTree(directory: layout.installed)).filter {
        $0.elf.architecture == layout.package.architecture
      }
    }
    let withSymbols = try await onThread {
      try objects.filter { try ELFSections(path: $0.file).hasDebugInformation }
    }
    if withSymbols.isEmpty, let first = objects.first, acknowledgement.isEmpty {
      throw BuildError.invalidPackage(
        "\(layout.package): \(first.path)", pass: "debug symbols",
        reason:
          "it has none, nor has any other program of the package; compile with -g and install unstripped, "
          + "or say in ack_missing_dwarf why there are none")
    }
    guard plan.dependencies.contains(where: { $0.name == "binutils" }), !objects.isEmpty else { return DebugSymbols() }
    let inside: FilePath = "/dest/debug"
    let home = layout.insideDestination.appending("ro").appending(layout.package.description)
    func path(_ object: DebugSymbols.Object) -> String { "\(home)/\(object.path)" }

    var symbols = DebugSymbols(), commands: [[String]] = [], stripped: [String] = []
    let split = Set(withSymbols.filter { $0.buildID != nil }.map(\.path))
    for object in objects {
      guard split.contains(object.path), let id = object.buildID else {
        stripped.append(path(object))
        continue
      }
      let name = "\(id).debug"
      if symbols.files.updateValue(layout.debug.appending(name), forKey: id) == nil {
        commands.append(["objcopy", "--only-keep-debug", "--decompress-debug-sections", path(object), "\(inside)/\(name)"])
      }
      commands.append(["objcopy", "--strip-debug", "--preserve-dates", "--add-gnu-debuglink=\(inside)/\(name)", path(object)])
    }
    commands += stride(from: 0, to: stripped.count, by: 64).map { start in
      ["strip", "--strip-debug", "--preserve-dates"] + stripped[start..<min(start + 64, stripped.count)]
    }
    let nameless = withSymbols.filter { $0.buildID == nil }
    if let first = nameless.first {
      report(.remark(layout.package, "\(first.path) has no build id, so its debug symbols are lost; link with -Wl,--build-id"))
    }
    try layout.debug.makeDirectories()
    var sandboxPlan = plan.sandbox
    sandboxPlan.operations.append(.bind(from: layout.debug, to: inside))
    let count = objects.count
    try await run(commands, in: sandboxPlan, as: "debug symbols of \(count) program\(count == 1 ? "" : "s or libraries")")
    return symbols
  }
}
