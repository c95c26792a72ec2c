// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

/// What an archive's index, or the package itself, says of one Debian package.
public struct DebianRecord: Sendable, Hashable {
  /// The package's name.
  public var name: String
  /// Debian's version, epoch and all.
  public var version: String
  /// Debian's architecture: `amd64`, `all` …
  public var architecture: String
  /// SHA-256 of the `.deb` in hexadecimal digits; empty where unknown.
  public var sha256: String
  /// The size of the `.deb` in bytes; 0 where unknown.
  public var byteCount: UInt64
  /// What it needs: one of the names of each group. Versions are left out: the solver has seen to them.
  public var dependencies: [[String]]
  /// Names that it provides besides its own.
  public var provides: [String]
  /// The first line of the description.
  public var summary: String
  /// Upstream's page.
  public var homepage: String

  /// Makes a record of the fields of a control file or index paragraph; nil when name, version or architecture is missing.
  public init?(fields: [String: String]) {
    guard let name = fields["Package"], let version = fields["Version"], let architecture = fields["Architecture"] else {
      return nil
    }
    self.name = name
    self.version = version
    self.architecture = architecture
    sha256 = fields["SHA256"] ?? ""
    byteCount = UInt64(fields["Size"] ?? "") ?? 0
    dependencies = ["Pre-Depends", "Depends"].flatMap { Self.relations(fields[$0] ?? "") }
    provides = Self.relations(fields["Provides"] ?? "").flatMap { $0 }
    let description = fields["Description"] ?? fields["Description-en"] ?? ""
    summary = description.prefix { $0 != "\n" }.split(separator: " ").joined(separator: " ")
    homepage = fields["Homepage"] ?? ""
  }

  /// Parses `a (>= 1) | b, c:any`: groups of alternatives, without versions and architectures.
  public static func relations(_ text: String) -> [[String]] {
    text.split(separator: ",").compactMap { group in
      let names = group.split(separator: "|").compactMap { alternative -> String? in
        let name = alternative.drop(while: \.isWhitespace).prefix { !$0.isWhitespace && !"(:[<".contains($0) }
        return name.isEmpty ? nil : String(name)
      }
      return names.isEmpty ? nil : names
    }
  }

  /// Parses paragraphs of `Name: value` lines, as `apt-cache show` prints them. Folded lines are joined by a newline.
  public static func paragraphs(_ text: String) -> [[String: String]] {
    var result: [[String: String]] = []
    var fields: [String: String] = [:], last: String?
    for line in text.split(separator: "\n", omittingEmptySubsequences: false) {
      if line.allSatisfy({ $0 == " " || $0 == "\r" }) {
        if !fields.isEmpty { result.append(fields) }
        fields = [:]
        last = nil
      } else if line.first == " " || line.first == "\t" {
        if let last { fields[last]?.append("\n" + line.drop { $0 == " " || $0 == "\t" }) }
      } else if let colon = line.firstIndex(of: ":") {
        let name = String(line[..<colon])
        fields[name] = String(line[line.index(after: colon)...].drop { $0 == " " || $0 == "\t" })
        last = name
      }
    }
    if !fields.isEmpty { result.append(fields) }
    return result
  }

  /// The upstream part of our version: Debian's without epoch, characters that no package name has replaced by `_`.
  public static func upstream(ofVersion version: String) -> String {
    let start = version.firstIndex(of: ":").map(version.index(after:)) ?? version.startIndex
    return String(
      version[start...].unicodeScalars.map { scalar -> Character in
        switch scalar {
        case "A"..."Z", "a"..."z", "0"..."9", ".", "+", "~", "-", "_": Character(scalar)
        default: "_"
        }
      })
  }

  /// How `apt-get download` names the file.
  public var fileName: String {
    "\(name)_\(version.split(separator: ":", omittingEmptySubsequences: false).joined(separator: "%3a"))_\(architecture).deb"
  }
}
