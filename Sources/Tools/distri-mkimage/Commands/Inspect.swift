// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import FoundationEssentials
import SystemPackage

/// `distri-mkimage inspect`.
struct Inspect: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Show what is in an image.",
    discussion: """
      Its partitions, what boot loaders start, the packages, and SHA-256 digests of the sectors and of the kernels. Needs no root; works
      for all formats that qemu reads.

        distri-mkimage inspect box.img --json
      """)

  @Argument(help: ArgumentHelp("A disk, or the directory that build made.", valueName: "image"))
  var image: String

  @Flag(help: "One object of JSON.")
  var json = false

  func run() throws {
    let found = try Scratch.withDirectory { try Inspection(FilePath(image), work: $0) }
    if json {
      let encoder = JSONEncoder()
      encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
      print(String(decoding: try encoder.encode(found), as: UTF8.self))
    } else {
      print(Self.text(of: found))
    }
  }

  /// A fact a line. The words of the image may be anybody's: nothing in them moves the cursor.
  static func text(of found: Inspection) -> String {
    var lines = ["disk       \(found.byteCount) bytes, \(found.format), sha256 \(found.digest)"]
    lines += found.partitions.map { "partition  \($0.number) «\($0.name)», \($0.byteCount) bytes at \($0.offset), uuid \($0.uuid)" }
    for entry in found.entries {
      let system = entry.system.isEmpty ? "" : " «\(entry.system)»"
      lines.append("boots      \(entry.path)\(system), kernel sha256 \(entry.kernel), parameters \(entry.parameters)")
    }
    if found.isEncrypted { lines.append("encrypted  the root: its packages cannot be seen") }
    lines += found.packages.map { "package    \($0)" }
    return lines.map { line in
      String(String.UnicodeScalarView(line.unicodeScalars.map { $0.properties.generalCategory == .control ? "\u{fffd}" : $0 }))
    }.joined(separator: "\n")
  }
}
