// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import Crypto
import DistriArchive
import DistriStore
import SystemPackage

/// A package between its debs and its image.
struct UnpackedPackage: Sendable {
  let group: ImportPlan.Group
  var tree: PackageTree
  let temporaryFiles: [TemporaryFile]
  let alternatives: [Alternative]
  var objects: [LibraryFarm.Object] = []
}

/// Packages whose full names are known.
struct ResolvedPackages: Sendable {
  struct Item: Sendable {
    let id: PackageID
    let unpacked: UnpackedPackage
    /// The run-time closure.
    let closure: [PackageID]
    /// The digest for the lock.
    let digest: String
  }
  var items: [Item]
  /// All of them, to look things up in.
  var set: PackageSet
}

extension Importer {
  /// Grows whenever the importer makes something else of the same debs.
  private static let rules = 1

  // MARK: Unpacking

  func unpack(_ plan: ImportPlan) async throws -> [UnpackedPackage] {
    let groups = plan.groups.values.sorted { $0.name < $1.name }
    progress(.making(count: groups.count))
    let numbered = Array(groups.enumerated())
    var packages = try await onThreads(numbered, width: processorCount) { index, group in
      try unpack(group, in: workDirectory.appending("\(index)"))
    }
    let winners = Alternative.winners(
      of: Dictionary(uniqueKeysWithValues: packages.map { ($0.group.name, $0.alternatives) }))
    for index in packages.indices {
      Self.addLinks(winners[packages[index].group.name] ?? [], to: &packages[index])
    }
    return try await onThreads(packages, width: processorCount) { package in
      var package = package
      package.objects = try LibraryFarm.objects(in: package.tree)
      return package
    }
  }

  private func unpack(_ group: ImportPlan.Group, in directory: FilePath) throws -> UnpackedPackage {
    try directory.makeDirectories()
    var unpacker = DebianUnpacker(package: group.name, directory: directory)
    var alternatives: [Alternative] = []
    for record in group.records {
      let archive = try DebianArchive(path: DebCache(directory: debs).path(of: record))
      try unpacker.add(archive)
      for script in ["postinst", "preinst", "prerm"] {
        guard let bytes = archive.controlFile(script) else { continue }
        alternatives += Alternative.parse(String(decoding: bytes.prefix(1 << 20), as: UTF8.self))
      }
    }
    var tree = unpacker.tree
    try group.definition.apply(to: &tree)
    progress(.unpacked(group.name))
    let installable = alternatives.filter { alternative in
      guard let target = try? TreePath(parsing: alternative.target) else { return false }
      return PackageLayout.inPackage(target).flatMap { tree.kind(of: $0) } != nil
    }
    return UnpackedPackage(
      group: group, tree: tree, temporaryFiles: unpacker.temporaryFiles, alternatives: Array(Set(installable)))
  }

  private static func addLinks(_ alternatives: [Alternative], to package: inout UnpackedPackage) {
    for alternative in alternatives {
      guard let path = (try? TreePath(parsing: alternative.link)).flatMap(PackageLayout.inPackage),
        package.tree.kind(of: path) == nil
      else { continue }
      package.tree.insertLink(path, to: alternative.target)
    }
  }

  // MARK: Names and closures

  /// Finds what each package needs, and with that the revisions.
  ///
  /// Files can only be made to refer to full names once these are known, and these depend on what files refer to: so the pass runs
  /// once with provisional names, only for what it finds.
  func resolve(_ packages: [UnpackedPackage], locked: [ImportLock.Entry]?) async throws -> ResolvedPackages {
    let provisional = try Self.set(
      of: try packages.map { package in
        (try PackageID(name: package.group.name, architecture: architecture, upstream: package.upstream, revision: 1), package.tree)
      })
    let found = try await onThreads(packages, width: processorCount) { package in
      let id = try PackageID(name: package.group.name, architecture: architecture, upstream: package.upstream, revision: 1)
      let pass = HermeticPass(package: id, definition: package.group.definition, others: provisional)
      let result = try pass.run(package.tree, objects: package.objects)
      return package.group.relations.union(result.dependencies.map(\.name))
    }
    let names = packages.map(\.group.name)
    let closures = ImportPlan.closures(of: Dictionary(uniqueKeysWithValues: zip(names, found)))
    let digests = Dictionary(
      uniqueKeysWithValues: packages.map { ($0.group.name, Self.digest(of: $0, closure: closures[$0.group.name] ?? [])) })
    let changed = Set(names.filter { name in lock?.entries[name].map { $0.digest != digests[name] } ?? true })
    var ids: [String: PackageID] = [:]
    for package in packages {
      let name = package.group.name, digest = digests[name] ?? ""
      let isStale = !changed.isDisjoint(with: closures[name] ?? [])
      let previous = lock ?? ImportLock()
      let id = try previous.package(
        name: name, architecture: architecture, upstream: package.upstream, digest: digest, changed: isStale)
      if locked != nil, previous.entries[name]?.package != id {
        throw BuildError.source(
          "the lock",
          reason:
            "was written for another content of \(name) (\(previous.entries[name]?.package.version ?? "none")); use --update-lock")
      }
      ids[name] = id
    }
    let items = packages.compactMap { package -> ResolvedPackages.Item? in
      guard let id = ids[package.group.name] else { return nil }
      let closure = (closures[id.name] ?? []).compactMap { ids[$0] }.sorted()
      return .init(id: id, unpacked: package, closure: closure, digest: digests[id.name] ?? "")
    }
    return ResolvedPackages(items: items, set: try Self.set(of: items.map { ($0.id, $0.unpacked.tree) }))
  }

  private static func set(of trees: [(PackageID, PackageTree)]) throws -> PackageSet {
    var set = PackageSet()
    for (id, tree) in trees { try set.insert(id, tree) }
    return set
  }

  /// SHA-256 of all that decides what a package becomes: rules, definition, debs, links, names of the closure.
  private static func digest(of package: UnpackedPackage, closure: Set<String>) -> String {
    let definition = package.group.definition
    var text = "rules \(rules)\npackage \(definition.name)\n"
    for link in definition.links { text += "link \(link.path) \(link.target)\n" }
    // Only where there are any: packages without keep the digests that they have in locks.
    for file in definition.files { text += "file \(file.path) \(file.contents.utf8.count) \(file.contents)\n" }
    for join in definition.joins { text += "join \(join.path) \(join.pattern)\n" }
    for item in definition.attributes { text += "attributes \(item.path) \(item.permissions) \(item.userID) \(item.groupID)\n" }
    if !ModuleIndexes.versions(in: package.tree).isEmpty { text += "module indexes\n" }
    for cache in DesktopCache.all where !cache.sources(in: package.tree).isEmpty { text += "cache \(cache.path)\n" }
    text += "delete \(definition.deleted)\nkeep \(definition.keptInterpreters)\n"
    for record in package.group.records { text += "deb \(record.name) \(record.version) \(record.sha256)\n" }
    for node in package.tree.sortedNodes {
      // Which alternatives a package won depends on the others.
      guard case .symbolicLink(let target) = node.entry.kind, target.first == UInt8(ascii: "/") else { continue }
      text += "link \(node.entry.path) \(String(decoding: target, as: UTF8.self))\n"
    }
    text += "needs \(closure.sorted())\n"
    return hexadecimal(SHA256.hash(data: Array(text.utf8)))
  }

  // MARK: Making images

  func make(_ packages: ResolvedPackages) async throws -> Outcome {
    let existing = Set(try existingPackages())
    var lock = self.lock ?? ImportLock()
    for item in packages.items {
      lock.entries[item.id.name] = .init(
        package: item.id, digest: item.digest, needs: item.closure.map(\.name),
        debs: item.unpacked.group.records.map {
          .init(name: $0.name, version: $0.version, architecture: $0.architecture, sha256: $0.sha256)
        })
    }
    var missing: [ResolvedPackages.Item] = []
    for item in packages.items {
      guard existing.contains(item.id) else {
        missing.append(item)
        continue
      }
      guard try store.metadata(of: item.id).inputDigest == Self.inputDigest(of: item) else {
        throw StoreError.immutable(item.id, in: store.path)
      }
      progress(.present(item.id))
    }
    let outcome = Outcome(packages: packages.items.map(\.id).sorted(), made: missing.map(\.id).sorted(), lock: lock)
    guard !missing.isEmpty else { return outcome }
    // The largest first, so that no large one is left alone at the end.
    missing.sort { ($0.unpacked.tree.count, $1.id) > ($1.unpacked.tree.count, $0.id) }
    try await store.transaction { staging in
      let jobs = missing.map { (item: $0, files: staging.files(of: $0.id)) }
      _ = try await onThreads(jobs, width: processorCount) { job in
        let summary = try write(job.item, to: job.files.image, in: packages.set)
        progress(.made(job.item.id, byteCount: summary.byteCount))
      }
      for item in missing { try staging.stage(Self.metadata(of: item), of: item.id) }
    }
    return outcome
  }

  private static func inputDigest(of item: ResolvedPackages.Item) -> String {
    let closure = item.closure.map(\.description).joined(separator: "\n")
    return hexadecimal(SHA256.hash(data: Array("\(item.digest)\n\(closure)\n".utf8)))
  }

  private static func metadata(of item: ResolvedPackages.Item) -> PackageMetadata {
    let record = item.unpacked.group.records.first
    return PackageMetadata(
      runtimeDependencies: item.closure, sourcePackage: item.id.name, version: item.id.version,
      inputDigest: inputDigest(of: item), summary: record?.summary ?? "", homepage: record?.homepage ?? "")
  }

  private func write(_ item: ResolvedPackages.Item, to path: FilePath, in set: PackageSet) throws -> ImageSummary {
    let pass = HermeticPass(package: item.id, definition: item.unpacked.group.definition, others: set)
    let result = try pass.run(item.unpacked.tree, objects: item.unpacked.objects)
    var tree = result.tree
    try Self.rewrite(result.rewrites, in: &tree)
    try Self.addTemporaryFiles(item, to: &tree)
    try ModuleIndexes(work: workDirectory.appending("\(item.id)")).insert(into: &tree)
    for cache in DesktopCache.all { try cache.insert(into: &tree, work: workDirectory.appending("\(item.id)")) }
    var closure = PackageSet()
    for other in item.closure { if let contents = set[other] { try closure.insert(other, contents) } }
    try Wrappers(of: item.id, tree: tree, closure: closure, libraries: result.farm.links.keys).insert(into: &tree)
    do {
      let file = try FileDescriptor.open(
        path, .readWrite, options: [.create, .exclusiveCreate, .noFollow, .closeOnExec],
        permissions: FilePermissions(rawValue: 0o644))
      defer { try? file.close() }
      var stream = tree.stream()
      return try ImageWriter(options: imageOptions).write(&stream, to: file, path: path)
    } catch let error as Errno {
      throw BuildError.system(operation: "write", path: path, error)
    }
  }

  private static func rewrite(
    _ rewrites: [TreePath: (interpreter: String?, runpath: String?, libraries: [String: String])], in tree: inout PackageTree
  ) throws {
    var jobs: [ELFRewriter.Job] = [], nodes: [PackageTree.Node] = []
    for (path, change) in rewrites.sorted(by: { $0.key.description < $1.key.description }) {
      guard let node = tree[path], case .file(let file) = node.contents else { continue }
      var job = ELFRewriter.Job(path: file, interpreter: change.interpreter, runpath: change.runpath)
      job.libraries = change.libraries
      jobs.append(job)
      nodes.append(node)
    }
    try ELFRewriter().rewrite(jobs)
    for (job, node) in zip(jobs, nodes) {
      var node = node
      node.entry.kind = .regular(byteCount: try job.path.byteCount())
      tree.insert(node)
    }
  }

  private static func addTemporaryFiles(_ item: ResolvedPackages.Item, to tree: inout PackageTree) throws {
    guard !item.unpacked.temporaryFiles.isEmpty else { return }
    let path = PackageLayout.path("out/lib/tmpfiles.d")
    let name = try EntryName("\(item.id.name).conf")
    // The package may come with lines of its own.
    var bytes = try tree.file(at: path.appending(name)).map { own in try tree.contents(of: own, limit: 1 << 20) } ?? []
    bytes += Array(TemporaryFile.text(of: item.unpacked.temporaryFiles, package: item.id).utf8)
    if !bytes.isEmpty { tree.insertFile(path.appending(name), bytes) }
  }
}

extension UnpackedPackage {
  /// The upstream part of the version.
  var upstream: String { DebianRecord.upstream(ofVersion: group.records.first?.version ?? "0") }
}
