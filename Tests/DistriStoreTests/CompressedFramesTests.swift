// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import Foundation
import SystemPackage
import TestSupport
import Testing

@testable import DistriStore

@Suite struct CompressedFramesTests {
  private static let frame = Int(CompressedFrames.frameByteCount)

  /// Text, then what does not get smaller, then zeros.
  private func sample(_ count: Int) -> [UInt8] {
    var random: UInt64 = 9
    return (0..<count).map { index in
      random = random &* 6_364_136_223_846_793_005 &+ 1
      switch index / (Self.frame * 3 / 2) {
      case 0: return UInt8(index % 60 + 32)
      case 1: return UInt8(truncatingIfNeeded: random >> 40)
      default: return 0
      }
    }
  }

  private func compress(_ bytes: [UInt8], in folder: borrowing TemporaryDirectory, as name: String = "out.zst") throws -> FilePath {
    let (input, output) = (folder.path.appending("in"), folder.path.appending(name))
    try Data(bytes).write(to: URL(fileURLWithPath: input.string))
    let file = try FileDescriptor.open(output, .writeOnly, options: [.create, .truncate], permissions: .ownerReadWrite)
    try file.closeAfter { try CompressedFrames.compress(input, level: 3, to: file) }
    return output
  }

  private func contents(of path: FilePath) throws -> [UInt8] { Array(try Data(contentsOf: URL(fileURLWithPath: path.string))) }

  private func table(_ compressed: [UInt8], of count: Int) throws -> CompressedFrames {
    let size = Int(CompressedFrames.tableByteCount(of: UInt64(count)))
    return try CompressedFrames(
      table: Array(compressed.suffix(size)), of: UInt64(count), compressedByteCount: UInt64(compressed.count), subject: "x")
  }

  @Test(arguments: [1, frame - 1, frame, frame + 1, 4 * frame + 5000])
  func `every zstd decompresses the whole, and each frame by itself`(count: Int) async throws {
    let folder = try TemporaryDirectory()
    let bytes = sample(count)
    let path = try compress(bytes, in: folder)
    let compressed = try contents(of: path)
    let back = folder.path.appending("back")
    let outcome = try await ToolProcess.run("zstd", ["-d", path.string, "-o", back.string])
    #expect(outcome.status == 0, "\(outcome.errors)")
    #expect(try contents(of: back) == bytes)
    let file = try FileDescriptor.open(folder.path.appending("own"), .readWrite, options: .create, permissions: .ownerReadWrite)
    defer { try? file.close() }
    try CompressedFrames.decompress(path, of: UInt64(count), to: file)
    #expect(try contents(of: folder.path.appending("own")) == bytes)
    let table = try table(compressed, of: count)
    let places = table.places
    #expect(places.count == (count + Self.frame - 1) / Self.frame)
    for (index, place) in places.enumerated() {
      let part = Array(compressed[Int(place.lowerBound)..<Int(place.upperBound)])
      let expected = Array(bytes[index * Self.frame..<min(count, (index + 1) * Self.frame)])
      #expect(try table.contents(of: part, frame: index, subject: "x") == expected)
    }
    #expect(try contents(of: try compress(bytes, in: folder, as: "again")) == compressed)
  }

  @Test func `what looks compressed inside stays as it is`() async throws {
    let folder = try TemporaryDirectory()
    let inner = folder.path.appending("inner")
    try Data(sample(1000)).write(to: URL(fileURLWithPath: inner.string))
    for program in ["gzip", "xz", "zstd"] {
      _ = try await ToolProcess.run("sh", ["-c", "\(program) -c \(inner) >\(inner).x"])
      let bytes = try contents(of: FilePath("\(inner).x"))
      let compressed = try contents(of: try compress(bytes, in: folder))
      let table = try table(compressed, of: bytes.count)
      let frame = Array(compressed.prefix(Int(table.places[0].upperBound)))
      #expect(try table.contents(of: frame, frame: 0, subject: "x") == bytes)
    }
  }

  @Test func `what grows beyond the limit is stopped, and so is damage`() throws {
    let folder = try TemporaryDirectory()
    let path = try compress(sample(300_000), in: folder)
    let file = try FileDescriptor.open(folder.path.appending("own"), .readWrite, options: .create, permissions: .ownerReadWrite)
    defer { try? file.close() }
    #expect(throws: StoreError.self) { try CompressedFrames.decompress(path, of: 299_999, to: file) }
    let compressed = try contents(of: path)
    try Data(compressed.prefix(1000)).write(to: URL(fileURLWithPath: path.string))
    #expect(throws: StoreError.self) { try CompressedFrames.decompress(path, of: 300_000, to: file) }
  }

  @Test func `a hostile table is a typed error`() throws {
    let folder = try TemporaryDirectory()
    let count = 4 * Self.frame
    let good = try contents(of: try compress(sample(count), in: folder))
    let size = Int(CompressedFrames.tableByteCount(of: UInt64(count)))
    let table = Array(good.suffix(size))
    for length in 0..<size {
      #expect(throws: StoreError.self) {
        try CompressedFrames(
          table: Array(table.prefix(length)), of: UInt64(count), compressedByteCount: UInt64(good.count), subject: "x")
      }
    }
    for position in table.indices {
      for value in [0, 0x7f, 0xff] as [UInt8] where table[position] != value {
        var bytes = table
        bytes[position] = value
        // No byte of it is free: sizes have to add up.
        #expect(throws: StoreError.self, "\(position)") {
          try CompressedFrames(table: bytes, of: UInt64(count), compressedByteCount: UInt64(good.count), subject: "x")
        }
      }
    }
    for other in [UInt64(0), 1, UInt64(good.count) + 1, .max] {
      #expect(throws: StoreError.self) {
        try CompressedFrames(table: table, of: UInt64(count), compressedByteCount: other, subject: "x")
      }
    }
  }
}
