// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import SystemPackage

/// Where a definition's source comes from, once `distri+source://` has been followed to the definition that has it.
struct SourceOrigin: Sendable, Hashable {
  /// What to fetch.
  var reference: SourceReference
  /// The directory of the definition that names it: relative paths start there.
  var directory: FilePath
  /// The directories of the definitions that were followed, the last of which is ``directory``; none for a source of the definition's own.
  private(set) var followed: [FilePath] = []

  private static let scheme = "distri+source"
  /// How many definitions may name each other's source; longer chains are circles.
  private static let maximumDepth = 8

  /// - Throws: ``BuildError/source(_:reason:)`` for a package without definition, another hash there, or a circle; what parsing throws.
  init(of definition: Definition, in directory: FilePath) throws(BuildError) {
    reference = SourceReference(url: definition.source, hash: definition.hash)
    self.directory = directory
    var depth = 0
    while reference.scheme == Self.scheme {
      let url = reference.url, name = String(url.dropFirst("\(Self.scheme)://".count))
      guard depth < Self.maximumDepth else { throw .source(url, reason: "the definitions name each other's source in a circle") }
      depth += 1
      guard FilePath(name).components.count == 1, FilePath.Component(name)?.kind == .regular else {
        throw .source(url, reason: "is not \(Self.scheme)://<package>")
      }
      let other = self.directory.appending("..").appending(name).lexicallyNormalized()
      guard other.appending(DefinitionFile.fileName).exists else {
        throw .source(url, reason: "there is no definition in \(other)")
      }
      let found = try DefinitionFile(directory: other).definition
      let next = SourceReference(url: found.source, hash: found.hash)
      guard reference.hash.isEmpty || next.scheme == Self.scheme || next.hash == reference.hash else {
        throw .source(url, reason: "has the hash \(next.hash.printable) there, not \(reference.hash.printable)")
      }
      reference = SourceReference(url: next.url, hash: reference.hash.isEmpty ? next.hash : reference.hash)
      self.directory = other
      followed.append(other)
    }
  }

  /// Whether a fetcher brings it: a name that is not beside the definition is one that the fetcher may know.
  var isElsewhere: Bool {
    reference.scheme != nil || (reference.fileName == reference.url && !directory.appending(reference.url).exists)
  }
}
