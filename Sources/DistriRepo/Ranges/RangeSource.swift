// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore
import Synchronization
import SystemPackage

/// A file of a repository that is read in parts: blocks come by HTTP ranges into a ``RangeCache``, and each is proven by the file's
/// ``BlockTree`` every time that it is read from there. No byte gets out unproven, whoever has written the cache.
///
/// Blocks that lie side by side come in one request, and what is asked for by several tasks at once comes once.
public final class RangeSource: RemoteByteSource {
  /// Of the file, in bytes.
  public let byteCount: UInt64
  /// Where the file is, by the repository's name.
  public var url: String { place(link.mirrors.root) }

  private let place: @Sendable (_ root: String) -> String
  private let root: [UInt8]
  private let cache: RangeCache
  private let link: RangeLink
  private let state = Mutex(State())

  private struct State {
    var tree: BlockTree?
    var comingTree: Task<BlockTree, any Error>?
    var file: CacheFile?
    var lastTouch = 0
    /// What is being brought, by block; and who brings it, for its removal.
    var coming: [Int: (task: Task<Void, any Error>, key: UInt64)] = [:]
    var nextKey: UInt64 = 0
  }

  /// The most blocks that one request brings.
  private static let maximumRunLength = 32
  /// The most requests at the same time for what is wanted at once.
  private static let maximumRequestCount = 8
  /// The most blocks that are brought because somebody may want them.
  private static let maximumExpectedCount = 32
  /// How many seconds lie at least between two notes that the file is used.
  private static let touchInterval = 60

  /// - Parameters:
  ///   - root: of the tree.
  ///   - place: where the file is, below a root; its tree is beside it.
  init(
    byteCount: UInt64, root: [UInt8], cache: RangeCache, link: RangeLink, at place: @escaping @Sendable (_ root: String) -> String
  ) {
    self.place = place
    self.byteCount = byteCount
    self.root = root
    self.cache = cache
    self.link = link
  }

  private var name: String { root.hexadecimal }

  // MARK: Reading

  /// Reads what is here, proving each block.
  ///
  /// - Throws: `EAGAIN` when a part is not here; `EIO` past the end; what the disk says.
  public func read(into output: inout OutputRawSpan, at offset: UInt64) throws(Errno) {
    let count = UInt64(output.freeCapacity)
    guard offset <= byteCount, count <= byteCount - offset else { throw .ioError }
    guard let tree = keptTree(), let file = try openFile(toWrite: false) else { throw .resourceTemporarilyUnavailable }
    let wanted = offset..<(offset + count)
    var buffer: [UInt8] = []
    for block in Self.blocks(of: wanted) {
      guard try file.read(block, of: tree, into: &buffer) else { throw .resourceTemporarilyUnavailable }
      let range = tree.range(of: block)
      let part = wanted.clamped(to: range)
      output.append(buffer[Int(part.lowerBound - range.lowerBound)..<Int(part.upperBound - range.lowerBound)])
    }
  }

  private static func blocks(of range: Range<UInt64>) -> Range<Int> {
    if range.isEmpty { return 0..<0 }
    return Int(range.lowerBound / BlockTree.blockByteCount)..<(Int((range.upperBound - 1) / BlockTree.blockByteCount) + 1)
  }

  /// The tree, if it has been brought already.
  private func keptTree() -> BlockTree? {
    if let tree = state.withLock({ $0.tree }) { return tree }
    let limit = Int(clamping: BlockTree.fileByteCount(of: byteCount))
    let path = cache.treeFile(of: name)
    guard let bytes = try? Files.contents(of: path, limit: limit),
      let tree = try? BlockTree(bytes, byteCount: byteCount, root: root, file: path.string)
    else { return nil }
    state.withLock { $0.tree = tree }
    return tree
  }

  /// The file of the cache: nil where there is none, unless it is to be written. One that has had to make room is not written any more.
  private func openFile(toWrite: Bool) throws(Errno) -> CacheFile? {
    let now = Files.now.seconds
    if let file = state.withLock({ $0.file }), !toWrite || file.isNamed {
      let isToTouch = state.withLock { state in
        defer { if now - state.lastTouch >= Self.touchInterval { state.lastTouch = now } }
        return now - state.lastTouch >= Self.touchInterval
      }
      if isToTouch { Files.touch(file.descriptor) }
      return file
    }
    do throws(Errno) {
      let file = try CacheFile(cache.file(of: name), creating: toWrite)
      state.withLock { $0.file = file }
      return file
    } catch .noSuchFileOrDirectory {
      return nil
    }
  }

  // MARK: Fetching

  /// Brings what is not here. Waits for what others are bringing already.
  ///
  /// - Throws: ``RepositoryError/untrusted(file:_:)`` for what is not the signed file; what the transport throws;
  ///   ``RepositoryError/system(operation:path:_:)`` when the cache cannot be written.
  public func fetch(_ ranges: [Range<UInt64>]) async throws {
    let blocks = Set(ranges.flatMap { Self.blocks(of: $0.clamped(to: 0..<byteCount)) }).sorted()
    var failure: (any Error)?
    for task in claim(blocks) {
      do { try await task.value } catch { failure = failure ?? error }
    }
    guard let failure else { return }
    // What has failed may be what only others wanted.
    if try !isHere(blocks) { throw failure }
  }

  /// Brings what is not here and likely to be wanted, in the background.
  public func expect(_ range: Range<UInt64>) {
    let blocks = Self.blocks(of: range.clamped(to: 0..<byteCount)).prefix(Self.maximumExpectedCount)
    let missing = state.withLock { state in
      blocks.filter { state.coming[$0] == nil && state.file?.mayHave($0, byteCount: byteCount) != true }
    }
    // Rather a few large requests than many small ones. Whoever wants it then, and finds that it could not be brought, says so.
    if missing.count * 2 >= blocks.count { claim(missing) }
  }

  /// Starts to bring the blocks that nobody is bringing.
  ///
  /// - Returns: all that brings some of them.
  @discardableResult
  private func claim(_ blocks: [Int]) -> [Task<Void, any Error>] {
    state.withLock { state in
      let others = Dictionary(blocks.compactMap { state.coming[$0] }.map { ($0.key, $0.task) }) { first, _ in first }.values
      let own = blocks.filter { state.coming[$0] == nil }
      if own.isEmpty { return Array(others) }
      let key = state.nextKey
      state.nextKey += 1
      let task = Task.detached { [self] in
        defer { release(own, key) }
        try await bring(own)
      }
      for block in own { state.coming[block] = (task, key) }
      return Array(others) + [task]
    }
  }

  private func release(_ blocks: [Int], _ key: UInt64) {
    state.withLock { state in
      for block in blocks where state.coming[block]?.key == key { state.coming[block] = nil }
    }
  }

  private func bring(_ blocks: [Int]) async throws {
    // Blocks can come before the tree, but are not believed before it is here.
    let tree = comingTree()
    var runs = Self.runs(of: try blocks.filter { try !isHere([$0]) })[...]
    var failure: (any Error)?
    await withTaskGroup(of: Result<Void, any Error>.self) { group in
      func startNext() {
        guard let run = runs.popFirst() else { return }
        group.addTask { [self] in
          do {
            return .success(try await bring(run, tree))
          } catch {
            return .failure(error)
          }
        }
      }
      for _ in 0..<Self.maximumRequestCount { startNext() }
      for await result in group {
        // The others may be right, and wanted.
        if case .failure(let error) = result { failure = failure ?? error }
        startNext()
      }
    }
    _ = try await tree.value
    if let failure { throw failure }
  }

  /// Whether all of the blocks can be read.
  private func isHere(_ blocks: [Int]) throws(Errno) -> Bool {
    guard let tree = keptTree(), let file = try openFile(toWrite: false) else { return false }
    var buffer: [UInt8] = []
    for block in blocks where try !file.read(block, of: tree, into: &buffer) { return false }
    return true
  }

  /// Blocks that lie side by side.
  static func runs(of blocks: [Int]) -> [Range<Int>] {
    var runs: [Range<Int>] = []
    for block in blocks {
      if let last = runs.last, last.upperBound == block, last.count < maximumRunLength {
        runs[runs.count - 1] = last.lowerBound..<(block + 1)
      } else {
        runs.append(block..<(block + 1))
      }
    }
    return runs
  }

  private func bring(_ run: Range<Int>, _ tree: Task<BlockTree, any Error>) async throws {
    let start = UInt64(run.lowerBound) * BlockTree.blockByteCount
    let range = start..<min(byteCount, UInt64(run.upperBound) * BlockTree.blockByteCount)
    try await link.part(range, of: place) { url, bytes in try keep(bytes, of: run, try await tree.value, from: url) }
  }

  /// Proves blocks and writes them to the cache; those that are wrong are left out.
  private func keep(_ bytes: [UInt8], of run: Range<Int>, _ tree: BlockTree, from url: String) throws {
    var wrong: Int?
    try cache.makeRoom(for: UInt64(bytes.count))
    let file = try cacheFile()
    for block in run {
      let start = (block - run.lowerBound) * Int(BlockTree.blockByteCount)
      let part = bytes.dropFirst(start).prefix(Int(BlockTree.blockByteCount))
      guard tree.proves(part, of: block) else {
        wrong = wrong ?? block
        continue
      }
      do throws(Errno) {
        try write(part, of: block, tree, to: file)
      } catch {
        throw RepositoryError.system(operation: "write", path: cache.file(of: name), error)
      }
    }
    if let wrong { throw RepositoryError.untrusted(file: url, .wrongBlock(wrong)) }
  }

  private func write(_ bytes: ArraySlice<UInt8>, of block: Int, _ tree: BlockTree, to file: CacheFile) throws(Errno) {
    do throws(Errno) {
      try file.write(bytes, of: block)
    } catch .noSpace {
      // Others have filled the disk: the cache gives way.
      try? cache.giveWay()
      try file.write(bytes, of: block)
    }
    // A disk that does not keep it would have us bring it again without end.
    var buffer: [UInt8] = []
    guard try file.read(block, of: tree, into: &buffer) || !file.isNamed else { throw .ioError }
  }

  /// The tree, brought once for all who want it.
  private func comingTree() -> Task<BlockTree, any Error> {
    state.withLock { state in
      if let task = state.comingTree { return task }
      let task = Task.detached { [self] in
        defer { self.state.withLock { $0.comingTree = nil } }
        return try await fetchTree()
      }
      state.comingTree = task
      return task
    }
  }

  private func fetchTree() async throws -> BlockTree {
    if let tree = keptTree() { return tree }
    let size = BlockTree.fileByteCount(of: byteCount)
    let tree = try await link.part(0..<size, of: { place($0) + BlockTree.fileSuffix }) { url, bytes in
      try BlockTree(bytes, byteCount: byteCount, root: root, file: url)
    }
    state.withLock { $0.tree = tree }
    // Without, it is brought again next time.
    try? Files.replaceCarelessly(cache.treeFile(of: name), by: tree.serialized)
    return tree
  }

  private func cacheFile() throws(RepositoryError) -> CacheFile {
    do throws(Errno) {
      if let file = try openFile(toWrite: true) { return file }
    } catch {
      throw .system(operation: "create", path: cache.file(of: name), error)
    }
    throw .system(operation: "create", path: cache.file(of: name), .noSuchFileOrDirectory)
  }
}

/// The parts of a file that are here. Several processes may write it: all of them the same.
private final class CacheFile: Sendable {
  let descriptor: FileDescriptor

  init(_ path: FilePath, creating: Bool) throws(Errno) {
    do {
      descriptor = try FileDescriptor.open(
        path, .readWrite, options: creating ? [.create, .closeOnExec, .noFollow] : [.closeOnExec, .noFollow],
        permissions: [.ownerReadWrite, .groupRead, .otherRead])
    } catch {
      throw error as? Errno ?? .ioError
    }
  }

  deinit { try? descriptor.close() }

  /// Whether it can still be found in the cache.
  var isNamed: Bool { (try? Files.status(of: descriptor))?.linkCount != 0 }

  /// Whether something has been written where the block belongs.
  func mayHave(_ block: Int, byteCount: UInt64) -> Bool {
    let start = UInt64(block) * BlockTree.blockByteCount
    return !Files.hasHole(descriptor, in: start..<min(byteCount, start + BlockTree.blockByteCount))
  }

  /// Reads a block. False when it is not the tree's.
  func read(_ block: Int, of tree: BlockTree, into buffer: inout [UInt8]) throws(Errno) -> Bool {
    let range = tree.range(of: block)
    try buffer.refill(from: descriptor, at: range.lowerBound, upTo: Int(range.byteCount))
    return tree.proves(buffer[...], of: block)
  }

  func write(_ bytes: ArraySlice<UInt8>, of block: Int) throws(Errno) {
    do {
      try descriptor.writeAll(toAbsoluteOffset: Int64(block) * Int64(BlockTree.blockByteCount), bytes)
    } catch {
      throw error as? Errno ?? .ioError
    }
  }
}
