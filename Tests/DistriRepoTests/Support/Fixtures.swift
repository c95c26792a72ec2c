// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriRepo
import DistriStore
import Foundation
import Synchronization
import SystemPackage
import TestSupport

/// A package to make.
struct PackageFixture {
  var id: PackageID
  var needs: [PackageID]
  /// Path to contents; a path that ends in `@` is a symbolic link to its contents.
  var files: [String: [UInt8]]

  init(_ id: String, needs: [String] = [], byteCount: Int = 20_000, files: [String: [UInt8]] = [:]) throws {
    self.id = try PackageID(parsing: id)
    self.needs = try needs.map { try PackageID(parsing: $0) }
    let name = self.id.name
    let contents = noise(byteCount, seed: UInt64(truncatingIfNeeded: id.utf8.reduce(5381) { $0 &* 33 &+ Int($1) }))
    self.files = [
      "bin/\(name)": Array("#!\(id)\n".utf8), "out/bin/\(name)": contents, "out/lib/lib\(name).so.1": contents,
      "out/share/doc/\(name)/README": Array("about \(id)\n".utf8), "etc/\(name).conf": Array("# of \(id)\n".utf8),
    ].merging(files) { $1 }
  }

  /// Writes the image as a build does: a folder, packed.
  func writeImage(to path: FilePath) throws {
    let folder = try TemporaryDirectory()
    for (name, contents) in files {
      let file = folder.path.appending(name.hasSuffix("@") ? String(name.dropLast()) : name)
      try FileManager.default.createDirectory(
        atPath: file.removingLastComponent().string, withIntermediateDirectories: true)
      if name.hasSuffix("@") {
        try FileManager.default.createSymbolicLink(
          atPath: file.string, withDestinationPath: String(decoding: contents, as: UTF8.self))
      } else {
        try write(contents, to: file)
      }
    }
    var tree = try DirectoryTree(path: folder.path)
    let file = try FileDescriptor.open(
      path, .readWrite, options: [.create, .truncate, .closeOnExec], permissions: FilePermissions(rawValue: 0o644))
    defer { try? file.close() }
    _ = try ImageWriter(options: .init(modificationTime: 1_700_000_000)).write(&tree, to: file, path: path)
  }
}

extension LocalStore {
  /// A store that holds the packages.
  static func make(
    at path: FilePath, _ packages: [PackageFixture], section: Section = .packages
  ) async throws -> LocalStore {
    let store = try LocalStore(path: path, section: section)
    try await store.transaction { area in
      for package in packages {
        try package.writeImage(to: area.imagePath(of: package.id))
        guard section == .packages else { continue }
        var metadata = PackageMetadata(
          runtimeDependencies: package.needs, sourcePackage: package.id.name, version: package.id.version)
        metadata.summary = "The fixture called \(package.id.name)"
        try area.stage(metadata, of: package.id)
      }
    }
    return store
  }

  /// All bytes of all files, by name, without those that begin with a dot.
  func files() throws -> [String: [UInt8]] {
    let names = try names(in: path).filter { !$0.hasPrefix(".") }
    return try Dictionary(uniqueKeysWithValues: names.map { ($0, try contents(of: path.appending($0))) })
  }
}

extension ScriptedServer {
  /// Serves the files below a directory; the change may replace an answer.
  static func serving(
    _ directory: FilePath, changing change: @escaping @Sendable (Request, [UInt8]?) -> [Step]? = { _, _ in nil }
  ) throws -> ScriptedServer {
    try ScriptedServer { request in
      let body = try? contents(of: directory.appending(request.path.removingPercentEncoding ?? ""))
      if let answer = change(request, body) { return answer }
      return body.map { .ok($0) } ?? .status("404 Not Found")
    }
  }
}

/// Files in memory, by URL.
struct MemoryTransport: Transport {
  var files: [String: [UInt8]]

  func download(_ request: TransferRequest, into sink: any TransferSink) async throws -> TransferResponse {
    guard var bytes = files[request.url] else { throw RepositoryError.notFound(url: request.url) }
    if let range = request.range {
      guard range.upperBound <= UInt64(bytes.count) else {
        throw RepositoryError.transferFailed(url: request.url, .rangeUnavailable)
      }
      bytes = Array(bytes[Int(range.lowerBound)..<Int(range.upperBound)])
    }
    guard UInt64(bytes.count) <= request.maximumByteCount else {
      throw RepositoryError.tooLarge(url: request.url, limit: request.maximumByteCount)
    }
    _ = try sink.consume(bytes.span.bytes)
    return TransferResponse(url: request.url, byteCount: UInt64(bytes.count))
  }
}

extension Repository.Options {
  /// For tests of everything but trust.
  static var unsigned: Self {
    var options = Self()
    options.allowsUnsignedIndex = true
    return options
  }
}

/// A store, the repository made of it, and a place for machines.
struct Scene: ~Copyable {
  let directory: TemporaryDirectory
  let store: LocalStore
  let repository: FilePath

  init(_ packages: [PackageFixture]) async throws {
    let directory = try TemporaryDirectory()
    let store = try await LocalStore.make(at: directory.path.appending("store"), packages)
    let repository = directory.path.appending("repo")
    _ = try await Publisher(store: store.path, output: repository).publish()
    self.directory = directory
    self.store = store
    self.repository = repository
  }

  var machine: FilePath { directory.path.appending("machine") }

  func machineStore() throws -> LocalStore {
    try FileManager.default.createDirectory(atPath: machine.string, withIntermediateDirectories: true)
    return try LocalStore(path: machine.appending("roimg"))
  }

  /// Installs on the machine from a server.
  func install(_ query: String, from roots: [String], options: Repository.Options = .unsigned) async throws -> LocalStore {
    let transport = try StandardTransport(options: .impatient)
    let store = try machineStore()
    var repositories: [Repository] = []
    for root in roots { repositories.append(try await Repository(at: root, transport: transport, options: options)) }
    let installer = Installer(repositories: repositories, store: store)
    try await installer.install(try await installer.plan([try PackageQuery(parsing: query)]), defaultsBelow: machine)
    return store
  }
}

/// The packages that most tests use: a program and what it needs.
func smallSet() throws -> [PackageFixture] {
  let libraries = try (0..<10).map { try PackageFixture("lib\($0)-amd64-1.\($0)-\($0 + 1)", byteCount: 30_000 * $0) }
  return libraries + [try PackageFixture("nano-amd64-7.2-2", needs: libraries.map(\.id.description), byteCount: 500_000)]
}
