// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore
import SystemPackage

/// One SHA-256 over everything that decides what a build becomes: the same digest, the same package.
///
/// It covers what the definition means, the files beside it that it uses, its source, the architecture, the version of the
/// builder, and the digests of all packages that the build sees or names. Comments, formatting, the order of different fields and
/// `pull` do not count; neither do paths outside of the sandbox, the number of jobs, and how images are compressed.
///
/// Format: `docs/formats.md`, «Input digest».
public struct InputDigest: Sendable, Hashable, CustomStringConvertible {
  /// Raised whenever the builder makes something else of the same inputs.
  public static let builderVersion = 2

  /// `sha256-` and 64 hexadecimal digits: what metadata have as `input_digest`.
  public let text: String

  /// As ``text``.
  public var description: String { text }

  /// A package that the build depends on.
  public struct Dependency: Sendable, Hashable {
    /// Its full name.
    public var package: PackageID
    /// What stands for its content: the digest of its own inputs, as its metadata have it.
    public var digest: String

    /// Makes a dependency.
    public init(package: PackageID, digest: String) {
      self.package = package
      self.digest = digest
    }

    /// Reads the digest of a package's metadata; of a package that has none there, a digest over metadata and image.
    ///
    /// - Throws: ``StoreError``; ``BuildError/system(operation:path:_:)``.
    public init(_ package: PackageID, in store: some PackageCatalog & ImageSource) async throws {
      try await self.init(package, try await store.metadata(of: package)) {
        let path = try await store.image(of: package).path
        return try await onThread { try Checksum.sha256(of: path) }
      }
    }

    /// - Parameter image: the SHA-256 of the image, which is asked for only where the metadata have no digest.
    init(_ package: PackageID, _ metadata: PackageMetadata, image: () async throws -> String) async throws {
      self.package = package
      digest = metadata.inputDigest
      guard digest.isEmpty else { return }
      var encoder = DigestEncoder()
      encoder.add(metadata.textproto)
      encoder.add(try await image())
      digest = encoder.text
    }
  }

  /// Computes the digest of a definition; reads the files beside it, and a source that is a local directory.
  ///
  /// - Parameters:
  ///   - definition: the definition where it lies.
  ///   - dependencies: all packages that the build sees or names, closures included, in any order.
  ///   - architecture: what is built for.
  /// - Throws: ``BuildError/system(operation:path:_:)`` for a file that cannot be read, and as ``DefinitionFile/init(directory:)``
  ///   for a definition whose source this one uses.
  public init(definition: DefinitionFile, dependencies: [Dependency], architecture: Architecture) throws {
    var encoder = DigestEncoder()
    encoder.add("distri input digest")
    encoder.add(number: UInt64(Self.builderVersion))
    encoder.add(architecture.rawValue)
    encoder.add(definition.definition.name)
    try encoder.add(definition, sourceDepth: 0)
    let unique = Dictionary(dependencies.map { ($0.package, $0.digest) }) { first, _ in first }
    encoder.add(number: UInt64(unique.count))
    for (package, digest) in unique.sorted(by: { $0.key < $1.key }) {
      encoder.add(package.description)
      encoder.add(digest)
    }
    text = encoder.text
  }

  /// Computes the digest of a definition with the newest packages of a store, as a build would take them.
  ///
  /// - Throws: ``BuildError/missingDependency(_:of:)``; as ``init(definition:dependencies:architecture:)`` and
  ///   ``Dependency/init(_:in:)``.
  public init(
    definition: DefinitionFile, architecture: Architecture = .host, in store: some PackageCatalog & ImageSource
  ) async throws {
    let resolution = try await DependencyResolution(definition.definition, for: architecture, in: store)
    try await self.init(definition: definition, resolution: resolution, store: store)
  }

  init(definition: DefinitionFile, resolution: DependencyResolution, store: any PackageCatalog & ImageSource) async throws {
    try await self.init(definition: definition, resolution: resolution) { try await Dependency($0, in: store) }
  }

  init(
    definition: DefinitionFile, resolution: DependencyResolution, dependency: (PackageID) async throws -> Dependency
  ) async throws {
    var dependencies: [Dependency] = []
    for package in try resolution.inputs() { dependencies.append(try await dependency(package)) }
    let architecture = resolution.architecture
    self = try await onThread { [dependencies] in
      try InputDigest(definition: definition, dependencies: dependencies, architecture: architecture)
    }
  }
}

extension DigestEncoder {
  /// More definitions than use one another's source in a row.
  private static let maximumSourceDepth = 8

  /// Fields and files of a definition. At a depth of 1 and more only what makes the source that another definition uses.
  fileprivate mutating func add(_ file: DefinitionFile, sourceDepth: Int) throws {
    let directory = file.path.removingLastComponent()
    let definition = file.definition
    let ignored: Set<String> = ["pull"]
    let source: Set<String> = ["source", "hash", "cherry_pick", "extra_file"]
    var fields = file.tree
    fields.fields.removeAll { ignored.contains($0.name) || (sourceDepth > 0 && !source.contains($0.name)) }
    add(fields)
    for name in definition.patches + definition.extraFiles {
      add(name)
      try addContents(of: directory.pushing(FilePath(name)))
    }
    let wrappers = directory.appending("wrappers")
    if sourceDepth == 0, wrappers.isDirectory { try add(directory: wrappers, onlyExecutability: true) }
    try addSource(of: definition, in: directory, depth: sourceDepth)
  }

  /// What the source's hash in the definition does not say.
  private mutating func addSource(of definition: Definition, in directory: FilePath, depth: Int) throws {
    let reference = SourceReference(url: definition.source, hash: definition.hash)
    switch reference.scheme {
    case nil, "file":
      let text = reference.scheme == nil ? reference.url : String(reference.url.dropFirst("file://".count))
      let path = directory.pushing(FilePath(text))
      if !text.isEmpty, path.isDirectory { try add(directory: path, onlyExecutability: false) }
    case "distri+source":
      let name = String(reference.url.dropFirst("distri+source://".count))
      let other = directory.removingLastComponent().appending(name)
      guard depth < Self.maximumSourceDepth, FilePath(name).components.count == 1 else {
        throw BuildError.source(reference.url, reason: "does not lead to a definition with a source of its own")
      }
      guard other.appending(DefinitionFile.fileName).exists else {
        throw BuildError.source(reference.url, reason: "there is no definition in \(other)")
      }
      try add(try DefinitionFile(directory: other), sourceDepth: depth + 1)
    default: break
    }
  }
}
