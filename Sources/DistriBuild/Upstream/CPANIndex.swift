// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore

/// A mirror of CPAN: `modules/02packages.details.txt.gz`, and archives below `authors/id`.
public struct CPANIndex: Sendable {
  /// Which archive has which module.
  private let text: [UInt8]
  /// Where each module's line starts.
  private let lines: [String: Int]

  /// More than CPAN has.
  static let maximumLineCount = 2_000_000

  /// Reads the text of `02packages.details.txt`.
  ///
  /// - Parameter subject: where it comes from, for errors.
  /// - Throws: ``BuildError/source(_:reason:)`` for what is no such list.
  public init(_ text: [UInt8], subject: String) throws(BuildError) {
    var lines: [String: Int] = [:], position = 0, isHeader = true, count = 0
    while position < text.count {
      let end = text[position...].firstIndex(of: UInt8(ascii: "\n")) ?? text.endIndex
      let line = text[position..<end]
      count += 1
      guard count <= Self.maximumLineCount else { throw .source(subject, reason: "has more than \(Self.maximumLineCount) lines") }
      if isHeader {
        isHeader = line.contains { $0 > 0x20 }
      } else if line.first.map({ $0 > 0x20 }) == true {
        lines[String(decoding: line.prefix { $0 > 0x20 }, as: UTF8.self)] = position
      }
      position = end + 1
    }
    guard !isHeader, !lines.isEmpty else {
      throw .source(subject, reason: "is no list of CPAN's packages: header, empty line, a line a module")
    }
    self.text = text
    self.lines = lines
  }

  /// Brings the list of a mirror.
  ///
  /// - Throws: as ``init(_:subject:)``; what bringing it throws.
  public init(pages: any PageFetcher, mirror: String) async throws {
    guard let address = WebAddress(mirror) else {
      throw BuildError.source(mirror, reason: "is no http:// or https:// URL of a mirror of CPAN")
    }
    let url = address.appending("modules/02packages.details.txt.gz")
    try self.init(try await pages.index(url), subject: url.withoutCredentials)
  }

  /// The path of the archive that has a module, below `authors/id`; nil for a module that is not there.
  public func path(of module: String) -> String? {
    guard let start = lines[module] else { return nil }
    let words = String(decoding: text[start...].prefix { $0 != UInt8(ascii: "\n") }, as: UTF8.self).split { $0.isWhitespace }
    guard words.count == 3, !words[2].split(separator: "/").contains(".."), !words[2].hasPrefix("/") else { return nil }
    return String(words[2])
  }

  /// The name of the distribution in a path, and its version: `X/XM/XML-Parser-2.46.tar.gz`.
  static func distribution(in path: String) -> (name: String, version: String)? {
    guard let file = path.split(separator: "/").last,
      let ending = [".tar.gz", ".tgz", ".zip", ".tar.bz2"].first(where: file.hasSuffix)
    else { return nil }
    let stem = file.dropLast(ending.count)
    // The last dash with a number behind it: names have numbers, too.
    for index in stem.indices.reversed() where stem[index] == "-" {
      var version = stem[stem.index(after: index)...]
      if version.first == "v" { version = version.dropFirst() }
      if version.first?.isNumber == true, index > stem.startIndex { return (String(stem[..<index]), String(version)) }
    }
    return nil
  }

  /// The packages that have modules; those of perl itself are left out, and what no mirror has.
  func packages(of modules: some Sequence<String>) -> [String] {
    var names: Set<String> = []
    for module in modules {
      guard let path = path(of: module), let name = Self.distribution(in: path)?.name, name != "perl", !Self.core.contains(name)
      else { continue }
      names.insert(Self.packageName(of: name))
    }
    return names.sorted()
  }

  static func packageName(of distribution: String) -> String { "perl-\(distribution)" }

  /// Distributions that come with perl, though CPAN has newer ones.
  private static let core = Set(
    """
    Archive-Tar Attribute-Handlers AutoLoader CPAN CPAN-Meta CPAN-Meta-Requirements CPAN-Meta-YAML Carp Compress-Raw-Bzip2 Compress-Raw-Zlib
    Config-Perl-V DB_File Data-Dumper Devel-PPPort Digest Digest-MD5 Digest-SHA Dumpvalue Encode Env Exporter ExtUtils-CBuilder ExtUtils-Constant
    ExtUtils-Install ExtUtils-MakeMaker ExtUtils-Manifest ExtUtils-ParseXS File-Fetch File-Path File-Temp Filter Filter-Simple Getopt-Long
    HTTP-Tiny I18N-Collate I18N-LangTags IO IO-Compress IO-Socket-IP IO-Zlib IPC-Cmd IPC-SysV JSON-PP Locale-Maketext Locale-Maketext-Simple
    MIME-Base64 Math-BigInt Math-BigInt-FastCalc Math-BigRat Memoize Module-CoreList Module-Load Module-Load-Conditional Module-Loaded
    Module-Metadata NEXT Net-Ping Params-Check PathTools Perl-OSType PerlIO-via-QuotedPrint Pod-Checker Pod-Escapes Pod-Perldoc Pod-Simple
    Pod-Usage Safe Scalar-List-Utils Search-Dict SelfLoader Socket Storable Sys-Syslog Term-ANSIColor Term-Cap Term-Complete Term-ReadLine Test
    Test-Harness Test-Simple Text-Abbrev Text-Balanced Text-ParseWords Text-Tabs+Wrap Thread-Queue Thread-Semaphore Tie-File Tie-RefHash
    Time-HiRes Time-Local Time-Piece Unicode-Collate Unicode-Normalize autodie autouse base bignum constant experimental if lib libnet parent
    perlfaq podlators threads threads-shared version
    """.split { $0.isWhitespace }.map(String.init))
}
