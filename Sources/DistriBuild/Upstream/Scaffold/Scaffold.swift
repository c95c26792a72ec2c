// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore
import SystemPackage

/// Makes first definitions: of an archive, a Go module, a Python project, a distribution of CPAN.
public struct Scaffold: Sendable {
  /// Brings an archive; what the reference says of its hash has been checked. The second parameter is where it comes from, which may have
  /// credentials that the reference has not.
  public typealias ArchiveSource = @Sendable (SourceReference, _ location: String) async throws -> FilePath

  let pages: any PageFetcher
  let archives: ArchiveSource

  /// - Parameters:
  ///   - pages: brings indexes.
  ///   - archives: brings sources.
  public init(pages: any PageFetcher, archives: @escaping ArchiveSource) {
    self.pages = pages
    self.archives = archives
  }

  /// Of an archive: name and version come from its address, builder and description from what lies in it.
  ///
  /// - Throws: ``BuildError/source(_:reason:)`` when the address does not tell; what fetching and reading throw.
  public func draft(url: String, name: String? = nil) async throws -> DefinitionDraft {
    let upstream = try UpstreamArchive(url: url)
    let archive = try await archives(SourceReference(url: url.withoutCredentials), url)
    return try await onThread {
      var draft = DefinitionDraft(
        package: name ?? upstream.name, version: upstream.version, source: url.withoutCredentials,
        hash: try Checksum.sha256(of: archive))
      draft.builder = try UpstreamArchive.builder(for: archive)
      let survey = try SourceSurvey(archive) { $0 == ["PKG-INFO"] || $0 == ["META.json"] }
      let metadata =
        survey.files["META.json"].map { SourceMetadata(perlMetadata: $0) }
        ?? SourceMetadata(packageInformation: survey.text("PKG-INFO"))
      draft.describe(by: metadata)
      return draft
    }
  }

  /// Of an archive, to be built as another package is.
  ///
  /// - Throws: as ``draft(url:name:)``.
  public func draft(url: String, name: String? = nil, like other: DefinitionFile) async throws -> DefinitionDraft {
    var draft = try await draft(url: url, name: name)
    draft.borrowed = other.howItIsBuilt()
    return draft
  }

  /// Of a source archive of a Python project.
  ///
  /// - Parameters:
  ///   - project: such as `six` or `six==1.16.0`.
  ///   - index: the address of an index.
  /// - Throws: as ``draft(url:name:)``; ``BuildError/source(_:reason:)`` when the index has no source archive.
  public func draft(python project: String, index: String, name: String? = nil) async throws -> DefinitionDraft {
    let parts = project.split(separator: "=", omittingEmptySubsequences: true).map(String.init)
    guard let asked = parts.first, parts.count <= 2 else {
      throw BuildError.source(project, reason: "is not NAME or NAME==VERSION")
    }
    let found = try await PythonIndex(pages: pages, url: index)
      .archive(of: asked, version: parts.count == 2 ? parts[1] : nil)
    let location = found.file.address.description, source = location.withoutCredentials
    let archive = try await archives(SourceReference(url: source, hash: found.file.sha256), location)
    return try await onThread {
      let survey = try SourceSurvey(archive) { $0 == ["PKG-INFO"] || $0 == ["pyproject.toml"] }
      var metadata = SourceMetadata(packageInformation: survey.text("PKG-INFO"))
      metadata.addBuildSystem(survey.text("pyproject.toml"))
      let spelled = PythonIndex.normalized(metadata.name) == PythonIndex.normalized(asked) ? metadata.name : asked
      var draft = DefinitionDraft(
        package: name ?? "python3-\(spelled)", version: found.version, source: source, hash: try Checksum.sha256(of: archive))
      draft.describe(by: metadata)
      draft.releasesURL = found.page.withoutCredentials
      draft.builder = survey.topNames.isDisjoint(with: ["pyproject.toml", "setup.py"]) ? nil : "pythonbuilder"
      // The builder takes these where they are.
      let implied: Set<String> = ["setuptools", "wheel", "build", "installer"]
      draft.dependencies = Self.unique(
        metadata.buildNeeds.filter { !implied.contains(PythonIndex.normalized($0)) }.map { "python3-\($0)" })
      draft.runtimeDependencies = Self.unique(metadata.needs.map { "python3-\($0)" })
      draft.notes = metadata.conditionalNeeds.map { "under a condition it needs \($0)" }
      return draft
    }
  }

  /// Of the distribution of CPAN that has a module.
  ///
  /// - Parameter mirror: the address of a mirror of CPAN.
  /// - Throws: as ``draft(url:name:)``; ``BuildError/source(_:reason:)`` for a module that the mirror does not have.
  public func draft(perlModule module: String, mirror: String, name: String? = nil) async throws -> DefinitionDraft {
    let index = try await CPANIndex(pages: pages, mirror: mirror)
    guard let path = index.path(of: module), let distribution = CPANIndex.distribution(in: path), let address = WebAddress(mirror)
    else {
      throw BuildError.source(module, reason: "is not in the list of modules of \(mirror.withoutCredentials)")
    }
    let location = address.appending("authors/id/\(path)"), source = location.withoutCredentials
    let archive = try await archives(SourceReference(url: source), location)
    return try await onThread {
      let survey = try SourceSurvey(archive) { $0 == ["META.json"] }
      let metadata = survey.files["META.json"].map { SourceMetadata(perlMetadata: $0) } ?? SourceMetadata()
      var draft = DefinitionDraft(
        package: name ?? CPANIndex.packageName(of: distribution.name), version: distribution.version, source: source,
        hash: try Checksum.sha256(of: archive))
      draft.describe(by: metadata)
      let hasMakefile = survey.topNames.contains("Makefile.PL")
      if hasMakefile || survey.topNames.contains("Build.PL") { draft.builder = "perlbuilder" }
      // Many a module has flags of its own that leave out debug symbols.
      if survey.hasCode {
        let flags = hasMakefile ? ["OPTIMIZE=-g -O2"] : ["--config", "optimize=-g -O2"]
        draft.options = flags.map { .init(name: "extra_makefile_flag", value: $0) }
      }
      draft.dependencies = index.packages(of: metadata.buildNeeds + metadata.needs).filter { $0 != draft.package }
      return draft
    }
  }

  /// Each once, in their order.
  static func unique(_ names: [String]) -> [String] {
    var seen: Set<String> = []
    return names.filter { seen.insert($0).inserted }
  }
}

extension DefinitionDraft {
  fileprivate mutating func describe(by metadata: SourceMetadata) {
    license = metadata.license
    summary = metadata.summary
    homepage = metadata.homepage
  }
}
