// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import SwiftProtobuf

/// What a package says of itself: the content of its `meta.textproto`.
///
/// Format: proto2 text, message `pb.Meta`, FORMATS section 2, `docs/formats.md`. Unknown fields are ignored.
public struct PackageMetadata: Sendable, Hashable {
  /// The whole run-time closure without the package itself: no solver ever runs.
  public var runtimeDependencies: [PackageID]
  /// The definition that the package was built from; ties split packages together.
  public var sourcePackage: String
  /// `<upstream>-<revision>`.
  public var version: String
  /// Directories of other packages that this one adds entries to.
  public var runtimeUnions: [RuntimeUnion]
  /// An opaque digest of all inputs of the build; empty where unknown.
  public var inputDigest: String
  /// SPDX licence expression or upstream's words (extension 1000); empty where unknown.
  public var license: String
  /// One line that says what the package is (extension 1001); empty where unknown.
  public var summary: String
  /// Upstream's page (extension 1002); empty where unknown.
  public var homepage: String

  /// Why the package needs others, for those of ``runtimeDependencies`` that it needs itself (extension 1003); empty where unknown.
  public var dependencyReasons: [DependencyReason]
  /// Where the source came from (extension 1004); empty where unknown.
  public var sourceURL: String
  /// SHA-256 of the source's archive in hexadecimal digits (extension 1005); empty where unknown.
  public var sourceHash: String
  /// All packages that the build saw (extension 1006).
  public var buildDependencies: [PackageID]

  /// Why a package needs another.
  public struct DependencyReason: Sendable, Hashable {
    /// What is needed.
    public var package: PackageID
    /// Sentences without a full stop, such as «library libz.so.1 of out/bin/git».
    public var reasons: [String]

    /// Makes a reason.
    public init(package: PackageID, reasons: [String]) {
      self.package = package
      self.reasons = reasons
    }
  }

  /// An overlay of `out/<directory>` of this package on `out/<directory>` of another.
  public struct RuntimeUnion: Sendable, Hashable {
    /// Below `out`.
    public var directory: TreePath
    /// The package whose directory shows the union.
    public var package: PackageID

    /// Makes a union.
    public init(directory: TreePath, package: PackageID) {
      self.directory = directory
      self.package = package
    }
  }

  /// Makes metadata.
  public init(
    runtimeDependencies: [PackageID] = [], sourcePackage: String = "", version: String = "", runtimeUnions: [RuntimeUnion] = [],
    inputDigest: String = "", license: String = "", summary: String = "", homepage: String = "",
    dependencyReasons: [DependencyReason] = [], sourceURL: String = "", sourceHash: String = "", buildDependencies: [PackageID] = []
  ) {
    self.runtimeDependencies = runtimeDependencies
    self.sourcePackage = sourcePackage
    self.version = version
    self.runtimeUnions = runtimeUnions
    self.inputDigest = inputDigest
    self.license = license
    self.summary = summary
    self.homepage = homepage
    self.dependencyReasons = dependencyReasons
    self.sourceURL = sourceURL
    self.sourceHash = sourceHash
    self.buildDependencies = buildDependencies
  }

  /// The largest metadata that is read, in bytes: a closure of about 50,000 packages.
  public static let maximumByteCount = 4 << 20

  /// Parses proto text.
  ///
  /// - Parameter subject: names the file in errors.
  /// - Throws: ``StoreError/invalidMetadata(of:line:reason:)`` when it is no proto text, too large, or names what cannot be a package.
  public init(textproto bytes: [UInt8], subject: String) throws(StoreError) {
    guard bytes.count <= Self.maximumByteCount else {
      throw .invalidMetadata(of: subject, line: nil, reason: "larger than \(Self.maximumByteCount) bytes")
    }
    let message: Pb_Meta
    do {
      var options = TextFormatDecodingOptions()
      options.messageDepthLimit = 32
      options.ignoreUnknownFields = true
      options.ignoreUnknownExtensionFields = true
      guard let text = String(validating: bytes, as: UTF8.self) else {
        throw StoreError.invalidMetadata(of: subject, line: nil, reason: "not UTF-8")
      }
      message = try Pb_Meta(textFormatString: text, options: options)
    } catch let error as StoreError {
      throw error
    } catch {
      throw .invalidMetadata(of: subject, line: nil, reason: "not proto text of message pb.Meta (\(error))")
    }
    do {
      runtimeDependencies = try message.runtimeDep.map { try PackageID(parsing: $0) }
      runtimeUnions = try message.runtimeUnion.map {
        RuntimeUnion(directory: try TreePath(parsing: $0.dir), package: try PackageID(parsing: $0.pkg))
      }
      dependencyReasons = try message.depReason.map {
        DependencyReason(package: try PackageID(parsing: $0.pkg), reasons: $0.reason)
      }
      buildDependencies = try message.buildDep.map { try PackageID(parsing: $0) }
    } catch {
      throw .invalidMetadata(of: subject, line: nil, reason: "\(error)")
    }
    sourcePackage = message.sourcePkg
    version = message.version
    inputDigest = message.inputDigest
    license = message.license
    summary = message.summary
    homepage = message.homepage
    sourceURL = message.sourceURL
    sourceHash = message.sourceHash
  }

  /// Proto text, the same bytes for the same value: dependencies sorted, fields in the order of their numbers.
  public var textproto: String {
    let message = Pb_Meta.with {
      $0.runtimeDep = Set(runtimeDependencies).sorted().map(\.description)
      if !sourcePackage.isEmpty { $0.sourcePkg = sourcePackage }
      if !version.isEmpty { $0.version = version }
      $0.runtimeUnion = runtimeUnions.map { union in
        Pb_Union.with {
          $0.dir = union.directory.description
          $0.pkg = union.package.description
        }
      }
      if !inputDigest.isEmpty { $0.inputDigest = inputDigest }
      if !license.isEmpty { $0.license = license }
      if !summary.isEmpty { $0.summary = summary }
      if !homepage.isEmpty { $0.homepage = homepage }
      $0.depReason = dependencyReasons.sorted { ($0.package, $0.reasons.joined()) < ($1.package, $1.reasons.joined()) }.map {
        entry in
        Pb_DepReason.with {
          $0.pkg = entry.package.description
          $0.reason = entry.reasons
        }
      }
      if !sourceURL.isEmpty { $0.sourceURL = sourceURL }
      if !sourceHash.isEmpty { $0.sourceHash = sourceHash }
      $0.buildDep = Set(buildDependencies).sorted().map(\.description)
    }
    return message.textFormatString()
  }
}
