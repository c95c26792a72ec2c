// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore
import SystemPackage

/// Takes what actions have made: into the store, or to the packages of which only the metadata are here.
///
/// What comes is anybody's: a package gets nowhere unless its files are what their digests say, and its metadata what was ordered.
public struct ActionIntake: Sendable {
  /// Which of the files are brought here.
  public enum Extent: String, Sendable, Hashable, CaseIterable {
    /// All of them: packages, debug symbols, sources, log and bills of materials.
    case all
    /// Packages and log.
    case outputs
    /// Metadata and log. The images stay where they are; the next actions name them by digest.
    case none
  }

  /// Where packages go.
  public var packages: ActionPackages
  /// Where logs and bills of materials go, as those of builds on this machine: `<work>/<package>/`.
  public var work: FilePath
  /// What is brought here.
  public var extent = Extent.outputs
  /// The largest image that is taken, in bytes.
  public var maximumImageByteCount: UInt64 = 64 << 30

  /// The largest log and bill of materials that is taken, in bytes.
  static let maximumTextByteCount: UInt64 = 1 << 30

  /// Makes an intake.
  public init(packages: ActionPackages, work: FilePath) {
    self.packages = packages
    self.work = work
  }

  /// Takes the files of an action that was successful.
  ///
  /// - Returns: the packages.
  /// - Throws: ``BuildError/invalidPackage(_:pass:reason:)`` for a result that is not what was ordered; what the fetcher and the store throw.
  @discardableResult
  public func take(_ result: ActionResult, of action: Action, from fetcher: any ContentFetcher) async throws -> [PackageID] {
    try check(result, action)
    try await takeTexts(result, action, fetcher)
    var metadata: [PackageID: [UInt8]] = [:]
    for output in action.outputs {
      guard case .metadata(let package) = output.role, let digest = result.files[output.path] else { continue }
      metadata[package] = try await checkedMetadata(of: package, digest, action, fetcher)
    }
    if extent == .all {
      try await takeImages(.debug, result, action, fetcher)
      try await takeImages(.sources, result, action, fetcher)
    }
    if extent == .none {
      for case (let path, .image(let package, .packages)) in action.outputs.map({ ($0.path, $0.role) }) {
        guard let image = result.files[path], let bytes = metadata[package] else { continue }
        try packages.add(package, metadata: bytes, image: image)
      }
    } else {
      try await takeImages(.packages, result, action, fetcher, metadata: metadata)
    }
    return action.packages
  }

  /// Brings the log of an action, whether it was successful or not.
  ///
  /// - Returns: where it is; nil where the action has left none.
  /// - Throws: as ``take(_:of:from:)``.
  @discardableResult
  public func takeLog(_ result: ActionResult, of action: Action, from fetcher: any ContentFetcher) async throws -> FilePath? {
    for output in action.outputs where output.role == .log {
      guard let digest = result.files[output.path], let package = action.packages.first else { continue }
      let path = Workspace.log(of: package, below: work)
      try await bring(digest, to: path, limit: Self.maximumTextByteCount, output, action, fetcher)
      return path
    }
    return nil
  }

  // MARK: Files

  private func check(_ result: ActionResult, _ action: Action) throws(BuildError) {
    for output in action.outputs {
      guard let digest = result.files[output.path] else {
        if output.isRequired { throw Self.defect(action, "\(output.path) is missing in what the action has made") }
        continue
      }
      guard digest.sha256.utf8.count == 64, digest.sha256.utf8.allSatisfy(isHexadecimalDigit) else {
        throw Self.defect(action, "the digest of \(output.path) is none")
      }
      if case .image = output.role, digest.byteCount > maximumImageByteCount {
        throw Self.defect(
          action, "\(output.path) has \(digest.byteCount) bytes, more than the \(maximumImageByteCount) that are taken")
      }
    }
  }

  private func takeTexts(_ result: ActionResult, _ action: Action, _ fetcher: any ContentFetcher) async throws {
    try await takeLog(result, of: action, from: fetcher)
    guard extent == .all else { return }
    for output in action.outputs {
      guard case .billOfMaterials(let package) = output.role, let digest = result.files[output.path],
        let main = action.packages.first
      else { continue }
      let path = work.appending(main.name).appending("\(package).spdx.json")
      try await bring(digest, to: path, limit: Self.maximumTextByteCount, output, action, fetcher)
    }
  }

  /// Brings a file to its place, by renaming.
  private func bring(
    _ digest: ContentDigest, to path: FilePath, limit: UInt64, _ output: ActionOutput, _ action: Action,
    _ fetcher: any ContentFetcher
  ) async throws {
    guard digest.byteCount <= limit else { throw Self.defect(action, "\(output.path) has more than \(limit) bytes") }
    try path.removingLastComponent().makeDirectories()
    let temporary = FilePath("\(path).new")
    try temporary.removeAll()
    try await fetch(digest, to: temporary, action, fetcher)
    try temporary.rename(to: path)
  }

  private func fetch(
    _ digest: ContentDigest, to path: FilePath, _ action: Action, _ fetcher: any ContentFetcher
  ) async throws {
    try await fetcher.fetch(digest, to: path)
    let found = try await onThread { try ContentDigest(of: path) }
    guard found == digest else {
      try? path.removeAll()
      throw Self.defect(action, "a file came with the digest \(found), and \(digest) was asked for")
    }
  }

  private func checkedMetadata(
    of package: PackageID, _ digest: ContentDigest, _ action: Action, _ fetcher: any ContentFetcher
  ) async throws -> [UInt8] {
    guard digest.byteCount <= UInt64(PackageMetadata.maximumByteCount) else {
      throw Self.defect(action, "the metadata of \(package) are larger than \(PackageMetadata.maximumByteCount) bytes")
    }
    let folder = work.appending(package.name)
    try folder.makeDirectories()
    let path = folder.appending("\(package.metadataFileName).new")
    try path.removeAll()
    try await fetch(digest, to: path, action, fetcher)
    let bytes = try path.contents(limit: PackageMetadata.maximumByteCount)
    try path.removeAll()
    let metadata = try PackageMetadata(textproto: bytes, subject: package.metadataFileName)
    let known = Set(action.dependencies + action.packages)
    let reason: String? =
      if metadata.version != package.version {
        "say version \(metadata.version.printable)"
      } else if metadata.sourcePackage != action.order.definition {
        "say that it comes from \(metadata.sourcePackage.printable)"
      } else if metadata.inputDigest != action.order.inputDigest {
        "say that it was made of other inputs"
      } else if let other = (metadata.runtimeDependencies + metadata.buildDependencies).first(where: { !known.contains($0) }) {
        "name \(other), which the build has not seen"
      } else { nil }
    if let reason { throw Self.defect(action, "the metadata of \(package) \(reason)") }
    return bytes
  }

  /// Images of a section into the store, all or none.
  private func takeImages(
    _ section: LocalStore.Section, _ result: ActionResult, _ action: Action, _ fetcher: any ContentFetcher,
    metadata: [PackageID: [UInt8]] = [:]
  ) async throws {
    var images: [(package: PackageID, digest: ContentDigest)] = []
    for output in action.outputs {
      guard case .image(let package, section) = output.role, let digest = result.files[output.path] else { continue }
      images.append((package, digest))
    }
    if images.isEmpty { return }
    let store = section == .packages ? packages.store : try LocalStore(path: packages.store.path, section: section)
    if section != .packages { try await store.removeLeftovers(images.map(\.package)) }
    try await store.transaction { staging in
      for (package, digest) in images {
        try await fetch(digest, to: staging.imagePath(of: package), action, fetcher)
        if let bytes = metadata[package] { try staging.metadataPath(of: package).write(bytes) }
      }
    }
    for (package, digest) in images { packages.digests.note(digest, of: store.path.appending(package.imageFileName)) }
  }

  private static func defect(_ action: Action, _ reason: String) -> BuildError {
    .invalidPackage(action.packages.first?.description ?? action.order.definition, pass: "result of the action", reason: reason)
  }
}
