// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriArchive
import DistriStore
import SystemPackage

/// A kernel out of a package: `out/boot/vmlinuz-<release>` and `out/lib/modules/<release>`.
struct KernelPackage {
  /// Such as `6.1.0-18-cloud-amd64`.
  let release: String
  /// Names this build of it: the release, which several may have, and the package's revision.
  var version: String { "\(release)-\(revision)" }
  private var revision: UInt64 = 0
  /// The package.
  let image: PackageImage
  private let kernel: PackageImage.Node
  /// By name, with `_` for `-`.
  private let modules: [String: (path: TreePath, node: PackageImage.Node)]
  private let builtIn: Set<String>

  /// Modules and kernels are a few megabytes; what claims to be larger than this, in bytes, is damaged.
  private static let largestFile = 256 << 20

  /// The kernel of a package, or of one that it needs.
  ///
  /// - Throws: ``MkimageError/noKernel(in:)``; `StoreError.notFound`.
  static func find(_ name: String, in store: LocalStore) throws -> KernelPackage {
    let package = try store.resolve(name)
    for candidate in [package] + (try store.metadata(of: package).runtimeDependencies) {
      guard var found = try KernelPackage(try store.image(of: candidate)) else { continue }
      found.revision = candidate.revision
      return found
    }
    throw MkimageError.noKernel(in: "\(package)")
  }

  /// Nil when the package has no kernel.
  init?(_ image: PackageImage) throws {
    guard let boot = try image.node(at: TreePath(parsing: "out/boot")) else { return nil }
    let prefix = Array("vmlinuz-".utf8)
    guard let entry = try image.entries(of: boot).last(where: { $0.name.bytes.starts(with: prefix) }) else { return nil }
    release = String(decoding: entry.name.bytes.dropFirst(prefix.count), as: UTF8.self)
    let directory = try TreePath(parsing: "out/lib/modules/\(release)")
    guard let node = try image.node(at: directory) else { return nil }
    self.image = image
    kernel = entry.node
    var modules: [String: (path: TreePath, node: PackageImage.Node)] = [:]
    try Self.collect(node, at: directory, of: image, into: &modules)
    self.modules = modules
    builtIn = try Self.builtInModules(of: image, in: node)
  }

  /// The compressed kernel that boot loaders start.
  func kernelImage() throws -> [UInt8] { try image.contents(of: kernel, limit: Self.largestFile) }

  /// Whether it takes an initramfs that is compressed by zstd: its configuration says so. Without one, nothing is taken for granted.
  func unpacksZstandard() throws -> Bool {
    guard let node = try image.node(at: TreePath(parsing: "out/boot/config-\(release)")) else { return false }
    let text = String(decoding: try image.contents(of: node, limit: 4 << 20), as: UTF8.self)
    return text.split(separator: "\n").contains("CONFIG_RD_ZSTD=y")
  }

  /// A module to load.
  struct Module: Equatable {
    let name: String
    /// Uncompressed.
    let bytes: [UInt8]
    /// What is loaded before it, as far as it is not built into the kernel; names of modules.
    let dependencies: [String]
    let aliases: [String]
    let firmware: [String]
  }

  /// The modules with all that they depend on, in the order in which they have to be loaded. What is built into the kernel is left out.
  ///
  /// - Parameters:
  ///   - names: must exist, as modules or built in.
  ///   - wishes: are left out where they do not exist.
  func loadOrder(of names: [String], wishes: [String] = []) throws -> [Module] {
    var loaded: [Module] = []
    var seen: Set<String> = []
    func visit(_ name: String, neededBy user: String?) throws {
      guard !builtIn.contains(name), seen.insert(name).inserted else { return }
      guard let (path, node) = modules[name] else {
        guard let user else { return }
        throw MkimageError.unusableModule(name, reason: "kernel \(release) does not have it; \(user) needs it")
      }
      let bytes = try Self.decompressed(try image.contents(of: node, limit: Self.largestFile), name: "\(path)")
      let info = try ModuleInfo(bytes, name: "\(path)")
      for wish in info.wishes { try visit(wish, neededBy: nil) }
      for dependency in info.dependencies { try visit(dependency, neededBy: name) }
      let before = (info.wishes + info.dependencies).filter { !builtIn.contains($0) && modules[$0] != nil && $0 != name }
      loaded.append(
        Module(name: name, bytes: bytes, dependencies: before, aliases: info.aliases, firmware: info.firmware))
    }
    for name in names { try visit(ModuleInfo.canonical(name), neededBy: "the image") }
    for name in wishes { try visit(ModuleInfo.canonical(name), neededBy: nil) }
    return loaded
  }

  /// The kernel of an initramfs shall not depend on being able to unpack modules.
  static func decompressed(_ bytes: [UInt8], name: String) throws -> [UInt8] {
    guard [".xz", ".zst", ".gz"].contains(where: name.hasSuffix) else { return bytes }
    return try CompressedBytes.contents(of: bytes, limit: largestFile, subject: FilePath(name))
  }

  private static func collect(
    _ directory: PackageImage.Node, at path: TreePath, of image: PackageImage,
    into modules: inout [String: (path: TreePath, node: PackageImage.Node)]
  ) throws {
    guard path.components.count < 32 else {
      throw MkimageError.unusableModule("\(path)", reason: "directories are nested too deep")
    }
    for entry in try image.entries(of: directory) {
      let place = path.appending(entry.name)
      switch entry.kind {
      case .directory: try collect(entry.node, at: place, of: image, into: &modules)
      case .regular:
        let name = entry.name.description
        for ending in [".ko", ".ko.xz", ".ko.zst", ".ko.gz"] where name.hasSuffix(ending) {
          modules[ModuleInfo.canonical(name.dropLast(ending.count))] = (place, entry.node)
        }
      default: break
      }
    }
  }

  /// `modules.builtin`: a path a line, such as `kernel/fs/ext4/ext4.ko`.
  private static func builtInModules(of image: PackageImage, in directory: PackageImage.Node) throws -> Set<String> {
    guard let node = try image.lookUp(EntryName("modules.builtin"), in: directory) else { return [] }
    let text = String(decoding: try image.contents(of: node, limit: 4 << 20), as: UTF8.self)
    return Set(
      text.split(separator: "\n").compactMap { line in
        guard let name = line.split(separator: "/").last, name.hasSuffix(".ko") else { return nil }
        return ModuleInfo.canonical(name.dropLast(3))
      })
  }
}
