// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import SystemPackage

/// What a new generation is to be.
public struct GenerationChange: Sendable, Hashable {
  /// What it names.
  public var selection: Generation.Selection
  /// When it is made, in seconds since 1970.
  public var time: Int64
  /// What makes it, for people.
  public var command: String

  /// Makes a change.
  public init(selection: Generation.Selection, time: Int64, command: String) {
    self.selection = selection
    self.time = time
    self.command = command
  }
}

/// What a new generation is made of: the state of the store at the moment of the commit, which nobody else can change meanwhile.
public struct GenerationContext: Sendable {
  /// The current generation. Of a store that has packages but no generation, what it shows: that becomes number 1.
  public let current: Generation?
  /// All packages that a generation can name: those of the store, and those that were staged.
  public let packages: Set<PackageID>
  let store: LocalStore
  let area: FilePath
  let staged: Set<PackageID>

  /// What is selected now; nothing in a new store.
  public var selection: Generation.Selection { current?.selection ?? Generation.Selection() }

  /// What a package says of itself.
  ///
  /// - Throws: as ``LocalStore/metadata(of:)``.
  public func metadata(of package: PackageID) throws(StoreError) -> PackageMetadata {
    guard staged.contains(package) else { return try store.metadata(of: package) }
    let file = area.appending(package.metadataFileName)
    let bytes = try OwnedDescriptor(reading: file).contents(limit: PackageMetadata.maximumByteCount + 1, path: file)
    return try PackageMetadata(textproto: bytes, subject: file.string)
  }
}

/// Decides what the next generation names; nil to make none. It runs while the store is locked: it reads files, and never waits.
public typealias GenerationMaker = @Sendable (GenerationContext) throws -> GenerationChange?

extension LocalStore {
  /// Adds packages, and makes the generation that names them current, in one step: who sees the generation finds its packages.
  ///
  /// - Parameters:
  ///   - change: says what the new generation names; called when all is staged, once. Nil to make none.
  ///   - body: stages packages; may stage none.
  /// - Returns: the generation that was made; nil when the selection is what it was.
  /// - Throws: as ``transaction(_:)``; what `change` throws, and then nothing happened; ``StoreError/notFound(_:)`` for a package that
  ///   it names and that is neither in the store nor staged.
  @discardableResult
  public func transaction(
    making change: GenerationMaker?, _ body: (borrowing StagingArea) async throws -> Void
  ) async throws -> Generation? {
    try await transact(change, body)
  }

  /// Makes a generation of packages that the store has.
  ///
  /// - Throws: as ``transaction(making:_:)``.
  @discardableResult
  public func makeGeneration(_ change: @escaping GenerationMaker) async throws -> Generation? {
    try await transact(change) { _ in }
  }

  /// Makes an earlier generation, or a later one, current. One rename; needs nothing but the store.
  ///
  /// - Parameter number: which; nil for the one that the current one was made of.
  /// - Returns: the generation that is current now.
  /// - Throws: ``StoreError/noGeneration(_:in:)``; ``StoreError/notFound(_:)`` for a package that it names and that is gone;
  ///   ``StoreError/locked(_:holder:)``; ``StoreError/invalidMetadata(of:line:reason:)``; ``StoreError/system(operation:path:_:)``.
  @discardableResult
  public func switchGeneration(to number: UInt64? = nil) async throws -> Generation {
    let writer = try await openForWriting()
    let lock = try await writer.lock(patience: patience)
    let generation = try await blocking { [self] in
      try writer.recover()
      let generation = try target(number)
      try requirePackages(of: generation.selection, among: Set(try packages()))
      try writer.makeCurrent(generation.number)
      return generation
    }
    lock.release()
    return generation
  }

  /// What ``switchGeneration(to:)`` would make current.
  ///
  /// - Throws: as that.
  public func target(_ number: UInt64?) throws(StoreError) -> Generation {
    if let number { return try generations.generation(number) }
    guard let current = try generations.current(), let parent = current.parent else { throw .noGeneration(nil, in: path) }
    return try generations.generation(parent)
  }

  func requirePackages(of selection: Generation.Selection, among present: Set<PackageID>) throws(StoreError) {
    if let missing = selection.packages.first(where: { !present.contains($0) }) { throw .notFound(missing.description) }
  }
}

// MARK: - Steps of a commit

extension StoreWriter {
  // In an area whose commit is decided: what is to become a generation's file, and the link to it. Each is moved by one rename, the link
  // last, so that whoever finishes the commit sees what is left to do.
  private static let filePrefix = ".generation-"
  private static let linkName = ".current"

  /// Asks for the next generation, and writes it into the area.
  ///
  /// - Returns: nil when there is none to make.
  func stageGeneration(
    _ change: GenerationMaker, _ staged: StagedPackages, _ area: DirectoryHandle, of store: LocalStore
  ) throws -> Generation? {
    let present = try store.packages()
    let generations = store.generations
    var current = try generations.current()
    let isAdopted = current == nil && !present.isEmpty
    let first = (try generations.numbers().last ?? 0) + 1
    if isAdopted {
      let selection = Generation.Selection(adopting: present) { try? store.metadata(of: $0) }
      current = Generation(number: first, time: 0, command: "what was there before", selection: selection)
    }
    let all = Set(present).union(staged.images)
    let context = GenerationContext(
      current: current, packages: all, store: store, area: area.path, staged: staged.images.subtracting(present))
    guard let change = try change(context) else { return nil }
    let generation = Generation(
      number: isAdopted ? first + 1 : first, parent: current?.number, time: change.time, command: change.command,
      selection: change.selection)
    if let current, !isAdopted, current.selection.isSame(as: generation.selection) { return nil }
    try store.requirePackages(of: generation.selection, among: all)
    if isAdopted, var adopted = current {
      adopted.time = change.time
      try write(adopted, to: area)
    }
    try write(generation, to: area)
    try area.makeSymbolicLink(try EntryName(Self.linkName), target: Array("\(generation.number)".utf8))
    return generation
  }

  private func write(_ generation: Generation, to area: DirectoryHandle) throws(StoreError) {
    let name = try EntryName("\(Self.filePrefix)\(generation.number)")
    let file = try area.open(name, createNewForWriting, mode: 0o644)
    do {
      try file.descriptor.writeAll(generation.text.utf8)
      try file.descriptor.synchronize()
    } catch {
      throw .system(operation: "write", path: area.path.appending(raw: name), error as? Errno ?? .ioError)
    }
  }

  /// Moves what ``stageGeneration(_:_:_:of:)`` wrote to its place; the packages are in theirs.
  func finishGeneration(_ area: DirectoryHandle) throws(StoreError) {
    let names = try area.names()
    let files = names.filter { $0.description.hasPrefix(Self.filePrefix) }
    let link = try EntryName(Self.linkName)
    guard !files.isEmpty || names.contains(link) else { return }
    // What it names has to be on the medium before it is current.
    try store.synchronize()
    let directory = try openGenerations()
    for name in files {
      try area.rename(name, to: directory, as: try EntryName(String(name.description.dropFirst(Self.filePrefix.count))))
    }
    try directory.synchronize()
    if names.contains(link) {
      try area.rename(link, to: directory, as: try EntryName(Generations.currentName))
      try directory.synchronize()
    }
  }

  /// One rename.
  func makeCurrent(_ number: UInt64) throws(StoreError) {
    let directory = try openGenerations()
    if case .some(.some(number)) = try? Generations.currentNumber(in: directory) { return }
    let area = try StagingArea.make(in: staging)
    let link = try EntryName(Self.linkName)
    try area.handle.makeSymbolicLink(link, target: Array("\(number)".utf8))
    try area.handle.rename(link, to: directory, as: try EntryName(Generations.currentName))
    try directory.synchronize()
    try staging.removeTree(area.name)
  }

  /// Removes the files of generations, none of which is current. Durable when it returns.
  func removeGenerations(_ numbers: [UInt64]) throws(StoreError) {
    if numbers.isEmpty { return }
    let directory = try openGenerations()
    for number in numbers { try directory.remove(try EntryName("\(number)")) }
    try directory.synchronize()
  }

  private func openGenerations() throws(StoreError) -> DirectoryHandle {
    let name = try EntryName(Generations.directoryName)
    if try store.status(of: name) == nil {
      try store.makeDirectory(name, permissions: 0o755)
      try store.synchronize()
    }
    return try store.openDirectory(beneath: TreePath(components: [name]))
  }
}

extension Generation.Selection {
  /// Whether both say the same, in whatever order.
  func isSame(as other: Generation.Selection) -> Bool {
    let texts = [self, other].map { Generation(number: 1, time: 0, command: "", selection: $0).text }
    return texts[0] == texts[1]
  }
}
