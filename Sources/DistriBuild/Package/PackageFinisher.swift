// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore
import SystemPackage

/// Makes packages of what the steps installed and the instructions and claims have sorted: library farm, run-time dependencies and
/// wrappers of a package and those split from it.
struct PackageFinisher {
  /// A package on its way.
  struct Part {
    let package: PackageID
    var tree: PackageTree
    /// Run-time dependencies that the definition and the builder name.
    var named: DependencyReasons
    var farm: LibraryFarm?
    /// What the package needs by itself.
    var reasons = DependencyReasons()
    /// The run-time closure.
    var closure: [PackageID] = []
    /// What is worth a look.
    var remarks: [String] = []
  }

  /// All packages that the build saw.
  let dependencies: PackageSet
  let store: any PackageCatalog & ImageSource
  /// The program that loads programs, for those that were linked without our flags.
  let dynamicLinker: String?
  let rewriter: ELFRewriter

  func finish(_ parts: [Part]) async throws -> [Part] {
    var parts = parts
    var set = dependencies
    for part in parts { try set.insert(part.package, part.tree) }
    for index in parts.indices {
      var part = parts[index]
      part = try await onThread { [part, set] in try link(part, to: set) }
      parts[index] = part
    }
    for index in parts.indices {
      let closure = try await closure(of: parts[index], among: parts)
      parts[index].closure = closure
      let known = Dictionary(uniqueKeysWithValues: parts.map { ($0.package, $0.tree) })
      var closureContents = PackageSet()
      for package in closure {
        if let contents: any PackageContents = known[package] ?? dependencies[package] {
          try closureContents.insert(package, contents)
        } else {
          try closureContents.insert(package, try await store.image(of: package))
        }
      }
      let names = parts[index].farm.map { Array($0.links.keys) } ?? []
      try Wrappers(of: parts[index].package, tree: parts[index].tree, closure: closureContents, libraries: names)
        .insert(into: &parts[index].tree)
    }
    return parts
  }

  /// Library farm, RUNPATHs, and what the files refer to.
  private func link(_ part: Part, to set: PackageSet) throws -> Part {
    var part = part
    for script in try ScriptInterpreters(package: part.package, dependencies: set).pin(in: &part.tree) {
      part.remarks.append(
        "\(script.path): none of the packages in view has its interpreter \(script.interpreter.printable), so any of that name will run it"
      )
    }
    let objects = try LibraryFarm.objects(in: part.tree)
    let farm = try LibraryFarm(of: part.package, tree: part.tree, objects: objects, dependencies: set)
    try rewrite(objects, of: &part, farm: farm)
    farm.insert(into: &part.tree)
    let found = RuntimeDependencies(of: part.package, tree: part.tree)
    part.reasons = part.named
    part.reasons.formUnion(farm.reasons)
    part.reasons.formUnion(try found.interpreters(of: LibraryFarm.objects(in: part.tree)))
    part.reasons.formUnion(found.linkTargets())
    part.reasons.formUnion(try found.pkgConfigRequirements(in: set))
    part.reasons.remove(part.package)
    part.farm = farm
    return part
  }

  /// Gives files that were linked without our flags, or by a libtool with flags of its own, the RUNPATH of the farm.
  private func rewrite(_ objects: [LibraryFarm.Object], of part: inout Part, farm: LibraryFarm) throws {
    let own = PackageLayout.inView(PackageLayout.lib, of: part.package)
    var jobs: [(TreePath, ELFRewriter.Job)] = []
    for object in objects where !object.elf.needed.isEmpty {
      guard case .file(let path) = part.tree[object.path]?.contents else { continue }
      let wanted = (farm.directoriesBeforeFarm[object.path] ?? []) + [own]
      var job = ELFRewriter.Job(path: path)
      if object.elf.searchPath != wanted {
        job.libraries = ELFRewriter.libraries(of: object, in: part.package)
        if job.libraries.isEmpty { job.runpath = wanted.joined(separator: ":") }
      }
      if let interpreter = object.elf.interpreter, !interpreter.hasPrefix("/ro/") { job.interpreter = dynamicLinker }
      if !job.isEmpty { jobs.append((object.path, job)) }
    }
    guard !jobs.isEmpty else { return }
    try rewriter.rewrite(jobs.map(\.1))
    for (path, job) in jobs {
      guard var node = part.tree[path] else { continue }
      node.entry.kind = .regular(byteCount: try job.path.byteCount())
      part.tree.insert(node)
    }
  }

  /// Packages of the store bring their whole closures; those on their way are looked through.
  private func closure(of part: Part, among parts: [Part]) async throws -> [PackageID] {
    let direct = Dictionary(uniqueKeysWithValues: parts.map { ($0.package, $0.reasons.packages) })
    var result: Set<PackageID> = []
    var open = Array(part.reasons.packages)
    while let package = open.popLast() {
      guard result.insert(package).inserted else { continue }
      if let more = direct[package] {
        open += more
      } else {
        result.formUnion(try await store.metadata(of: package).runtimeDependencies)
      }
    }
    return result.subtracting([part.package]).sorted()
  }
}
