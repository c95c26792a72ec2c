// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

/// Where to look for later versions of a source that has no rules: what its address tells.
struct ReleasePlaces {
  /// Directories that are named after versions: `…/v7/nano-7.2.tar.xz`, `…/2.64/glib-2.64.3.tar.xz`, `…/3.14.0/fuse-3.14.0.tar.xz`.
  struct Series {
    /// The directory that holds them.
    let parent: WebAddress
    /// How they are named.
    let name: VersionedName
    /// Of the source's own.
    let version: String
  }

  /// Pages to look at, in this order.
  let pages: [WebAddress]
  let series: Series?
  private let source: WebAddress

  init(_ source: WebAddress, version: String) {
    self.source = source
    let components = source.components
    if let project = Self.project(components) {
      pages = project.map { source.with(components: $0) }
      series = nil
      return
    }
    pages = [source.directory]
    guard components.count > 1, let last = components.dropLast().last else {
      series = nil
      return
    }
    let parent = source.with(components: Array(components.dropLast(2)), isDirectory: true)
    series =
      Self.versions(of: version).lazy.compactMap { part in
        VersionedName(last, version: part).map { Series(parent: parent, name: $0, version: part) }
      }.first
  }

  /// The source in another directory of the series.
  func moved(to directory: WebAddress) -> String { directory.appending(source.components.last ?? "") }

  /// Pages of a forge: `<owner>/<project>/archive/…` has its tags, `…/releases/download/…` its releases.
  private static func project(_ components: [String]) -> [[String]]? {
    for (index, component) in components.enumerated() where index >= 2 && index < components.count - 1 {
      let project = Array(components[..<index])
      if component == "archive" { return [project + ["tags"]] }
      if component == "releases", components[index + 1] == "download" { return [project + ["releases"], project + ["tags"]] }
    }
    return nil
  }

  /// The whole version, its first two numbers, its first one.
  private static func versions(of version: String) -> [String] {
    let numbers = VersionedName.bare(version).split(separator: ".")
    return [VersionedName.bare(version), numbers.prefix(2).joined(separator: "."), numbers.prefix(1).joined(separator: ".")]
  }

  /// A path with one version replaced by another, also in directories that are named after the start of a version.
  static func replacing(_ old: String, with new: String, inPath path: String) -> String {
    let parts = path.split(separator: "/", omittingEmptySubsequences: false).map(String.init)
    let (from, to) = (versions(of: old), versions(of: new))
    return parts.enumerated().map { index, part in
      let changed = VersionedName.replacing(old, with: new, in: part)
      guard changed == part, index < parts.count - 1 else { return changed }
      for (from, to) in zip(from, to) where part == from || part == "v\(from)" { return part.hasPrefix("v") ? "v\(to)" : to }
      return part
    }.joined(separator: "/")
  }
}
