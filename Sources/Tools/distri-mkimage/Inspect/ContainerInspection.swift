// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import Crypto
import DistriArchive
import DistriStore
import FoundationEssentials
import SystemPackage

/// What is in a container or an archive of a root file system, found out from its bytes alone.
struct ContainerInspection: Encodable, Equatable {
  struct Layer: Encodable, Equatable {
    /// As registries write it: `sha256:` and hexadecimal digits.
    let digest: String
    let byteCount: UInt64
    let packages: [String]
  }

  /// `oci`, `docker`, `lxd` or `tar`.
  let format: String
  /// The digest by which registries name the image; empty for what has none.
  private(set) var digest = ""
  /// What it runs.
  private(set) var command: [String] = []
  /// The lowest first.
  private(set) var layers: [Layer] = []
  /// In the order of their names.
  let packages: [String]

  /// Looks into what build has made: an OCI layout, an archive for `docker load`, the archives for Incus, or a root as tar.
  ///
  /// - Parameter work: a directory for temporary files.
  /// - Returns: nil for what is none of these.
  /// - Throws: ``MkimageError/unusableFile(_:reason:)`` for a blob that is missing or not what its name says; `StoreError` for a damaged archive.
  init?(_ path: FilePath, work: FilePath) throws {
    if let files = try ContainerFiles(directory: path) ?? ContainerFiles(archive: path, work: work) {
      let index = try files.json(Index.self, "index.json")
      guard let image = index.manifests.first else { throw files.defect("index.json", "leads to no image") }
      let manifest = try files.blob(Manifest.self, image.digest)
      let configuration = try files.blob(Configuration.self, manifest.config.digest)
      guard configuration.history.count == manifest.layers.count else {
        throw files.defect(manifest.config.digest, "tells of another number of layers than there are")
      }
      layers = try zip(manifest.layers, configuration.history).map { layer, step in
        guard try files.byteCount(of: ContainerFiles.path(ofBlob: layer.digest)) == layer.size else {
          throw files.defect(layer.digest, "is missing, or has another size")
        }
        let words = step.created_by.split(separator: " ").map(String.init)
        return Layer(digest: layer.digest, byteCount: layer.size, packages: words.filter { (try? PackageID(parsing: $0)) != nil })
      }
      format = files.isArchive ? "docker" : "oci"
      digest = image.digest
      command = configuration.config.Cmd
      packages = layers.flatMap(\.packages).sorted()
    } else if let (kind, archive) = Self.rootArchive(of: path) {
      format = kind
      packages = try Self.packages(in: archive)
    } else {
      return nil
    }
  }

  private static func rootArchive(of path: FilePath) -> (format: String, archive: FilePath)? {
    let root = path.appending("rootfs.tar.gz")
    if FileManager.default.fileExists(atPath: root.string) { return ("lxd", root) }
    return ContainerFiles.isTar(path) ? ("tar", path) : nil
  }

  /// Packages lie unpacked in the view's place, or as images in the store.
  private static func packages(in path: FilePath) throws -> [String] {
    var archive = try ArchiveTree(path: path)
    var found: Set<PackageID> = []
    while let entry = try archive.next() {
      let components = entry.path.components
      guard components.count == 2, let name = components.last?.description else { continue }
      switch components[0].description {
      case "ro": if let package = try? PackageID(parsing: name) { found.insert(package) }
      case "roimg" where name.hasSuffix(".squashfs"):
        if let package = try? PackageID(parsing: String(name.dropLast(9))) { found.insert(package) }
      default: continue
      }
    }
    return found.map(\.description).sorted()
  }

  // The parts of an OCI image that are looked at, by the names that they have there.

  private struct Descriptor: Decodable {
    let digest: String
    let size: UInt64
  }
  private struct Index: Decodable { let manifests: [Descriptor] }
  private struct Manifest: Decodable {
    let config: Descriptor
    let layers: [Descriptor]
  }
  private struct Configuration: Decodable {
    struct Process: Decodable { let Cmd: [String] }
    struct Step: Decodable { let created_by: String }
    let config: Process
    let history: [Step]
  }
}

/// The files of an OCI layout: in a directory, or in an archive.
private struct ContainerFiles {
  let path: FilePath
  /// Of the files in an archive, their sizes; nil for a directory.
  private let sizes: [TreePath: UInt64]?
  private let work: FilePath?

  /// The most bytes of a description.
  private static let largestDescription: UInt64 = 4 << 20

  var isArchive: Bool { sizes != nil }

  /// Nil for what is no directory with a layout.
  init?(directory: FilePath) throws {
    guard FileManager.default.fileExists(atPath: directory.appending(OCILayout.marker).string) else { return nil }
    (path, sizes, work) = (directory, nil, nil)
  }

  /// Nil for what is no tar with a layout.
  init?(archive: FilePath, work: FilePath) throws {
    guard Self.isTar(archive) else { return nil }
    var tree = try ArchiveTree(path: archive)
    var sizes: [TreePath: UInt64] = [:]
    while let entry = try tree.next() {
      if case .regular(let byteCount) = entry.kind { sizes[entry.path] = byteCount }
    }
    guard try sizes[TreePath(parsing: OCILayout.marker)] != nil else { return nil }
    (path, self.sizes, self.work) = (archive, sizes, work)
  }

  /// POSIX.1-2017, pax, «ustar Interchange Format»: the magic number.
  static func isTar(_ path: FilePath) -> Bool {
    guard let file = try? FileDescriptor.open(path, .readOnly, options: [.closeOnExec, .nonBlocking]) else { return false }
    defer { try? file.close() }
    var magic = [UInt8](repeating: 0, count: 5)
    let count = try? magic.withUnsafeMutableBytes { try file.read(fromAbsoluteOffset: 257, into: $0) }
    return count == magic.count && magic == Array("ustar".utf8)
  }

  static func path(ofBlob digest: String) throws -> TreePath {
    try TreePath(parsing: "\(OCILayout.blobs)/\(digest.replacing(":", with: "/"))")
  }

  /// Nil for what is not there.
  func byteCount(of name: TreePath) throws -> UInt64? {
    if let sizes { return sizes[name] }
    guard let file = try? FileDescriptor.open(path.pushing(FilePath("\(name)")), .readOnly, options: [.closeOnExec, .nonBlocking])
    else { return nil }
    defer { try? file.close() }
    return UInt64(try file.seek(offset: 0, from: .end))
  }

  /// A description whose digest is its name.
  func blob<Value: Decodable>(_ type: Value.Type, _ digest: String) throws -> Value {
    let name = try Self.path(ofBlob: digest)
    let bytes = try contents(of: name)
    guard digest == "sha256:" + Array(SHA256.hash(data: bytes)).hexadecimal else {
      throw defect(digest, "is not what its name says")
    }
    return try decode(type, bytes, "\(name)")
  }

  func json<Value: Decodable>(_ type: Value.Type, _ name: String) throws -> Value {
    try decode(type, try contents(of: TreePath(parsing: name)), name)
  }

  private func decode<Value: Decodable>(_ type: Value.Type, _ bytes: [UInt8], _ name: String) throws -> Value {
    do { return try JSONDecoder().decode(type, from: Data(bytes)) } catch { throw defect(name, "is no such JSON as images have") }
  }

  private func contents(of name: TreePath) throws -> [UInt8] {
    guard let size = try byteCount(of: name), size <= Self.largestDescription else {
      throw defect("\(name)", "is missing, or larger than \(Self.largestDescription) bytes")
    }
    guard let work else { return try path.pushing(FilePath("\(name)")).contents(atMost: Int(Self.largestDescription)) }
    return try ChildProcess.run(
      ChildProcess.locate("tar", package: "tar"), ["--extract", "--to-stdout", "--file", path.resolved().string, "--", "\(name)"],
      limits: .init(fileByteCount: Int(Self.largestDescription)), work: work)
  }

  func defect(_ name: String, _ reason: String) -> MkimageError { .unusableFile(path.string, reason: "\(name) \(reason)") }
}
