// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore
import SystemPackage

/// A definition's source, unpacked for a person who changes it, and the patch that comes out.
///
/// There are two copies in a directory of its own: `a` as a build sees it after the definition's patches, and `b`, which is for changing.
public struct SourceEdit: Sendable {
  private let file: DefinitionFile
  private let fetcher: any SourceFetcher
  private let directory: FilePath

  /// - Parameter directory: where the copies are made; must not be there yet.
  public init(_ file: DefinitionFile, fetcher: any SourceFetcher, directory: FilePath) {
    self.file = file
    self.fetcher = fetcher
    self.directory = directory
  }

  private var original: FilePath { directory.appending("a") }

  /// The copy for changing.
  public var changed: FilePath { directory.appending("b") }

  /// Brings the source and applies the definition's patches, with the host's `patch`.
  ///
  /// - Throws: ``BuildError/source(_:reason:)``; ``BuildError/tool(_:reason:)`` when a patch does not apply; what the fetcher throws.
  public func prepare() async throws {
    try directory.removingLastComponent().makeDirectories()
    let home = file.path.removingLastComponent()
    _ = try await SourcePreparation(definition: file.definition, directory: home, fetcher: fetcher)
      .prepare(original, archives: directory.appending("archive"))
    for patch in file.definition.patches {
      _ = try await HostCommand(
        program: "patch",
        arguments: [
          "-p1", "--no-backup-if-mismatch", "--quiet", "-d", original.string, "-i", home.pushing(FilePath(patch)).string,
        ],
        package: "patch"
      ).run()
    }
    let (original, changed) = (original, changed)
    try await onThread {
      var tree = try DirectoryTree(path: original)
      try changed.makeDirectories()
      _ = try TreeExtractor.extract(&tree, into: changed, options: .init(keepsOwners: false))
    }
  }

  /// What has been changed: a unified diff that `patch -p1` takes, without times, so that the same change is the same patch. Empty when
  /// there is nothing.
  ///
  /// - Throws: ``BuildError/tool(_:reason:)``.
  public func difference() async throws -> [UInt8] {
    let output = try await HostCommand(
      program: "diff", arguments: ["--unified", "--recursive", "--new-file", "--no-dereference", "a", "b"], directory: directory,
      package: "diffutils", acceptedStatuses: [0, 1]
    ).run()
    if let line = output.split(separator: UInt8(ascii: "\n")).first(where: { $0.starts(with: Array("Binary files ".utf8)) }) {
      throw BuildError.source(
        file.definition.name,
        reason: "\(String(decoding: line, as: UTF8.self)), which no patch can say; use extra_file for such a file")
    }
    return withoutTimes(output)
  }

  /// Removes what follows the tab in header lines, and the commands in front of them, whose paths are those of the headers. What is not
  /// there on one side is `/dev/null` there: `patch` would know it by the time only, and leave an empty file.
  private func withoutTimes(_ diff: [UInt8]) -> [UInt8] {
    var result: [UInt8] = []
    var header = 0
    for line in diff.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false) {
      if line.starts(with: Array("diff --unified ".utf8)) {
        header = 2
        continue
      }
      if header > 0 {
        header -= 1
        let words = line.prefix { $0 != UInt8(ascii: "\t") }
        let path = directory.pushing(FilePath(String(decoding: words.dropFirst(4), as: UTF8.self)))
        result += path.isAbsent ? words.prefix(4) + Array("/dev/null".utf8) : words
      } else {
        result += line
      }
      result.append(UInt8(ascii: "\n"))
    }
    // Splitting gives an empty line behind the last end of line.
    if !result.isEmpty { result.removeLast() }
    return result
  }

  /// Removes both copies.
  ///
  /// - Throws: ``BuildError/system(operation:path:_:)``.
  public func remove() throws(BuildError) { try directory.removeAll() }
}
