// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore

/// What a package is made of, as an SPDX 2.3 document: its files, its source, what it needs to run and what it was built with.
///
/// The same package gives the same document: its date is that of the source.
public struct BillOfMaterials: Sendable {
  /// The document as JSON.
  public let json: String

  /// Reads a package of a store; what it depends on need not be there.
  ///
  /// - Throws: ``StoreError``; ``BuildError/system(operation:path:_:)``.
  public init(of package: PackageID, in store: some PackageCatalog & ImageSource) async throws {
    let metadata = try await store.metadata(of: package)
    let image = try await store.image(of: package)
    var known: [PackageID: PackageMetadata] = [:]
    for other in Set(metadata.runtimeDependencies + metadata.buildDependencies) {
      known[other] = try? await store.metadata(of: other)
    }
    json = try await onThread { [known] in
      let document = Document(
        package: package, metadata: metadata, files: try PackagedFile.all(in: image),
        date: try image.attributes(of: image.root).modificationTime, digest: try Checksum.sha256(of: image.path), others: known)
      return document.json.text
    }
  }
}

/// The parts of the document.
private struct Document {
  let package: PackageID
  let metadata: PackageMetadata
  let files: [PackagedFile]
  /// In seconds since 1970.
  let date: Int64
  /// SHA-256 of the image.
  let digest: String
  /// The packages that this one depends on, as far as the store has them.
  let others: [PackageID: PackageMetadata]

  var json: JSONText {
    let dependencies = Set(metadata.runtimeDependencies + metadata.buildDependencies).sorted()
    return .object(
      ("spdxVersion", .string("SPDX-2.3")), ("dataLicense", .string("CC0-1.0")), ("SPDXID", .string("SPDXRef-DOCUMENT")),
      ("name", .string("\(package)")),
      ("documentNamespace", .string("https://spdx.org/spdxdocs/\(Self.escaped("\(package)"))-\(digest)")),
      (
        "creationInfo",
        .object(("created", .string(Self.text(ofDate: date))), ("creators", .list([.string("Tool: distri-build")])))
      ),
      ("packages", .list([ownPackage] + dependencies.map(other))), ("files", .list(files.enumerated().map(file))),
      ("relationships", .list(relationships)))
  }

  // MARK: Packages

  private var ownPackage: JSONText {
    let license = metadata.license, isExpression = Self.isLicenseExpression(license)
    let words = license.isEmpty || isExpression ? nil : JSONText.string("The package says: \(license)")
    return .object(
      ("name", .string(package.name)), ("SPDXID", .string(Self.identifier(of: package))), ("versionInfo", .string(package.version)),
      ("downloadLocation", .string(Self.downloadLocation(of: metadata))), ("filesAnalyzed", .flag(!files.isEmpty)),
      (
        "packageVerificationCode",
        files.isEmpty ? nil : .object(("packageVerificationCodeValue", .string(PackagedFile.verificationCode(of: files))))
      ),
      ("checksums", Self.checksums(of: metadata)),
      ("homepage", Self.isWeb(metadata.homepage) ? .string(metadata.homepage) : nil),
      ("summary", metadata.summary.isEmpty ? nil : .string(metadata.summary)),
      ("licenseConcluded", .string("NOASSERTION")), ("licenseDeclared", .string(isExpression ? license : "NOASSERTION")),
      ("licenseComments", words), ("copyrightText", .string("NOASSERTION")), ("externalRefs", Self.references(package, metadata)))
  }

  private func other(_ package: PackageID) -> JSONText {
    let metadata = others[package] ?? PackageMetadata()
    return .object(
      ("name", .string(package.name)), ("SPDXID", .string(Self.identifier(of: package))), ("versionInfo", .string(package.version)),
      ("downloadLocation", .string(Self.downloadLocation(of: metadata))), ("filesAnalyzed", .flag(false)),
      ("checksums", Self.checksums(of: metadata)), ("licenseConcluded", .string("NOASSERTION")),
      ("licenseDeclared", .string(Self.isLicenseExpression(metadata.license) ? metadata.license : "NOASSERTION")),
      ("copyrightText", .string("NOASSERTION")), ("externalRefs", Self.references(package, metadata)))
  }

  private static func isWeb(_ url: String) -> Bool {
    ["http://", "https://"].contains { url.lowercased().hasPrefix($0) } && url.utf8.allSatisfy { (0x21...0x7e).contains($0) }
  }

  private static func downloadLocation(of metadata: PackageMetadata) -> String {
    if isWeb(metadata.sourceURL) { return metadata.sourceURL }
    return metadata.sourceURL.lowercased().hasPrefix("empty://") ? "NONE" : "NOASSERTION"
  }

  private static func checksums(of metadata: PackageMetadata) -> JSONText? {
    let hash = metadata.sourceHash.lowercased()
    guard isWeb(metadata.sourceURL), hash.utf8.count == 64, hash.allSatisfy(\.isHexDigit) else { return nil }
    return .list([.object(("algorithm", .string("SHA256")), ("checksumValue", .string(hash)))])
  }

  private static func references(_ package: PackageID, _ metadata: PackageMetadata) -> JSONText {
    var locator = "pkg:generic/\(escaped(package.name))@\(escaped(package.version))?arch=\(package.architecture)"
    if checksums(of: metadata) != nil { locator += "&checksum=sha256:\(metadata.sourceHash.lowercased())" }
    if isWeb(metadata.sourceURL) { locator += "&download_url=\(escaped(metadata.sourceURL))" }
    return .list([
      .object(
        ("referenceCategory", .string("PACKAGE-MANAGER")), ("referenceType", .string("purl")),
        ("referenceLocator", .string(locator)))
    ])
  }

  // MARK: Files and relationships

  private func file(_ index: Int, _ file: PackagedFile) -> JSONText {
    .object(
      ("fileName", .string("./\(file.path.description.printable)")), ("SPDXID", .string("SPDXRef-File-\(index + 1)")),
      (
        "checksums",
        .list([
          .object(("algorithm", .string("SHA1")), ("checksumValue", .string(file.sha1))),
          .object(("algorithm", .string("SHA256")), ("checksumValue", .string(file.sha256))),
        ])
      ),
      ("licenseConcluded", .string("NOASSERTION")), ("licenseInfoInFiles", .list([.string("NOASSERTION")])),
      ("copyrightText", .string("NOASSERTION")))
  }

  private var relationships: [JSONText] {
    func relation(_ from: String, _ type: String, _ to: String, comment: String? = nil) -> JSONText {
      .object(
        ("spdxElementId", .string(from)), ("relationshipType", .string(type)), ("relatedSpdxElement", .string(to)),
        ("comment", comment.map(JSONText.string)))
    }
    let own = Self.identifier(of: package)
    let reasons = Dictionary(metadata.dependencyReasons.map { ($0.package, $0.reasons.joined(separator: "; ")) }) { first, _ in
      first
    }
    var result = [relation("SPDXRef-DOCUMENT", "DESCRIBES", own)]
    result += files.indices.map { relation(own, "CONTAINS", "SPDXRef-File-\($0 + 1)") }
    result += Set(metadata.runtimeDependencies).sorted().map {
      relation(own, "DEPENDS_ON", Self.identifier(of: $0), comment: reasons[$0])
    }
    result += Set(metadata.buildDependencies).sorted().map { relation(Self.identifier(of: $0), "BUILD_DEPENDENCY_OF", own) }
    return result
  }

  // MARK: Texts

  /// Letters, digits, `.` and `-` are all that an identifier may have.
  private static func identifier(of package: PackageID) -> String {
    "SPDXRef-Package-"
      + "\(package)".unicodeScalars.map { scalar in
        switch scalar {
        case "A"..."Z", "a"..."z", "0"..."9", ".", "-": String(scalar)
        default: "-x\(String(scalar.value, radix: 16))-"
        }
      }.joined()
  }

  /// As part of a URL.
  private static func escaped(_ text: String) -> String {
    text.utf8.map { byte in
      switch byte {
      case UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "0")...UInt8(ascii: "9"),
        UInt8(ascii: "."), UInt8(ascii: "-"), UInt8(ascii: "_"), UInt8(ascii: "~"):
        String(UnicodeScalar(byte))
      default: "%" + (byte < 16 ? "0" : "") + String(byte, radix: 16).uppercased()
      }
    }.joined()
  }

  /// Whether words are built as SPDX's licence expressions are: identifiers joined by AND, OR and WITH.
  static func isLicenseExpression(_ text: String) -> Bool {
    var depth = 0, expectsIdentifier = true
    for word in text.replacing("(", with: " ( ").replacing(")", with: " ) ").split(separator: " ") {
      switch word {
      case "(" where expectsIdentifier: depth += 1
      case ")" where !expectsIdentifier && depth > 0: depth -= 1
      case "AND" where !expectsIdentifier, "OR" where !expectsIdentifier, "WITH" where !expectsIdentifier: expectsIdentifier = true
      case _ where expectsIdentifier && !["(", ")", "AND", "OR", "WITH"].contains(word):
        guard
          word.utf8.allSatisfy({
            $0 < 0x80
              && (Character(UnicodeScalar($0)).isLetter || Character(UnicodeScalar($0)).isNumber || ".-+:".utf8.contains($0))
          })
        else { return false }
        expectsIdentifier = false
      default: return false
      }
    }
    return depth == 0 && !expectsIdentifier
  }

  /// As in 2018-03-04T05:06:07Z.
  static func text(ofDate seconds: Int64) -> String {
    let days = Int(max(0, seconds) / 86400), rest = Int(max(0, seconds) % 86400)
    // Days since 0000-03-01, so that the leap day is the last of a year; eras have 400 years.
    let shifted = days + 719_468
    let era = shifted / 146_097, day = shifted % 146_097
    let year = (day - day / 1460 + day / 36524 - day / 146_096) / 365
    let dayOfYear = day - (365 * year + year / 4 - year / 100)
    let month = (5 * dayOfYear + 2) / 153
    func two(_ number: Int) -> String { (number < 10 ? "0" : "") + String(number) }
    let calendarMonth = month < 10 ? month + 3 : month - 9
    let calendarYear = String(year + era * 400 + (calendarMonth <= 2 ? 1 : 0))
    let padded = String(repeating: "0", count: max(0, 4 - calendarYear.utf8.count)) + calendarYear
    let date = "\(padded)-\(two(calendarMonth))-\(two(dayOfYear - (153 * month + 2) / 5 + 1))"
    return "\(date)T\(two(rest / 3600)):\(two(rest / 60 % 60)):\(two(rest % 60))Z"
  }
}
