// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import Dispatch
import SystemPackage

/// How many files are flushed at the same time: enough to fill a disk's queue.
private let flushesAtOnce = 16

/// Returns when the files' data is on the medium. They are flushed in parallel.
func synchronize(_ names: [String], in directory: DirectoryHandle) async throws {
  try await withThrowingTaskGroup(of: Void.self) { group in
    for (index, name) in names.enumerated() {
      if index >= flushesAtOnce { try await group.next() }
      let file = try directory.open(try EntryName(name), openForReadingWithoutBlocking)
      group.addTask {
        try await blocking {
          do throws(Errno) { try file.descriptor.synchronize() } catch {
            throw StoreError.system(operation: "fsync", path: directory.path.appending(name), error)
          }
        }
      }
    }
    try await group.waitForAll()
  }
}

/// Runs what may wait for a disk on a thread that may block, which those of Swift's concurrency may not.
package func blocking<R: Sendable>(_ body: @escaping @Sendable () throws -> R) async throws -> R {
  try await withCheckedThrowingContinuation { done in
    DispatchQueue.global().async { done.resume(with: Result { try body() }) }
  }
}

/// Whether two files of the same name hold the same bytes; false when the second has none of that name.
func sameContents(_ name: EntryName, in a: DirectoryHandle, _ b: DirectoryHandle) throws(StoreError) -> Bool {
  guard try b.status(of: name) != nil else { return false }
  let files = (try a.open(name, openForReadingWithoutBlocking), try b.open(name, openForReadingWithoutBlocking))
  let buffers = (TransferBuffer(byteCount: 256 << 10), TransferBuffer(byteCount: 256 << 10))
  var offset: UInt64 = 0
  do {
    while true {
      try buffers.0.fill { output throws(Errno) in
        _ = try files.0.descriptor.readAppending(at: offset, limit: .max, to: &output)
      }
      try buffers.1.fill { output throws(Errno) in
        _ = try files.1.descriptor.readAppending(at: offset, limit: .max, to: &output)
      }
      guard buffers.0.equals(buffers.1) else { return false }
      if buffers.0.count == 0 { return true }
      offset += UInt64(buffers.0.count)
    }
  } catch {
    throw .system(operation: "read", path: a.path.appending(raw: name), error)
  }
}
