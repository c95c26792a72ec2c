// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

// build-hello STORE DEFINITIONS SOURCES: builds the definition `hello` against the packages of a store, in a sandbox.

import DistriBuild
import DistriFS
import DistriStore
import Foundation
import SystemPackage

guard CommandLine.arguments.count == 4 else {
  print("usage: build-hello STORE DEFINITIONS SOURCES")
  exit(64)
}
let paths = CommandLine.arguments.dropFirst().map { FilePath(URL(filePath: $0).path) }

/// 1. Say where sources come from: here, from a directory, by their SHA-256.
struct Archives: SourceFetcher {
  let directory: FilePath

  func fetch(_ source: SourceReference, to path: FilePath) async throws {
    for name in try FileManager.default.contentsOfDirectory(atPath: directory.string) {
      let file = directory.appending(name)
      // A directory has no sum.
      guard (try? Checksum.sha256(of: file)) == source.hash else { continue }
      try FileManager.default.copyItem(atPath: file.string, toPath: path.string)
      return
    }
    throw BuildError.source(source.url, reason: "is not in \(directory)")
  }
}

/// 2. Say how a build sees its dependencies: here, by a mount of just those packages.
struct View: DependencyRoot {
  let store: LocalStore
  let mountPoint: FilePath

  func withRoot<R: Sendable>(
    of packages: [PackageID], reserving own: PackageID, _ body: (FilePath) async throws -> R
  ) async throws -> R {
    let view = try PackageFileSystem(store: store, only: packages, reserving: own)
    return try await withMount(of: view, at: mountPoint) { mount in try await body(mount.mountPoint) }
  }
}

// 3. Make a builder of a store and these two.
let store = try LocalStore(path: paths[0])
let folder = FileManager.default.temporaryDirectory.appending(path: "build-hello-\(UUID().uuidString)")
let mountPoint = folder.appending(path: "ro")
try FileManager.default.createDirectory(at: mountPoint, withIntermediateDirectories: true)
defer { try? FileManager.default.removeItem(at: folder) }
var builder = Builder(
  store: store, dependencyRoot: View(store: store, mountPoint: FilePath(mountPoint.path)), fetcher: Archives(directory: paths[2]),
  work: FilePath(folder.appending(path: "work").path))
builder.report = { print($0) }

// 4. Build. The package is in the store when the call returns; a second time asks for a higher revision, since packages never change.
var definition = try DefinitionFile(directory: paths[1].appending("hello"))
if let newest = try store.newest(PackageQuery(parsing: "hello")) {
  try definition.replace(.version, with: "\(newest.upstream)-\(newest.revision + 1)")
}
for package in try await builder.build(definition) { print("made \(package)") }
