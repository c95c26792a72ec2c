// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import DistriBuild
import DistriStore
import FoundationEssentials
import SystemPackage
import ToolSupport

/// `distri-build log`: what the steps of a build said.
struct LogCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "log",
    abstract: "Print the log of a package's last build.",
    discussion: """
      A log begins with the whole plan of the build; then comes what the steps wrote.

        distri-build log --definitions pkgs nano | less
        less +G $(distri-build log --definitions pkgs --path nano-amd64-7.2-2)
      """)

  @OptionGroup var definitionOptions: DefinitionOptions

  @Option(help: ArgumentHelp("Where builds happened. Without it, _build beside the definitions.", valueName: "dir"))
  var work: String?

  @Flag(help: "Print the path instead.")
  var path = false

  @Argument(help: "A name, with or without a version.")
  var package: String

  func run() throws {
    let query = try PackageQuery(parsing: package)
    let directory = definitionOptions.workPath(work).appending(query.name)
    let names = (try? FileManager.default.contentsOfDirectory(atPath: directory.string)) ?? []
    let logs = names.filter { name in
      guard name.hasPrefix("build-"), name.hasSuffix(".log") else { return false }
      return query.exact.map { name == "build-\($0.architecture)-\($0.version).log" } ?? true
    }.map(directory.appending)
    guard let newest = logs.max(by: { (Self.modification($0), $0.string) < (Self.modification($1), $1.string) }) else {
      throw LogNotFound(package: package, directory: directory)
    }
    guard !path else { return Terminal.standardOutput.write("\(newest)\n") }
    let file = try FileDescriptor.open(newest, .readOnly)
    defer { try? file.close() }
    while case let bytes = try file.chunk(), !bytes.isEmpty { try FileDescriptor.standardOutput.writeAll(bytes) }
  }

  private static func modification(_ path: FilePath) -> Date {
    let attributes = try? FileManager.default.attributesOfItem(atPath: path.string)
    return attributes?[.modificationDate] as? Date ?? .distantPast
  }
}

extension FileDescriptor {
  fileprivate func chunk() throws -> [UInt8] {
    try [UInt8](unsafeUninitializedCapacity: 1 << 16) { buffer, count in
      count = try read(into: UnsafeMutableRawBufferPointer(buffer))
    }
  }
}

/// Nothing of that name was built there.
private struct LogNotFound: Error, CustomStringConvertible, ExitStatusProviding {
  var package: String
  var directory: FilePath
  var description: String { "there is no log of \(package) in \(directory); --work says where it was built" }
  var exitStatus: ExitCode { ToolSupport.ExitStatus.notFound }
}
