// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore

/// Looks for the newest upstream version of a definition, by its `pull` rules; without rules, where its source comes from.
///
/// ```swift
/// let search = UpstreamSearch(pages: pages)
/// if case .newer(let release) = try await search.newest(of: file) { … }
/// ```
///
/// May be used by several tasks; an index of Debian is brought once.
public struct UpstreamSearch: Sendable {
  /// What was found.
  public enum Outcome: Sendable, Hashable {
    /// Nothing newer than what the definition has.
    case current
    /// The source has no upstream; why, as the rest of a sentence.
    case none(String)
    /// A newer version.
    case newer(Release)
  }

  /// A version of upstream's.
  public struct Release: Sendable, Hashable {
    /// Without revision.
    public var version: String
    /// What the definition's `source` becomes.
    public var source: String
    /// Where the source is brought from; with the module scheme, from the module proxy.
    public var location: String
    /// SHA-256 as the index has it; empty where nobody says.
    public var sha256 = ""
  }

  let pages: any PageFetcher
  let goProxy: String?
  let indexes: DebianIndexes

  /// - Parameters:
  ///   - pages: brings pages.
  ///   - goProxy: the module proxy, a URL or a directory of its layout.
  ///   - debianIndexes: files `Packages` or `Sources` of archives in which names of Debian packages are looked up.
  public init(pages: any PageFetcher, goProxy: String? = nil, debianIndexes: [String] = []) {
    self.pages = pages
    self.goProxy = goProxy
    indexes = DebianIndexes(pages: pages, urls: debianIndexes)
  }

  /// Looks for a newer version.
  ///
  /// - Throws: ``BuildError/source(_:reason:)`` when nothing can be found out; ``BuildError/invalidDefinition(_:line:column:reason:)`` for rules that
  ///   make no sense; what bringing pages throws.
  public func newest(of file: DefinitionFile) async throws -> Outcome {
    let definition = file.definition
    let reference = SourceReference(url: definition.source)
    let present = try definition.package(for: .amd64).upstream
    let pull = definition.pull ?? Definition.Pull()
    if !pull.debianPackages.isEmpty {
      return .init(try await debianRelease(of: file, pull, present: present))
    }
    switch reference.scheme {
    case "empty": return .none("it has no source")
    case "distriroot": return .none("its source is the working copy")
    case "distri+source": return .none("its source is that of another definition")
    case GoModule.scheme where pull.releasesURL.isEmpty: return .init(try await moduleRelease(of: definition))
    default: break
    }
    guard !pull.releasesURL.isEmpty || WebAddress(definition.source) != nil else {
      throw file.error(
        at: "source", "the source has no address, and no pull rule says where releases are announced; add pull { releases_url: … }")
    }
    return .init(try await pageRelease(of: file, pull, present: present))
  }

  private func moduleRelease(of definition: Definition) async throws -> Release? {
    let module = try GoModule(url: definition.source)
    let proxy = ModuleProxy(pages: pages, url: goProxy)
    guard let version = try await proxy.newest(of: module.path, after: module.version) else { return nil }
    let source = "\(GoModule.scheme)://\(module.path)@\(version)"
    return Release(version: version, source: source, location: source)
  }

  private func pageRelease(of file: DefinitionFile, _ pull: Definition.Pull, present: String) async throws -> Release? {
    let rules = try PullRules(file)
    let source = WebAddress(file.definition.source)
    if !pull.releasesURL.isEmpty {
      guard let address = WebAddress(pull.releasesURL) else {
        throw file.error(at: "pull", "releases_url «\(pull.releasesURL.printable)» is no http:// or https:// URL")
      }
      return try await release(on: [address], rules, file, present: present)
    }
    guard let source else { return nil }
    let places = ReleasePlaces(source, version: present)
    if rules.expression == nil, let series = places.series {
      for directory in try await newestDirectories(series) {
        let moved = places.moved(to: directory)
        // One that has nothing of this name is as good as none.
        if let release = try? await release(on: [directory], rules, file, present: present, names: moved) { return release }
      }
    }
    return try await release(on: places.pages, rules, file, present: present)
  }

  /// Directories beside the source's own that are named after later versions, the last first: a few. None where they cannot be listed.
  private func newestDirectories(_ series: ReleasePlaces.Series) async throws -> [WebAddress] {
    guard let page = try? await pages.page(series.parent.description), let base = WebAddress(page.url) else { return [] }
    var found: [String: WebAddress] = [:]
    for link in PageLinks(page.bytes) {
      guard let address = base.resolving(link.reference), address.path.hasSuffix("/"), let name = address.components.last,
        address.components.count == base.components.count + 1, address.authority == base.authority,
        let version = series.name.candidates(in: Array(name.utf8)).first, version.name == name
      else { continue }
      found[version.version] = series.parent.with(components: series.parent.components + [name], isDirectory: true)
    }
    var result: [WebAddress] = []
    var rest = Set(found.keys)
    while result.count < 3, let next = UpstreamVersion.newest(of: rest, after: series.version), let address = found[next] {
      result.append(address)
      rest.remove(next)
    }
    return result
  }

  /// - Parameter names: what to look for instead of the source's own name.
  private func release(
    on addresses: [WebAddress], _ rules: PullRules, _ file: DefinitionFile, present: String, names: String? = nil
  ) async throws -> Release? {
    let source = names ?? file.definition.source
    var failure: (any Error)?
    for address in addresses {
      let page: FetchedPage
      do { page = try await pages.page(address.description) } catch {
        // The next one may be there.
        failure = failure ?? error
        continue
      }
      let found = try await onThread { try rules.candidates(on: page, source: source, present: present) }
      guard !found.isEmpty else { continue }
      guard let version = UpstreamVersion.newest(of: found.keys, after: present, forcesSemantic: rules.forcesSemantic) else {
        return nil
      }
      var place = found[version]
      // The source's own directory is where it is called so; a redirect may have led to some mirror.
      if address == WebAddress(source)?.directory { place?.address = nil }
      return try Self.release(version, place, file, source: source, present: present)
    }
    if let failure { throw failure }
    let place = addresses.map { $0.withoutCredentials.description }.joined(separator: " and ")
    throw BuildError.source(
      place, reason: "names no version that is like the present one, \(present); give the definition pull rules (release_regexp)")
  }

  /// - Parameter link: where the page says that it is.
  private static func release(
    _ version: String, _ link: PullRules.Place?, _ file: DefinitionFile, source: String, present: String
  ) throws -> Release {
    let old = WebAddress(source)
    if let link, let address = link.address, old?.scheme != "https" || address.scheme == "https" {
      let text = address.withoutCredentials.description
      return Release(version: version, source: text, location: address.description, sha256: link.sha256)
    }
    var new = VersionedName.replacing(present, with: version, in: source)
    if let old {
      new = "\(old.scheme)://\(old.authority)\(ReleasePlaces.replacing(present, with: version, inPath: old.path))\(old.query)"
      // Another ending than before.
      if let name = link?.name, !name.isEmpty, let last = WebAddress(new)?.components.last, name != last {
        new = String(new.dropLast(last.count)) + name
      }
    }
    guard new != source else {
      throw file.error(at: "source", "the source does not say the version \(present), so that that of \(version) is not known")
    }
    return Release(version: version, source: new, location: new, sha256: link?.sha256 ?? "")
  }
}

extension UpstreamSearch.Outcome {
  fileprivate init(_ release: UpstreamSearch.Release?) { self = release.map(Self.newer) ?? .current }
}
