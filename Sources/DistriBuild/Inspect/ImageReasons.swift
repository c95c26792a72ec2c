// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore

extension DependencyReasons {
  /// Finds out from a package's files which packages it needs: for packages whose metadata do not tell.
  ///
  /// Read are the library farm and the programs that need it, interpreters of programs and scripts, absolute links.
  ///
  /// - Throws: ``StoreError/damagedImage(_:place:reason:)``; ``BuildError/invalidPackage(_:pass:reason:)`` for a damaged program.
  public init(of package: PackageID, in image: PackageImage) throws {
    self.init()
    var farm: [String: PackageID] = [:]
    for name in try image.names(in: PackageLayout.lib) {
      guard case .symbolicLink(let target) = try image.kind(of: PackageLayout.lib.appending(name)),
        let owner = RuntimeDependencies.package(inView: String(decoding: target, as: UTF8.self))
      else { continue }
      farm[name.description] = owner
    }
    var open: [(path: TreePath, node: PackageImage.Node)] = [(.root, image.root)]
    var seen: Set<PackageImage.Node> = []
    while let (path, node) = open.popLast() {
      let attributes = try image.attributes(of: node)
      switch attributes.kind {
      case .directory:
        // A damaged image may have a directory in itself.
        guard seen.insert(node).inserted else { continue }
        for entry in try image.entries(of: node) { open.append((path.appending(entry.name), entry.node)) }
      case .symbolicLink where !path.components.starts(with: PackageLayout.lib.components):
        let target = String(decoding: try image.symbolicLinkTarget(of: node), as: UTF8.self)
        if let owner = RuntimeDependencies.package(inView: target) { add(owner, RuntimeDependencies.linkReason, of: path) }
      case .regular:
        guard seen.insert(node).inserted else { continue }
        try addFile(path, node, isExecutable: attributes.permissions & 0o111 != 0, in: image, farm: farm)
      default: continue
      }
    }
    remove(package)
  }

  private mutating func addFile(
    _ path: TreePath, _ node: PackageImage.Node, isExecutable: Bool, in image: PackageImage, farm: [String: PackageID]
  ) throws {
    let start = try image.bytes(of: node, at: 0, atMost: isExecutable ? Script.maximumByteCount : 4)
    if isExecutable, let script = Script(start) {
      for package in RuntimeDependencies.packages(of: script) { add(package, RuntimeDependencies.scriptReason, of: path) }
    }
    guard start.starts(with: [0x7f, 0x45, 0x4c, 0x46]), !PackageLayout.holdsDebugSymbols(path) else { return }
    let elf = try ELFFile(named: "\(image.path): \(path)") { offset, count throws(BuildError) in
      do throws(StoreError) {
        return try image.bytes(of: node, at: offset, atMost: count)
      } catch {
        throw .invalidPackage("\(image.path)", pass: "ELF headers", reason: "\(error)")
      }
    }
    guard let elf, elf.isDynamic else { return }
    for name in elf.needed { if let owner = farm[name] { add(owner, LibraryFarm.reason(name), of: path) } }
    if let owner = elf.interpreter.flatMap(RuntimeDependencies.package(inView:)) {
      add(owner, RuntimeDependencies.loaderReason, of: path)
    }
  }
}
