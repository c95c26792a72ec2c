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
      Its partitions, what boot loaders start, the packages, and SHA-256 digests of the sectors and of the kernels; of a container its
      layers and what it runs. Needs no root; works for all formats that qemu reads, and for those of containers.

        distri-mkimage inspect box.img --json
      """)

  @Argument(help: ArgumentHelp("A disk, a container, or the directory that build made.", valueName: "image"))
  var image: String

  @Flag(help: "One object of JSON.")
  var json = false

  func run() throws {
    let path = FilePath(image)
    try Scratch.withDirectory { work in
      if let container = try ContainerInspection(path, work: work) {
        try show(container, Self.text(of: container))
      } else {
        let disk = try Inspection(path, work: work)
        try show(disk, Self.text(of: disk))
      }
    }
  }

  private func show(_ found: some Encodable, _ text: @autoclosure () -> String) throws {
    guard json else { return print(text()) }
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
    print(String(decoding: try encoder.encode(found), as: UTF8.self))
  }

  static func text(of found: ContainerInspection) -> String {
    var lines = ["container  \(found.format)\(found.digest.isEmpty ? "" : ", \(found.digest)")"]
    if !found.command.isEmpty { lines.append("runs       \(found.command.joined(separator: " "))") }
    lines += found.layers.map { "layer      \($0.digest), \($0.byteCount) bytes: \($0.packages.joined(separator: " "))" }
    return printable(lines + found.packages.map { "package    \($0)" })
  }

  static func text(of found: Inspection) -> String {
    var lines = ["disk       \(found.byteCount) bytes, \(found.format), sha256 \(found.digest)"]
    lines += found.partitions.map { "partition  \($0.number) «\($0.name)», \($0.byteCount) bytes at \($0.offset), uuid \($0.uuid)" }
    for entry in found.entries {
      let system = entry.system.isEmpty ? "" : " «\(entry.system)»"
      lines.append("boots      \(entry.path)\(system), kernel sha256 \(entry.kernel), parameters \(entry.parameters)")
    }
    if found.isEncrypted { lines.append("encrypted  the root: its packages cannot be seen") }
    return printable(lines + found.packages.map { "package    \($0)" })
  }

  /// A fact a line. The words of the image may be anybody's: nothing in them moves the cursor.
  private static func printable(_ lines: [String]) -> String {
    lines.map { line in
      String(String.UnicodeScalarView(line.unicodeScalars.map { $0.properties.generalCategory == .control ? "\u{fffd}" : $0 }))
    }.joined(separator: "\n")
  }
}
