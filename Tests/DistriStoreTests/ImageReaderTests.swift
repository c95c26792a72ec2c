// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore
import Foundation
import SystemPackage
import TestSupport
import Testing

/// How an image is made by other tools.
struct ForeignWriter: Sendable, CustomTestStringConvertible {
  let program: String
  let options: [String]
  var testDescription: String { ([program] + options).joined(separator: " ") }

  func write(_ folder: FilePath, to image: FilePath) async throws {
    if program == "mksquashfs" {
      try await run(program, [folder.string, image.string, "-noappend", "-no-progress", "-quiet"] + options)
    } else {
      try await run(
        program, ["--pack-dir", folder.string, "--force", "--quiet", "--keep-xattr", "--keep-time"] + options + [image.string])
    }
  }

  static let all: [ForeignWriter] =
    ["gzip", "lzo", "lz4", "xz", "zstd"].flatMap { compressor in
      [
        ForeignWriter(program: "mksquashfs", options: ["-comp", compressor]),
        ForeignWriter(program: "mksquashfs", options: ["-comp", compressor, "-no-fragments", "-b", "65536"]),
        ForeignWriter(program: "gensquashfs", options: ["--compressor", compressor]),
      ]
    } + [
      ForeignWriter(program: "mksquashfs", options: ["-comp", "gzip", "-always-use-fragments", "-b", "1048576", "-no-exports"]),
      ForeignWriter(program: "mksquashfs", options: ["-noI", "-noD", "-noF", "-noX", "-no-fragments"]),
      ForeignWriter(program: "mksquashfs", options: ["-noI", "-noD", "-noF", "-noX", "-b", "4096"]),
      ForeignWriter(program: "gensquashfs", options: ["--compressor", "zstd", "--block-size", "4096", "--exportable"]),
    ]
}

@Suite(.serialized) struct ImageReaderTests {
  @Test(arguments: ForeignWriter.all)
  func `an image is read as the kernel reads it`(writer: ForeignWriter) async throws {
    let tree = try EdgeTree.shared()
    let folder = try TemporaryDirectory()
    let path = folder.path.appending("image.squashfs")
    try await writer.write(tree, to: path)
    let ours = try snapshot(of: try PackageImage(path: path))
    let kernel = try await withKernelMount(of: path) { try snapshot(of: $0) }
    #expect(differences(kernel, ours) == [])
    #expect(ours.count > 6500)
  }
}
