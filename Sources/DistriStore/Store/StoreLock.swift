// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import SystemPackage

/// The right to change which packages a store holds: one process, one task at a time.
///
/// It is a `flock` on `.staging/lock`, which the kernel gives up with the last descriptor: a writer that is killed blocks nobody.
/// The file holds the process id of the last holder, for people.
struct StoreLock: ~Copyable {
  private let file: OwnedDescriptor

  private init(_ file: OwnedDescriptor) { self.file = file }

  /// Gives it up; whoever throws before this gives it up, too.
  consuming func release() {}

  deinit { file.descriptor.unlock() }

  /// The lock file's name in the staging directory.
  static let fileName = "lock"

  /// Waits for the lock, without blocking a thread.
  ///
  /// - Throws: ``StoreError/locked(_:holder:)`` when another writer still has it after `patience`.
  static func acquire(in staging: DirectoryHandle, store: FilePath, patience: Duration) async throws -> StoreLock {
    let file = try staging.open(try EntryName(fileName), openLockFile, mode: 0o644)
    let deadline = ContinuousClock.now + patience
    var pause = Duration.milliseconds(1)
    while !(try lock(file, store)) {
      guard ContinuousClock.now < deadline else { throw StoreError.locked(store, holder: holder(in: file)) }
      try await Task.sleep(for: pause)
      pause = min(pause * 2, .milliseconds(50))
    }
    try? file.descriptor.replaceContents(with: Array("\(processIdentifier)\n".utf8))
    return StoreLock(file)
  }

  private static func lock(_ file: OwnedDescriptor, _ store: FilePath) throws(StoreError) -> Bool {
    do { return try file.descriptor.lockExclusively() } catch { throw .system(operation: "lock", path: store, error) }
  }

  private static func holder(in file: OwnedDescriptor) -> Int32? {
    let text = try? [UInt8](capacity: 16) { output throws(Errno) in
      _ = try file.descriptor.readAppending(at: 0, limit: 16, to: &output)
    }
    return text.flatMap { Int32(String(decoding: $0.prefix { $0 != UInt8(ascii: "\n") }, as: UTF8.self)) }
  }
}
