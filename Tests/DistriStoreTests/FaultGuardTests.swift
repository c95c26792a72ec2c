// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore
import Foundation
import SystemPackage
import TestSupport
import Testing

@Suite struct FaultGuardTests {
  private func read(_ file: MappedFile, at offset: UInt64, count: Int) throws -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: count)
    try bytes.withUnsafeMutableBytes { buffer in
      var output = OutputRawSpan(buffer: buffer, initializedCount: 0)
      try file.read(into: &output, at: offset)
      _ = output.finalize(for: buffer)
    }
    return bytes
  }

  @Test func `a file that shrinks while it is mapped gives an error to its reader, and to no other`() throws {
    try FaultGuard.install()
    try FaultGuard.install()
    let folder = try TemporaryDirectory()
    func map(_ name: String) throws -> (MappedFile, FileDescriptor) {
      let path = folder.path.appending(name)
      try Data(repeating: 7, count: 64 << 10).write(to: URL(fileURLWithPath: path.string))
      let file = try FileDescriptor.open(path, .readWrite)
      return (try MappedFile(descriptor: file), file)
    }
    let (shrinking, file) = try map("shrinking")
    let (intact, other) = try map("intact")
    defer {
      try? file.close()
      try? other.close()
    }
    #expect(try read(shrinking, at: 40000, count: 4) == [7, 7, 7, 7])
    try file.resize(to: 4096)
    #expect(!shrinking.hasFaulted)
    #expect(throws: Errno.ioError) { try read(shrinking, at: 40000, count: 4) }
    #expect(shrinking.hasFaulted)
    #expect(throws: Errno.ioError) { try read(shrinking, at: 0, count: 4) }
    #expect(throws: Errno.ioError) { try shrinking.populate(0..<4096) }
    #expect(!intact.hasFaulted)
    #expect(try read(intact, at: 40000, count: 4) == [7, 7, 7, 7])
  }

  @Test func `places in the table are used again`() throws {
    try FaultGuard.install()
    let folder = try TemporaryDirectory()
    let path = folder.path.appending("file")
    try Data(repeating: 7, count: 8192).write(to: URL(fileURLWithPath: path.string))
    let file = try FileDescriptor.open(path, .readWrite)
    defer { try? file.close() }
    // More than the table has places for.
    for _ in 0..<70_000 { _ = try MappedFile(descriptor: file) }
    let mapped = try MappedFile(descriptor: file)
    try file.resize(to: 0)
    #expect(throws: Errno.ioError) { try read(mapped, at: 5000, count: 1) }
  }
}
