// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import CSquashFS
import Dispatch
import SystemPackage

/// Stores contents as compressed blocks, packed without gaps. Blocks are collected, compressed on all processors and
/// written in their order, so that the bytes do not depend on the number of processors.
final class CompressedContents: ContentStore {
  private let output: ImageOutput
  private let blockSize: Int
  private let jobs: [Job]
  private var pending = 0
  private var stored: [Int: ImagePlan.StoredContent] = [:]

  /// Bounds the memory: each takes two blocks.
  private static let jobCount = 32

  init(_ output: ImageOutput, _ options: ImageWriter.Options) throws(StoreError) {
    self.output = output
    blockSize = Int(options.blockSize)
    var jobs: [Job] = []
    for _ in 0..<CompressedContents.jobCount {
      guard let compressor = Compressor(options) else {
        throw .system(operation: "compress", path: output.path, .notSupported)
      }
      jobs.append(Job(compressor, blockSize))
    }
    self.jobs = jobs
  }

  func append(
    node: Int, byteCount: UInt64, descriptor: FileDescriptor?, _ read: (inout OutputRawSpan) throws -> Void
  ) throws {
    var rest = byteCount
    stored[node] = ImagePlan.StoredContent(byteCount: byteCount, blocks: [])
    while rest > 0 {
      if pending == jobs.count { try drain() }
      let count = Int(min(rest, UInt64(blockSize)))
      try jobs[pending].fill(node, count, read)
      pending += 1
      rest -= UInt64(count)
    }
  }

  func finish(into plan: inout ImagePlan) throws {
    try drain()
    try output.complete()
    for (node, content) in stored { plan.nodes[node].content = content }
  }

  private func drain() throws {
    let jobs = jobs
    DispatchQueue.concurrentPerform(iterations: pending) { jobs[$0].run() }
    for job in jobs[..<pending] {
      guard var content = stored.removeValue(forKey: job.node) else { continue }
      if content.blocks?.isEmpty == true { content.start = output.position }
      switch job.result {
      case .zeros(let count):
        content.blocks?.append(0)
        content.sparse += UInt64(count)
      case .compressed(let bytes):
        content.blocks?.append(UInt32(bytes.count))
        try output.append(bytes)
      case .incompressible(let bytes):
        content.blocks?.append(UInt32(bytes.count) | 1 << 24)
        try output.append(bytes)
      case .failed:
        throw StoreError.system(operation: "compress a block for", path: output.path, .ioError)
      }
      stored[job.node] = content
    }
    pending = 0
  }
}

/// One block on its way.
///
/// Sendable is right although it changes: it is filled and emptied between the parallel parts, and in them each is run
/// by one thread.
@safe private final class Job: @unchecked Sendable {
  private let compressor: Compressor
  private let input: HeapBlock
  private let output: HeapBlock
  private var count = 0
  private(set) var node = 0
  private(set) var result = Result.failed

  enum Result {
    case zeros(Int)
    case compressed(Bytes)
    case incompressible(Bytes)
    case failed
  }

  init(_ compressor: Compressor, _ blockSize: Int) {
    self.compressor = compressor
    input = HeapBlock(capacity: blockSize)
    output = HeapBlock(capacity: blockSize)
  }

  func fill(_ node: Int, _ count: Int, _ read: (inout OutputRawSpan) throws -> Void) throws {
    self.node = node
    self.count = count
    var filled = 0
    while filled < count {
      let room = unsafe UnsafeMutableRawBufferPointer(rebasing: input.memory[filled..<count])
      var span = unsafe OutputRawSpan(buffer: room, initializedCount: 0)
      try read(&span)
      filled += unsafe span.finalize(for: room)
    }
  }

  func run() {
    let bytes = input.bytes(count: count)
    if bytes.isZero {
      result = .zeros(count)
      return
    }
    let compressed = compressor.run(bytes, into: output)
    result = compressed < 0 ? .failed : compressed == 0 ? .incompressible(bytes) : .compressed(output.bytes(count: compressed))
  }
}

/// One compressor object of libsquashfs, for one thread at a time.
@safe final class Compressor {
  let object: UnsafeMutablePointer<sqfs_compressor_t>

  init?(_ options: ImageWriter.Options) {
    var configuration = sqfs_compressor_config_t()
    let identifier = options.compression == .lz4 ? SQFS_COMP_LZ4 : SQFS_COMP_ZSTD
    guard unsafe sqfs_compressor_config_init(&configuration, identifier, Int(options.blockSize), 0) == 0 else { return nil }
    if case .zstd(let level) = options.compression { configuration.level = UInt32(clamping: level) }
    var object: UnsafeMutablePointer<sqfs_compressor_t>?
    guard unsafe sqfs_compressor_create(&configuration, &object) == 0, let object = unsafe object else { return nil }
    unsafe self.object = object
  }

  deinit { unsafe sqfs_destroy(object) }

  /// The number of bytes; 0 when they would not be fewer than the input, negative for a failure.
  func run(_ input: Bytes, into output: HeapBlock) -> Int {
    unsafe input.withUnsafeBytes { input in
      let source = unsafe input.baseAddress?.assumingMemoryBound(to: UInt8.self)
      let target = unsafe output.memory.baseAddress?.assumingMemoryBound(to: UInt8.self)
      let count = unsafe object.pointee.do_block(object, source, UInt32(input.count), target, UInt32(input.count))
      return count < input.count ? Int(count) : 0
    }
  }
}
