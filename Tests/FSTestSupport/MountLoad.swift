// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import Foundation
import Synchronization
import SystemPackage

/// Programs that use a mount all the time, and check what they see: readers, users of mapped files, and walkers of directories. Each operation makes
/// the kernel ask, not remember.
package final class MountLoad: Sendable {
  /// What has happened so far.
  package struct Report: Sendable {
    package var operationCount = 0
    package var failures: [String] = []
    package var longest: Duration = .zero
  }

  private let root: FilePath
  private let files: [(name: String, contents: [UInt8])]
  private let report = Mutex(Report())
  private let isOver = Atomic(false)
  private let threads = DispatchGroup()

  /// Starts to use the files, whose paths are relative to the root.
  package init(on root: FilePath, files: [String: [UInt8]]) {
    self.root = root
    self.files = files.sorted { $0.key < $1.key }.map { ($0.key, $0.value) }
    for kind in [read, read, map, walk, walk] {
      threads.enter()
      Thread.detachNewThread { [self] in
        var number = 0
        while !isOver.load(ordering: .relaxed) {
          measure { try kind(number) }
          number += 1
        }
        threads.leave()
      }
    }
  }

  package var operationCount: Int { report.withLock { $0.operationCount } }

  /// Ends the use, and says how it was.
  package func stop() async -> Report {
    isOver.store(true, ordering: .relaxed)
    await withCheckedContinuation { continuation in threads.notify(queue: .global()) { continuation.resume() } }
    return report.withLock { $0 }
  }

  private func measure(_ operation: () throws -> Void) {
    let start = ContinuousClock.now
    var failure: String?
    do { try operation() } catch { failure = "\(error)" }
    let time = ContinuousClock.now - start
    report.withLock { report in
      report.operationCount += 1
      report.longest = max(report.longest, time)
      if let failure, report.failures.count < 20 { report.failures.append(failure) }
    }
  }

  /// Opens a file of which the kernel remembers nothing.
  private func open(_ name: String) throws -> FileDescriptor {
    let file = try FileDescriptor.open(root.pushing(FilePath(name)), .readOnly)
    posix_fadvise(file.rawValue, 0, 0, POSIX_FADV_DONTNEED)
    return file
  }

  private func read(_ number: Int) throws {
    let (name, contents) = files[number % files.count]
    let file = try open(name)
    defer { try? file.close() }
    var seen = [UInt8](repeating: 0, count: contents.count + 1)
    var count = 0
    try seen.withUnsafeMutableBytes { buffer in
      while count < buffer.count {
        let more = try file.read(into: UnsafeMutableRawBufferPointer(rebasing: buffer[count...]))
        if more == 0 { break }
        count += more
      }
    }
    guard count == contents.count, memcmp(seen, contents, count) == 0 else { throw TestFailure("\(name): other bytes") }
  }

  private func map(_ number: Int) throws {
    let (name, contents) = files[number % files.count]
    let file = try open(name)
    defer { try? file.close() }
    guard let memory = mmap(nil, contents.count, PROT_READ, MAP_SHARED, file.rawValue, 0), memory != MAP_FAILED else {
      throw Errno(rawValue: errno)
    }
    defer { munmap(memory, contents.count) }
    guard memcmp(memory, contents, contents.count) == 0 else { throw TestFailure("\(name), mapped: other bytes") }
  }

  private func walk(_ number: Int) throws {
    var capacity = statvfs()
    guard statvfs(root.string, &capacity) == 0 else { throw Errno(rawValue: errno) }
    var status = stat()
    let absent = root.appending("absent-\(number)-\(UInt64.random(in: 0 ... .max))").string
    guard lstat(absent, &status) != 0, errno == ENOENT else { throw TestFailure("an absent name: \(Errno(rawValue: errno))") }
    let folder = FilePath(files[number % files.count].name).removingLastComponent()
    let names = try listing(of: root.pushing(folder))
    for (name, contents) in files where FilePath(name).removingLastComponent() == folder {
      let last = FilePath(name).lastComponent?.string ?? ""
      guard names.contains(last) else { throw TestFailure("\(name) is not listed") }
      guard lstat(root.pushing(FilePath(name)).string, &status) == 0 else { throw Errno(rawValue: errno) }
      guard Int(status.st_size) == contents.count else { throw TestFailure("\(name): another size") }
    }
  }

  private func listing(of folder: FilePath) throws -> Set<String> {
    guard let stream = opendir(folder.string) else { throw Errno(rawValue: errno) }
    defer { closedir(stream) }
    posix_fadvise(dirfd(stream), 0, 0, POSIX_FADV_DONTNEED)
    var names: Set<String> = []
    errno = 0
    while let entry = readdir(stream) {
      names.insert(withUnsafeBytes(of: entry.pointee.d_name) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) })
      errno = 0
    }
    guard errno == 0 else { throw Errno(rawValue: errno) }
    return names
  }
}
