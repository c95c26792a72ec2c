// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import Crypto
import DistriStore
import FoundationEssentials
import Glibc
import SystemPackage

/// A container image in the OCI image layout («Open Container Initiative Image Format Specification», 1.0): blobs that are named by what is
/// in them, and an index that leads to them.
struct OCILayout {
  let contents: ContainerContents

  /// Says what the directory is.
  static let marker = "oci-layout"
  static let blobs = "blobs"
  private static let index = "index.json"
  /// The files and directories that it consists of.
  static let names = [marker, index, blobs]

  /// Writes the layout into an empty directory.
  ///
  /// - Throws: `StoreError`; ``MkimageError/missingTool(_:package:)``; ``MkimageError/toolFailed(_:status:words:)``.
  func write(to directory: FilePath, work: FilePath, report: (String) -> Void) throws {
    let (image, _, _) = try writeBlobs(to: directory, work: work, report: report)
    try writeIndex(of: image, annotations: ["org.opencontainers.image.ref.name": "latest"], to: directory)
  }

  /// Writes the layout as a tar, with the file that `docker load` looks for.
  ///
  /// - Throws: as ``write(to:work:report:)``.
  func writeDockerArchive(to path: FilePath, work: FilePath, report: (String) -> Void) throws {
    let directory = work.appending("layout")
    try FileManager.default.createDirectory(atPath: directory.string, withIntermediateDirectories: false)
    let (image, config, layers) = try writeBlobs(to: directory, work: work, report: report)
    let name = "\(contents.description.hostname.lowercased()):latest"
    try writeIndex(
      of: image,
      annotations: ["io.containerd.image.name": "docker.io/library/\(name)", "org.opencontainers.image.ref.name": "latest"],
      to: directory)
    let manifest = DockerManifest(Config: Self.blobPath(config), RepoTags: [name], Layers: layers.map(Self.blobPath))
    var archive = Contents()
    try archive.addFile(TreePath(parsing: "manifest.json"), .bytes(try Self.json([manifest])))
    for name in [Self.marker, Self.index] { try archive.addFile(TreePath(parsing: name), directory.appending(name).asSource()) }
    for blob in [image, config] + layers {
      let path = Self.blobPath(blob)
      try archive.addFile(TreePath(parsing: path), directory.pushing(FilePath(path)).asSource())
    }
    report("archive")
    try TarArchive.write(to: path) { try $0.append(archive, time: contents.time) }
  }

  // MARK: - Blobs

  /// Writes layers, configuration and manifest.
  private func writeBlobs(
    to directory: FilePath, work: FilePath, report: (String) -> Void
  ) throws -> (image: Descriptor, config: Descriptor, layers: [Descriptor]) {
    let place = directory.appending(Self.blobs).appending("sha256")
    try FileManager.default.createDirectory(atPath: place.string, withIntermediateDirectories: true)
    var files = try GzipFiles()
    let groups = try contents.layers()
    for (number, packages) in groups.enumerated() {
      report(packages.map(\.description).joined(separator: " "))
      let tar = work.appending("layer\(number)")
      try contents.writeLayer(of: packages, to: tar)
      try files.add(tar, to: work.appending("blob\(number)"))
    }
    report("links and configuration")
    let rest = work.appending("layer\(groups.count)")
    try contents.writeRest(to: rest)
    try files.add(rest, to: work.appending("blob\(groups.count)"))
    let compressed = try files.finish()
    for (number, layer) in compressed.enumerated() {
      let blob = work.appending("blob\(number)")
      try Scratch.sync(blob)
      guard rename(blob.string, place.appending(layer.digest).string) == 0 else { throw Errno(rawValue: errno) }
    }
    let layers = compressed.map {
      Descriptor(mediaType: "application/vnd.oci.image.layer.v1.tar+gzip", digest: "sha256:\($0.digest)", size: $0.byteCount)
    }
    let makers = groups.map { $0.map(\.description).joined(separator: " ") } + ["links and configuration"]
    let config = try writeBlob(
      configuration(contentDigests: compressed.map(\.contentDigest), makers: makers), "application/vnd.oci.image.config.v1+json",
      to: place)
    let image = try writeBlob(Manifest(config: config, layers: layers), Manifest.type, to: place)
    try Scratch.sync(place)
    return (image, config, layers)
  }

  private func configuration(contentDigests: [String], makers: [String]) -> Configuration {
    let created = Date(timeIntervalSince1970: Double(contents.time)).ISO8601Format()
    return Configuration(
      created: created, architecture: architecture, os: "linux",
      config: .init(
        Env: ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"], Cmd: contents.command),
      rootfs: .init(type: "layers", diff_ids: contentDigests.map { "sha256:\($0)" }),
      history: makers.map { .init(created: created, created_by: "distri-mkimage \($0)") })
  }

  /// As Go names it.
  private var architecture: String {
    switch contents.architecture {
    case .amd64: "amd64"
    case .i686: "386"
    case .arm64: "arm64"
    }
  }

  private func writeBlob(_ value: some Encodable, _ type: String, to place: FilePath) throws -> Descriptor {
    let bytes = try Self.json(value)
    let digest = Array(SHA256.hash(data: bytes)).hexadecimal
    try Data(bytes).write(to: URL(filePath: place.appending(digest).string))
    try Scratch.sync(place.appending(digest))
    return Descriptor(mediaType: type, digest: "sha256:\(digest)", size: UInt64(bytes.count))
  }

  private func writeIndex(of image: Descriptor, annotations: [String: String], to directory: FilePath) throws {
    var image = image
    image.platform = .init(architecture: architecture, os: "linux")
    image.annotations = annotations
    try Data(try Self.json(Index(manifests: [image]))).write(to: URL(filePath: directory.appending(Self.index).string))
    try Data(try Self.json(["imageLayoutVersion": "1.0.0"])).write(to: URL(filePath: directory.appending(Self.marker).string))
  }

  private static func blobPath(_ blob: Descriptor) -> String {
    "\(blobs)/\(blob.digest.replacing(":", with: "/"))"
  }

  /// The same value is always the same bytes.
  private static func json(_ value: some Encodable) throws -> [UInt8] {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    return Array(try encoder.encode(value))
  }
}
