// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

/// What a source says of itself in `PKG-INFO` (Python) or `META.json` (Perl).
public struct SourceMetadata: Sendable, Hashable {
  /// As the project spells it; empty where it does not say.
  public var name = ""
  /// SPDX; empty where it does not say, or not in words that mean one licence.
  public var license = ""
  /// One line.
  public var summary = ""
  /// Upstream's page.
  public var homepage = ""
  /// Projects or modules that it needs to run.
  public var needs: [String] = []
  /// What it needs to be built.
  public var buildNeeds: [String] = []
  /// What it needs under conditions that are not looked into, as it says it.
  public var conditionalNeeds: [String] = []

  /// Nothing.
  public init() {}

  /// The most needs that are taken.
  private static let maximumNeedCount = 1000

  /// Reads `PKG-INFO`: core metadata of a Python project.
  public init(packageInformation text: String) {
    var classifiers: [String] = [], freeLicense = "", urls: [String: String] = [:]
    for (field, value) in Self.headers(text) {
      switch field {
      case "name": name = value
      case "summary": summary = value == "UNKNOWN" ? "" : value
      case "home-page": urls["home-page"] = value
      case "project-url":
        let parts = value.split(separator: ",", maxSplits: 1).map { $0.drop(while: \.isWhitespace) }
        if parts.count == 2 { urls[parts[0].lowercased()] = String(parts[1]) }
      case "license-expression": license = Self.isExpression(value) ? value : ""
      case "license": freeLicense = value
      case "classifier": classifiers.append(value)
      case "requires-dist" where needs.count + conditionalNeeds.count < Self.maximumNeedCount: addRequirement(value)
      default: break
      }
    }
    homepage = Self.address(["home-page", "homepage", "home page", "source", "repository"].compactMap { urls[$0] })
    if license.isEmpty { license = Licenses.ofPython(freeLicense, classifiers) }
  }

  /// `name (>=1) ; marker`.
  private mutating func addRequirement(_ value: String) {
    let parts = value.split(separator: ";", maxSplits: 1)
    guard let first = parts.first, let name = Self.project(String(first)) else { return }
    if parts.count == 1 {
      needs.append(name)
    } else if !parts[1].contains("extra") {
      conditionalNeeds.append(value)
    }
  }

  /// The name at the start of a requirement.
  static func project(_ requirement: String) -> String? {
    let name = requirement.drop(while: \.isWhitespace).prefix { $0.isASCII && ($0.isLetter || $0.isNumber || "-_.".contains($0)) }
    return name.isEmpty || name.utf8.count > 100 ? nil : String(name)
  }

  /// The fields in front of the first empty line, with what is folded below them.
  private static func headers(_ text: String) -> [(String, String)] {
    var result: [(String, String)] = []
    for line in text.split(omittingEmptySubsequences: false, whereSeparator: \.isNewline) {
      if line.isEmpty { break }
      if line.first == " " || line.first == "\t" { continue }
      guard let colon = line.firstIndex(of: ":") else { continue }
      let value = line[line.index(after: colon)...].drop(while: \.isWhitespace)
      result.append((line[..<colon].lowercased(), DefinitionDraft.oneLine(String(value))))
    }
    return result
  }

  /// Reads `requires` of `[build-system]` in a `pyproject.toml`: strings in brackets.
  mutating func addBuildSystem(_ text: String) {
    var isInside = false, isList = false
    for line in text.split(whereSeparator: \.isNewline) {
      let words = line.drop(while: \.isWhitespace)
      if words.hasPrefix("["), !isList { isInside = words.hasPrefix("[build-system]") }
      if isInside, words.hasPrefix("requires"), words.dropFirst("requires".count).drop(while: \.isWhitespace).hasPrefix("=") {
        isList = true
      }
      guard isList else { continue }
      for quote in ["\"", "'"] as [Character] {
        for (index, part) in words.split(separator: quote, omittingEmptySubsequences: false).enumerated() where index % 2 == 1 {
          if let name = Self.project(String(part)), buildNeeds.count < Self.maximumNeedCount { buildNeeds.append(name) }
        }
      }
      if words.contains("]"), !words.hasSuffix("[") { isList = false }
    }
  }

  /// Reads `META.json` of a Perl distribution. What does not parse says nothing.
  public init(perlMetadata bytes: [UInt8]) {
    guard let meta = try? JSONValue(bytes) else { return }
    name = meta["name"]?.string ?? ""
    summary = meta["abstract"]?.string.map(DefinitionDraft.oneLine) ?? ""
    if summary == "unknown" { summary = "" }
    license = Licenses.ofPerl(meta["license"]?.list?.compactMap(\.string) ?? [])
    let resources = meta["resources"]
    homepage = Self.address([resources?["homepage"]?.string, resources?["repository"]?["web"]?.string].compactMap { $0 })
    func modules(_ phase: String) -> [String] {
      Array((meta["prereqs"]?[phase]?["requires"]?.members ?? [:]).keys.sorted().prefix(Self.maximumNeedCount))
    }
    needs = modules("runtime")
    buildNeeds = modules("configure") + modules("build")
  }

  /// The first that is an address.
  private static func address(_ texts: [String]) -> String {
    texts.lazy.compactMap { WebAddress($0)?.withoutCredentials.description }.first ?? ""
  }

  private static func isExpression(_ text: String) -> Bool {
    text.unicodeScalars.allSatisfy { RegularExpressionParser.isWord($0) || "-.+() ".unicodeScalars.contains($0) }
  }
}

/// The names that projects have for licences, in SPDX. Words that may mean several are left out.
private enum Licenses {
  private static let ofClassifiers = [
    "MIT License": "MIT", "Apache Software License": "Apache-2.0", "ISC License (ISCL)": "ISC", "Zope Public License": "ZPL-2.1",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0", "Python Software Foundation License": "PSF-2.0",
    "The Unlicense (Unlicense)": "Unlicense",
    "GNU General Public License v2 (GPLv2)": "GPL-2.0-only", "GNU General Public License v2 or later (GPLv2+)": "GPL-2.0-or-later",
    "GNU General Public License v3 (GPLv3)": "GPL-3.0-only", "GNU General Public License v3 or later (GPLv3+)": "GPL-3.0-or-later",
    "GNU Lesser General Public License v2 or later (LGPLv2+)": "LGPL-2.0-or-later",
    "GNU Lesser General Public License v3 (LGPLv3)": "LGPL-3.0-only",
    "GNU Lesser General Public License v3 or later (LGPLv3+)": "LGPL-3.0-or-later",
  ]

  private static let ofWords = [
    "mit": "MIT", "mit license": "MIT", "apache 2.0": "Apache-2.0", "apache-2.0": "Apache-2.0", "apache license 2.0": "Apache-2.0",
    "apache license, version 2.0": "Apache-2.0", "bsd-2-clause": "BSD-2-Clause", "bsd-3-clause": "BSD-3-Clause",
    "3-clause bsd": "BSD-3-Clause", "new bsd": "BSD-3-Clause", "isc": "ISC", "mpl-2.0": "MPL-2.0", "mpl 2.0": "MPL-2.0",
    "psf": "PSF-2.0",
    "gpl-2.0-only": "GPL-2.0-only", "gpl-2.0-or-later": "GPL-2.0-or-later", "gpl-3.0-only": "GPL-3.0-only",
    "gpl-3.0-or-later": "GPL-3.0-or-later", "zlib": "Zlib", "unlicense": "Unlicense",
  ]

  /// The words first where they mean one licence: classifiers know no versions of some.
  static func ofPython(_ words: String, _ classifiers: [String]) -> String {
    if let known = ofWords[words.lowercased()] { return known }
    let start = "License :: OSI Approved :: "
    let known = classifiers.filter { $0.hasPrefix(start) }.map { ofClassifiers[String($0.dropFirst(start.count))] }
    let names = known.compactMap { $0 }
    // Several may mean «or» as well as «and».
    return known.count == 1 && names.count == 1 ? names[0] : ""
  }

  private static let ofPerl = [
    "perl_5": "Artistic-1.0-Perl OR GPL-1.0-or-later", "artistic_1": "Artistic-1.0", "artistic_2": "Artistic-2.0",
    "apache_2_0": "Apache-2.0",
    "mit": "MIT", "bsd": "BSD-3-Clause", "freebsd": "BSD-2-Clause", "gpl_1": "GPL-1.0-only", "gpl_2": "GPL-2.0-only",
    "gpl_3": "GPL-3.0-only",
    "lgpl_2_1": "LGPL-2.1-only", "lgpl_3_0": "LGPL-3.0-only", "agpl_3": "AGPL-3.0-only", "mozilla_1_1": "MPL-1.1", "zlib": "Zlib",
    "openssl": "OpenSSL", "qpl_1_0": "QPL-1.0", "sun": "SISSL", "ssleay": "OpenSSL",
  ]

  /// Several mean a choice, as CPAN has it.
  static func ofPerl(_ names: [String]) -> String {
    let known = names.map { ofPerl[$0] }
    guard !known.contains(nil) else { return "" }
    return known.compactMap { $0 }.joined(separator: " OR ")
  }
}
