// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore
import SystemPackage

/// A file of an action's input root.
public struct ActionFile: Sendable, Hashable {
  /// Where the bytes are.
  public enum Content: Sendable, Hashable {
    /// All of a file of this machine, which does not change as long as the action is under way.
    case file(FilePath)
    /// In memory.
    case bytes([UInt8])
    /// Not on this machine: another action has made them, and the storage has them by their digest.
    case elsewhere
  }

  /// Below the input root.
  public var path: TreePath
  /// Where the bytes are.
  public var content: Content
  /// What names them.
  public var digest: ContentDigest
  /// Whether it is a program.
  public var isExecutable: Bool

  /// Describes a file.
  public init(_ path: TreePath, _ content: Content, digest: ContentDigest, isExecutable: Bool = false) {
    self.path = path
    self.content = content
    self.digest = digest
    self.isExecutable = isExecutable
  }

  /// A file of these bytes.
  public init(_ path: TreePath, bytes: [UInt8], isExecutable: Bool = false) {
    self.init(path, .bytes(bytes), digest: ContentDigest(of: bytes), isExecutable: isExecutable)
  }
}

/// The input root of an action, canonical: the same files, the same value, in whatever order they were found.
///
/// Files only, sorted name by name from the root down, bytewise, so that all of a directory follow each other; no path twice, and none below
/// another file. Directories are those that the paths name.
public struct ActionInputs: Sendable, Hashable {
  /// Sorted.
  public let files: [ActionFile]

  /// Sorts the files.
  ///
  /// - Throws: ``BuildError/invalidPackage(_:pass:reason:)`` for two files of the same path, one below another, or the root itself.
  public init(_ files: [ActionFile], of package: PackageID) throws(BuildError) {
    let sorted = files.sorted { $0.path.components.lexicographicallyPrecedes($1.path.components) }
    for (file, next) in zip(sorted, sorted.dropFirst()) where next.path.components.starts(with: file.path.components) {
      throw .invalidPackage(
        package.description, pass: "inputs of the action", reason: "\(file.path) and \(next.path) cannot both be files of it")
    }
    guard sorted.first?.path.isRoot != true else {
      throw .invalidPackage(package.description, pass: "inputs of the action", reason: "a file has no name")
    }
    self.files = sorted
  }
}

extension ActionInputs {
  /// Writes the files below a directory that is not there yet, as a worker would.
  ///
  /// - Throws: ``BuildError/invalidPackage(_:pass:reason:)`` for a file whose bytes are elsewhere; ``BuildError/system(operation:path:_:)``.
  public func write(to directory: FilePath) throws(BuildError) {
    guard directory.isAbsent else { throw .system(operation: "make directory", path: directory, .fileExists) }
    for file in files {
      let path = file.path.components.reduce(directory) { $0.appending($1.description) }
      try path.removingLastComponent().makeDirectories()
      let permissions: UInt16 = file.isExecutable ? 0o755 : 0o644
      switch file.content {
      case .bytes(let bytes): try path.write(bytes, permissions: permissions)
      case .file(let source): try source.copy(to: path, permissions: permissions)
      case .elsewhere:
        throw .invalidPackage(file.path.description, pass: "inputs of the action", reason: "its bytes are not on this machine")
      }
    }
  }
}
