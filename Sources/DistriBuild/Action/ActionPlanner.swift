// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore
import SystemPackage

/// Has the archives of sources on this machine.
public protocol SourceArchives: Sendable {
  /// The archive of a source, which stays there; brings it first where it is not here. Whoever calls looks at its digest.
  ///
  /// - Throws: ``BuildError/source(_:reason:)``, or what the transport throws.
  func archive(of source: SourceReference) async throws -> FilePath
}

/// Makes actions of build orders.
public struct ActionPlanner: Sendable {
  /// Where dependencies come from.
  public var packages: ActionPackages
  /// Where sources come from.
  public var sources: any SourceArchives
  /// The builder that goes with the files.
  public var tool: ActionTool
  /// What is built for.
  public var architecture = Architecture.host
  /// What the machine has to be, by name.
  public var platform: [String: String] = [:]
  /// How many jobs a step may start at once; nil for as many as the machine has processors. It does not change what comes out, and yet makes
  /// another action: two machines that are to share results say the same.
  public var jobs: Int?

  /// Makes a planner.
  public init(packages: ActionPackages, sources: any SourceArchives, tool: ActionTool) {
    self.packages = packages
    self.sources = sources
    self.tool = tool
  }

  /// The action that builds what the order says; of the order's jobs nothing, since the machine that runs it decides.
  ///
  /// - Throws: ``BuildError/missingDependency(_:of:)``; ``BuildError/source(_:reason:)`` for a source that is no archive, or not what its hash
  ///   says; what reading the files throws.
  public func action(for order: BuildOrder) async throws -> Action {
    let definition = order.file.definition
    let resolution = try await DependencyResolution(definition, for: architecture, in: packages, choices: order.choices)
    let dependencies = try await resolution.allDependencies()
    let inputDigest = try await InputDigest(definition: order.file, resolution: resolution) { [packages] in
      try await InputDigest.Dependency($0, in: packages)
    }
    let text = ActionOrder(
      definition: definition.name, architecture: architecture, inputDigest: inputDigest.text, choices: resolution.chosen())
    let source = try await sourceFiles(of: order.file)
    let built = try order.file.packages(for: architecture)
    let inputs = try await onThread { [packages, tool] in
      var files = tool.files + source + (try Self.definitionFiles(of: order.file))
      files.append(ActionFile(try ActionLayout.path(ActionOrder.fileName), bytes: Array(text.text.utf8)))
      for package in dependencies { files += try packages.files(of: package) }
      return try ActionInputs(files, of: built[0])
    }
    return Action(
      packages: built, dependencies: dependencies, order: text, inputs: inputs,
      arguments: tool.command + ["action", "run"] + (jobs.map { ["--jobs", String($0)] } ?? []),
      environment: ["LC_ALL": "C", "TZ": "UTC"], platform: platform, outputs: try ActionLayout.outputs(of: built))
  }

  // MARK: Files

  /// A definition with the files beside it that it uses.
  private static func definitionFiles(of file: DefinitionFile) throws -> [ActionFile] {
    let directory = file.path.removingLastComponent()
    let home = try ActionLayout.path(ActionLayout.definitions, file.definition.name)
    var result = [ActionFile(home.appending(try EntryName(DefinitionFile.fileName)), bytes: file.bytes)]
    for name in Set(file.definition.patches + file.definition.extraFiles) {
      let path = try TreePath(parsing: name)
      // Nothing from elsewhere: it would leave the machine.
      for count in 1..<max(1, path.components.count) {
        let folder = path.components.prefix(count).reduce(directory) { $0.appending($1.description) }
        guard folder.isRealDirectory else { throw BuildError.source(name, reason: "is not below the directory of its definition") }
      }
      let place = path.components.reduce(directory) { $0.appending($1.description) }
      result.append(try self.file(place, as: home.appending(path)))
    }
    let wrappers = directory.appending("wrappers")
    guard wrappers.isDirectory else { return result }
    var tree = try DirectoryTree(path: wrappers)
    while let entry = try tree.next() {
      let path = entry.path.components.reduce(wrappers) { $0.appending($1.description) }
      switch entry.kind {
      case .directory: continue
      case .regular, .hardLink:
        let target = home.appending(try TreePath(parsing: "wrappers")).appending(entry.path)
        result.append(try self.file(path, as: target, isExecutable: entry.permissions & 0o100 != 0))
      default: throw BuildError.source(path.string, reason: "is neither file nor directory, and no wrapper of an action")
      }
    }
    return result
  }

  /// Small files, as they are now; a link is an error.
  private static func file(_ path: FilePath, as target: TreePath, isExecutable: Bool = false) throws -> ActionFile {
    let bytes = try path.bytes(at: 0, atMost: maximumFileByteCount + 1)
    guard bytes.count <= maximumFileByteCount else {
      throw BuildError.source(path.string, reason: "is larger than \(maximumFileByteCount) bytes")
    }
    return ActionFile(target, bytes: bytes, isExecutable: isExecutable)
  }

  /// The largest file beside a definition, in bytes.
  private static let maximumFileByteCount = 64 << 20

  /// The archive of a source, and the definitions that lead to it.
  private func sourceFiles(of file: DefinitionFile) async throws -> [ActionFile] {
    let origin = try SourceOrigin(of: file.definition, in: file.path.removingLastComponent())
    var result: [ActionFile] = []
    for directory in origin.followed {
      let name = directory.lastComponent?.string ?? ""
      let path = try ActionLayout.path(ActionLayout.definitions, name, DefinitionFile.fileName)
      result.append(try Self.file(directory.appending(DefinitionFile.fileName), as: path))
    }
    let reference = origin.reference
    switch reference.scheme {
    case "empty": break
    case "http", "https", GoModule.scheme,
      nil where origin.isElsewhere:
      let archive = try await sources.archive(of: reference)
      result.append(try await verified(archive, reference))
    case nil:
      let archive = origin.directory.pushing(FilePath(reference.url))
      guard !archive.isDirectory, FilePath(reference.url).isRelative, let path = try? TreePath(parsing: reference.url) else {
        throw Self.unsupported(reference)
      }
      let home = try ActionLayout.path(ActionLayout.definitions, origin.directory.lastComponent?.string ?? "")
      result.append(try await verified(archive, reference, as: home.appending(path)))
    default: throw Self.unsupported(reference)
    }
    return result
  }

  private func verified(_ archive: FilePath, _ source: SourceReference, as path: TreePath? = nil) async throws -> ActionFile {
    let digest = try await onThread { [digests = packages.digests] in try digests.digest(of: archive) }
    try Checksum.verify(digest.sha256, is: source)
    return ActionFile(try path ?? ActionLayout.path(ActionLayout.sources, digest.sha256), .file(archive), digest: digest)
  }

  private static func unsupported(_ source: SourceReference) -> BuildError {
    .source(
      source.url,
      reason:
        "is no archive beside its definition or on the network, so that no other machine can have it; pack it, or build on this machine"
    )
  }
}

extension TreePath {
  fileprivate func appending(_ path: TreePath) -> TreePath { TreePath(components: components + path.components) }
}
