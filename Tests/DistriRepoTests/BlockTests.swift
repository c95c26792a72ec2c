// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore
import SystemPackage
import TestSupport
import Testing

@testable import DistriRepo

@Suite struct BlockTests {
  private static let block = BlockHashes.blockByteCount

  private func file(_ bytes: [UInt8], in directory: borrowing TemporaryDirectory, _ name: String) throws -> FilePath {
    let path = directory.path.appending(name)
    try write(bytes, to: path)
    return path
  }

  private func plan(_ wanted: [UInt8], from base: [UInt8]) throws -> BlockPlan {
    let directory = try TemporaryDirectory()
    let hashes = try #require(try BlockHashes(of: try file(wanted, in: directory, "wanted")))
    let base = try Files.open(reading: try file(base, in: directory, "base"))
    defer { try? base.close() }
    let plan = try BlockPlan(for: hashes, from: base)
    // All of the file, each byte once but for what lies between ranges that were joined.
    let parts = (plan.copies.map(\.target) + plan.missing).sorted { $0.lowerBound < $1.lowerBound }
    #expect(parts.first?.lowerBound ?? 0 == 0)
    var end: UInt64 = 0
    for part in parts {
      #expect(part.lowerBound <= end)
      end = max(end, part.upperBound)
    }
    #expect(end == UInt64(wanted.count))
    return plan
  }

  @Test func `blocks that moved are found, and neighbours are copied together`() throws {
    let parts = (0..<6).map { noise(10 * Self.block, seed: UInt64($0 + 1)) }
    let base = parts[0] + parts[1] + parts[2] + parts[3]
    let plan = try plan(parts[2] + parts[4] + parts[0] + parts[1] + [1, 2, 3], from: base)
    let size = UInt64(10 * Self.block)
    #expect(
      plan.copies == [
        .init(source: 2 * size, target: 0..<size), .init(source: 0, target: 2 * size..<4 * size),
      ])
    #expect(plan.missing == [size..<2 * size, 4 * size..<4 * size + 3])
  }

  @Test func `a block that is there once fills all places that want it`() throws {
    let zeros = [UInt8](repeating: 0, count: 100 * Self.block)
    let plan = try plan(noise(Self.block) + zeros + noise(Self.block), from: Array(zeros.prefix(Self.block)) + noise(Self.block))
    #expect(plan.missing == [])
  }

  @Test(arguments: [0, 1, 4095, 4096, 4097])
  func `files of any length, and nothing to begin with`(count: Int) throws {
    #expect(try plan(noise(count), from: []).missingByteCount == UInt64(count))
    #expect(try plan(noise(count), from: noise(count)).missingByteCount == UInt64(count % 4096))
  }

  @Test func `many small changes become few requests`() throws {
    var wanted = noise(4000 * Self.block)
    let base = wanted
    for block in stride(from: 0, to: 4000, by: 4) { wanted[block * Self.block] ^= 1 }
    let plan = try plan(wanted, from: base)
    #expect(plan.missing.count <= BlockPlan.maximumRangeCount)
    #expect(plan.missingByteCount < UInt64(wanted.count))
  }

  @Test func `damaged hashes are a typed error or read as they are`() throws {
    let directory = try TemporaryDirectory()
    let good = try #require(try BlockHashes(of: try file(noise(50_000), in: directory, "file"))).serialized
    #expect(try BlockHashes(serialized: good, subject: "x").serialized == good)
    for length in 0..<good.count {
      #expect(throws: StoreError.self) { try BlockHashes(serialized: Array(good.prefix(length)), subject: "x") }
    }
    for position in 0..<16 {
      for value in [0, 1, 0x7f, 0xff] as [UInt8] where good[position] != value {
        var bytes = good
        bytes[position] = value
        if let read = try? BlockHashes(serialized: bytes, subject: "x") {
          #expect(read.serialized == bytes && read.hashes.count == 12)
        }
      }
    }
    #expect(throws: StoreError.self) {
      try BlockHashes(serialized: Array(repeating: 0, count: BlockHashes.maximumByteCount + 1), subject: "x")
    }
  }
}
