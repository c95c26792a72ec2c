// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore

/// A definition's `pull` rules, ready for use.
struct PullRules: Sendable {
  /// Finds versions on a page: its first group, or all of it.
  let expression: RegularExpression?
  let forcesSemantic: Bool
  private let replacements: [(expression: RegularExpression, text: String)]

  /// What a page says of a version.
  struct Place: Sendable, Hashable {
    /// The file's name; empty where it is not known.
    var name: String
    /// Where a link leads that ends with it.
    var address: WebAddress?
    /// Of the link's fragment.
    var sha256 = ""
  }

  /// - Throws: ``BuildError/invalidDefinition(_:line:column:reason:)`` for what is no regular expression.
  init(_ file: DefinitionFile) throws(BuildError) {
    let pull = file.definition.pull ?? Definition.Pull()
    func compiled(_ text: String, _ field: String) throws(BuildError) -> RegularExpression {
      do throws(RegularExpression.Defect) {
        return try RegularExpression(text)
      } catch {
        throw file.error(at: "pull", "\(field) «\(text.printable)» \(error)")
      }
    }
    expression = pull.releaseRegularExpression.isEmpty ? nil : try compiled(pull.releaseRegularExpression, "release_regexp")
    var replacements: [(RegularExpression, String)] = []
    for item in pull.replacements { replacements.append((try compiled(item.expression, "release_replace_all"), item.replacement)) }
    self.replacements = replacements
    forcesSemantic = pull.forcesSemanticVersions
  }

  /// The version that a text found becomes; nil where that cannot be one.
  func version(of found: String, present: String) throws(RegularExpression.Defect) -> String? {
    var text = found
    for (expression, replacement) in replacements { text = try expression.replacingMatches(in: text, with: replacement) }
    // As the present one is written.
    if present.hasPrefix("v"), text.utf8.first.map({ (0x30...0x39).contains($0) }) == true { text = "v" + text }
    guard text.utf8.count <= UpstreamVersion.maximumByteCount, text.utf8.contains(where: { (0x30...0x39).contains($0) }),
      (try? PackageID(parsing: "a-amd64-\(text)-1"))?.upstream == text
    else { return nil }
    return text
  }

  /// The versions that a page names, with what it says of each where it does.
  ///
  /// - Throws: ``BuildError/source(_:reason:)`` when an expression takes too long on this page.
  func candidates(on page: FetchedPage, source: String, present: String) throws(BuildError) -> [String: Place] {
    do throws(RegularExpression.Defect) {
      guard let expression else { return try namedCandidates(on: page, source: source, present: present) }
      var result: [String: Place] = [:]
      for groups in try expression.matches(in: String(decoding: page.bytes, as: UTF8.self)) {
        guard let found = groups.count > 1 ? groups[1] : groups[0], let version = try version(of: found, present: present) else {
          continue
        }
        result[version] = Place(name: "")
      }
      return result
    } catch {
      throw .source(page.url.withoutCredentials, reason: "a rule of pull \(error)")
    }
  }

  private func namedCandidates(
    on page: FetchedPage, source: String, present: String
  ) throws(RegularExpression.Defect) -> [String: Place] {
    let bare = UpstreamVersion(present)
    let components = source.prefix { $0 != "?" && $0 != "#" }.split(separator: "/").map(String.init)
    var result: [String: Place] = [:]
    // The file first; on the pages of a forge, then the tag that is the name of its directory.
    for (index, component) in components.suffix(2).reversed().enumerated() {
      guard let name = VersionedName(component, version: present) else { continue }
      let (links, withdrawn) = index == 0 ? links(of: page, name) : ([:], [])
      for candidate in name.candidates(in: page.bytes) where UpstreamVersion(candidate.version).resembles(bare) {
        guard !withdrawn.contains(candidate.name), let version = try version(of: candidate.version, present: present) else {
          continue
        }
        let place = index == 0 ? links[candidate.name] ?? Place(name: candidate.name) : Place(name: "")
        // An ending as the present one has it before others, and one with a link before text.
        func rank(_ place: Place) -> Int { (place.name.hasSuffix(name.suffix) ? 2 : 0) + (place.address == nil ? 0 : 1) }
        if let known = result[version], rank(known) >= rank(place) { continue }
        result[version] = place
      }
      if !result.isEmpty { return result }
    }
    return result
  }

  /// The links to files of that name, and files that upstream has withdrawn.
  private func links(of page: FetchedPage, _ name: VersionedName) -> ([String: Place], Set<String>) {
    var result: [String: Place] = [:], withdrawn: Set<String> = []
    for file in (try? PythonIndex.files(on: page)) ?? [] where file.name.hasPrefix(name.prefix) {
      if file.isYanked {
        withdrawn.insert(file.name)
      } else if result[file.name] == nil, file.address.query.isEmpty {
        // The first link of a name counts: what is in front of it is upstream's own.
        result[file.name] = Place(name: file.name, address: file.address, sha256: file.sha256)
      }
    }
    return (result, withdrawn)
  }
}

/// What stands behind the `#` of a link.
enum Fragment {
  /// Of `#sha256=…`, in lower case.
  static func sha256(of reference: String) -> String? {
    guard let start = reference.lastIndex(of: "#") else { return nil }
    for part in reference[reference.index(after: start)...].split(separator: "&") where part.hasPrefix("sha256=") {
      let digits = part.dropFirst("sha256=".count).lowercased()
      if digits.utf8.count == 64, digits.utf8.allSatisfy({ (0x30...0x39).contains($0) || (0x61...0x66).contains($0) }) {
        return digits
      }
    }
    return nil
  }
}
