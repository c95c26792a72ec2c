// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore
import Foundation
import SystemPackage
import TestSupport

/// A store of a test's own, filled with images that mksquashfs makes.
package final class TestStore: Sendable {
  private let directory: FilePath
  /// The store's directory.
  package let path: FilePath
  /// An empty directory beside the store.
  package let mountPoint: FilePath

  package init() throws {
    directory = FilePath(FileManager.default.temporaryDirectory.path).appending("distri-test-\(UUID().uuidString)")
    path = directory.appending("store")
    mountPoint = directory.appending("ro")
    for folder in [path, mountPoint] {
      try FileManager.default.createDirectory(atPath: folder.string, withIntermediateDirectories: true)
    }
  }

  deinit { try? FileManager.default.removeItem(atPath: directory.string) }

  /// A name beside the store.
  package func file(_ name: String) -> FilePath { directory.appending(name) }

  /// Makes the image of a package beside the store: of paths and contents, a content that starts with `->` being a link's target.
  @discardableResult
  package func makeImage(_ package: String, _ files: [String: String], options: [String] = []) async throws -> FilePath {
    let tree = file("tree-\(package)")
    for (name, contents) in files {
      let target = tree.appending(name).string
      let parent = FilePath(target).removingLastComponent().string
      try FileManager.default.createDirectory(atPath: parent, withIntermediateDirectories: true)
      if contents.hasPrefix("->") {
        try FileManager.default.createSymbolicLink(atPath: target, withDestinationPath: String(contents.dropFirst(2)))
      } else {
        try Data(contents.utf8).write(to: URL(fileURLWithPath: target))
      }
    }
    return try await makeImage(package, of: tree, options: options)
  }

  /// Makes the image of a package of a directory.
  @discardableResult
  package func makeImage(_ package: String, of tree: FilePath, options: [String] = []) async throws -> FilePath {
    try FileManager.default.createDirectory(atPath: tree.string, withIntermediateDirectories: true)
    let image = file("\(package).image")
    let outcome = try await ToolProcess.run(
      "mksquashfs", [tree.string, image.string, "-noappend", "-no-progress", "-quiet"] + options)
    if outcome.status != 0 { throw TestFailure(outcome.errors + outcome.output) }
    return image
  }

  /// Makes the image of a package of a directory with our own writer.
  package func writeImage(_ package: String, of tree: FilePath, options: ImageWriter.Options = .init()) async throws {
    let image = file("\(package).image")
    try await onThread {
      let file = try FileDescriptor.open(
        image, .readWrite, options: [.create, .truncate], permissions: FilePermissions(rawValue: 0o644))
      defer { try? file.close() }
      var contents = try DirectoryTree(path: tree)
      _ = try ImageWriter(options: options).write(&contents, to: file, path: image)
    }
  }

  /// Puts a package into the store as a transaction does: metadata, then the image, by renaming.
  package func publish(_ package: String, metadata text: String = "version: \"1\"\n") throws {
    let metadata = file("\(package).metadata")
    try Data(text.utf8).write(to: URL(fileURLWithPath: metadata.string))
    try rename(metadata, path.appending("\(package).meta.textproto"))
    try rename(file("\(package).image"), path.appending("\(package).squashfs"))
  }

  /// Makes a package and puts it into the store.
  package func add(_ package: String, _ files: [String: String], options: [String] = []) async throws {
    try await makeImage(package, files, options: options)
    try publish(package)
  }

  /// The store as the library sees it.
  package var local: LocalStore { get throws { try LocalStore(path: path) } }

  /// Takes a package out of the store.
  package func remove(_ package: String) throws {
    try FileManager.default.removeItem(atPath: path.appending("\(package).squashfs").string)
    try FileManager.default.removeItem(atPath: path.appending("\(package).meta.textproto").string)
  }

  private func rename(_ from: FilePath, _ to: FilePath) throws {
    guard Foundation.rename(from.string, to.string) == 0 else { throw Errno(rawValue: errno) }
  }
}

/// Words for what a test could not set up.
package struct TestFailure: Error, CustomStringConvertible {
  package let description: String
  package init(_ description: String) { self.description = description }
}
