// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import DistriBuild

@Suite struct UpstreamTextTests {
  @Test(arguments: [
    ("c-1.tar.gz", "http://h:1/a/b/c-1.tar.gz"), ("/x", "http://h:1/x"), ("//o/x", "http://o/x"), ("../x?y#z", "http://h:1/a/x?y"),
    ("../../../x", "http://h:1/x"), ("./", "http://h:1/a/b/"), ("https://o/", "https://o/"), ("?C=N", "http://h:1/a/b/p?C=N"),
    ("..", "http://h:1/a/"),
  ])
  func `links lead where browsers would go`(reference: String, expected: String) throws {
    let page = try #require(WebAddress("http://h:1/a/b/p?q"))
    #expect(page.resolving(reference)?.description == expected)
  }

  @Test(arguments: [
    "file:///etc/passwd", "javascript:x", "#top", "", "mailto:a@b", "ftp://x/y", "a b", "a\nb", String(repeating: "a", count: 5000),
  ])
  func `links out of HTTP lead nowhere`(reference: String) throws {
    #expect(try #require(WebAddress("http://h/")).resolving(reference) == nil)
  }

  @Test func `addresses are shown without credentials`() {
    #expect("http://user:secret@h/x?y".withoutCredentials == "http://h/x?y")
    #expect("/a/b".withoutCredentials == "/a/b")
  }

  @Test func `links are found in sloppy pages`() {
    let page = """
      <A class=x HREF = "a&amp;b&#x41;&#66;&bogus;">x</a><!-- <a href="no"> --><a href='c' data-yanked><a name=y><abbr href=z><a
      href=d>text<a href="open
      """
    let links = Array(PageLinks(Array(page.utf8)))
    #expect(links.map(\.reference) == ["a&bAB&bogus;", "c", "d", "open"])
    #expect(links[1].attributes == ["data-yanked"])
  }

  @Test func `JSON is read, and where it is none is said`() throws {
    let value = try JSONValue(Array(#" {"a": [1, -2.5e3, true, null], "b": "\u00e9\ud83d\ude00\n\/"} "#.utf8))
    #expect(value["a"]?.list == [.number("1"), .number("-2.5e3"), .flag(true), .null] && value["b"]?.string == "é😀\n/")
    for (text, offset) in [
      ("{\"a\" 1}", 5), ("[1,]", 3), ("\"a", 0), ("[\"\\ud800\"]", 8), ("{} x", 3), ("", 0),
      (String(repeating: "[", count: 100), 65),
      ("\"\u{1}\"", 1),
    ] {
      #expect(throws: (any Error).self, "\(text)") { try JSONValue(Array(text.utf8)) }
      do throws(TextDefect) { _ = try JSONValue(Array(text.utf8)) } catch { #expect(error.offset == offset, "\(text): \(error)") }
    }
  }

  @Test(arguments: [
    ("nano-7.2.tar.xz", "7.2", "nano-8.0.tar.xz nano-8.1.tar.gz.asc libnano-9.tar.xz nano-8.2.zip-x nano-.tar.xz", ["8.0", "8.1"]),
    ("boost_1_69_0.tar.bz2", "1.69.0", "boost_1_70_0.tar.bz2", ["1.70.0"]),
    ("v1.9.4.tar.gz", "1.9.4", "/v1.9.5.tar.gz\" xv2.0.tar.gz", ["1.9.5"]),
    ("1.2.tar.gz", "1.2", ">1.3.tar.gz< a1.4.tar.gz", ["1.3"]), ("fuse-3.14.0", "3.14.0", "tag/fuse-3.16.2\"", ["3.16.2"]),
    ("libXrender-0.9.10.tar.bz2", "0.9.10", "libXrender-0.9.11.tar.xz", ["0.9.11"]),
    ("v2.0.tar.gz", "v2.0", "v2.1.tar.gz", ["2.1"]),
  ])
  func `other versions of a name are found in a page`(name: String, version: String, page: String, expected: [String]) throws {
    let name = try #require(VersionedName(name, version: version))
    #expect(name.candidates(in: Array(page.utf8)).map(\.version) == expected)
  }

  @Test(arguments: [
    ("http://h/dist/v7/nano-7.2.tar.xz", "7.2", "8.0", "/dist/v8/nano-8.0.tar.xz"),
    ("http://h/sources/glib/2.64/glib-2.64.3.tar.xz", "2.64.3", "2.66.0", "/sources/glib/2.66/glib-2.66.0.tar.xz"),
    ("http://h/NSS_3_51_1_RTM/src/nss-3.51.1.tar.gz", "3.51.1", "3.52", "/NSS_3_52_RTM/src/nss-3.52.tar.gz"),
    ("http://h/o/archive/v1.9.4.tar.gz", "1.9.4", "1.10.0", "/o/archive/v1.10.0.tar.gz"),
    ("http://h/1/x11-1.tar.gz", "1", "2", "/2/x11-2.tar.gz"), ("http://h/m/v2.0.zip", "v2.0", "v2.1", "/m/v2.1.zip"),
  ])
  func `a path says the new version wherever it said the old one`(source: String, old: String, new: String, expected: String) throws
  {
    #expect(ReleasePlaces.replacing(old, with: new, inPath: try #require(WebAddress(source)).path) == expected)
  }

  @Test func `a go.mod says what it requires`() throws {
    let text = """
      module "example.org/a" // comment
      go 1.21
      require b.org/x v1.2.3 // indirect
      require (
      \tc.org/Y/v2 v2.0.0
      \t"d.org/z" v0.0.0-20180314180146-1d60e4601c6f
      )
      replace b.org/x => ../x
      exclude ( c.org/Y/v2 v2.0.1
      )
      """
    let modules = try GoModuleFile(Array(text.utf8), of: "a").requirements
    #expect(
      modules.map { "\($0.path)@\($0.version)" } == [
        "b.org/x@v1.2.3", "c.org/Y/v2@v2.0.0", "d.org/z@v0.0.0-20180314180146-1d60e4601c6f",
      ])
    do {
      _ = try GoModuleFile(Array("module a\nrequire ../x v1\n".utf8), of: "a@v1")
      Issue.record("it was taken")
    } catch {
      #expect("\(error)" == "a@v1: line 2 of its go.mod requires no module with a version")
    }
    #expect(GoModule.packageName(of: "github.com/google/go-cmp") == "go-github.com-google-go--cmp")
  }

  @Test func `a list of CPAN's modules says where they are`() throws {
    let text =
      "File: x\nLines: 3\n\nXML::Parser 2.46 T/TO/TODDR/XML-Parser-2.46.tar.gz\nFile::Spec 3.7 X/XS/XSAWYERX/PathTools-3.75.tar.gz\nEvil 1 ../../x-1.tar.gz\n"
    let index = try CPANIndex(Array(text.utf8), subject: "mirror")
    #expect(index.path(of: "XML::Parser") == "T/TO/TODDR/XML-Parser-2.46.tar.gz")
    #expect(index.path(of: "XML") == nil && index.path(of: "Evil") == nil && index.path(of: "File:") == nil)
    #expect(index.packages(of: ["File::Spec", "XML::Parser", "Nothing", "perl"]) == ["perl-XML-Parser"])
    for text in ["", "a b c\n", "\n\n"] { #expect(throws: BuildError.self) { try CPANIndex(Array(text.utf8), subject: "mirror") } }
    for (path, name, version) in [
      ("A/B/IO-Socket-SSL-2.085.tar.gz", "IO-Socket-SSL", "2.085"), ("A/x-v1.2.3.tgz", "x", "1.2.3"), ("a-2-b-3.zip", "a-2-b", "3"),
    ] {
      let found = CPANIndex.distribution(in: path)
      #expect(found?.name == name && found?.version == version)
    }
  }

  @Test func `the newest version of a package is found in an index of Debian`() throws {
    let text = """
      Package: a
      Version: 1.9-1
      Filename: pool/a_1.9-1_amd64.deb
      SHA256: 00

      Package: a
      Version: 1:1.10-1
      Filename: pool/a_1.10-1_amd64.deb

      Package: b
      Version: 5.4.1-0.2
      Directory: pool/main/b
      Checksums-Sha256:
       11 5 b_5.4.1-0.2.dsc
       22 6 b_5.4.1.orig-docs.tar.gz
       33 7 b_5.4.1.orig.tar.xz
       44 8 b_5.4.1.orig.tar.xz.asc
       55 9 b_5.4.1-0.2.debian.tar.xz

      Package: c
      Binary: c
      """
    let index = try DebianIndex(Array(text.utf8), subject: "index")
    #expect(try index.newest("a") == .init(version: "1:1.10-1", path: "pool/a_1.10-1_amd64.deb", sha256: ""))
    #expect(try index.newest("b") == .init(version: "5.4.1-0.2", path: "pool/main/b/b_5.4.1.orig.tar.xz", sha256: "33"))
    #expect(try index.newest("d") == nil)
    #expect(throws: BuildError.self) { try index.newest("c") }
    #expect(throws: BuildError.self) { try DebianIndex(Array("<html>".utf8), subject: "index") }
  }

  @Test func `metadata of Python and Perl are put into our words`() {
    let python = SourceMetadata(
      packageInformation: """
        Metadata-Version: 2.1
        Name: Sample_One
        Summary: Does \u{1b}[1mthings
        Project-URL: Source, https://user:secret@example.org/src
        License: BSD
        Classifier: License :: OSI Approved :: MIT License
        Requires-Dist: other (>=1)
        Requires-Dist: third[extra]>=2
        Requires-Dist: tests ; extra == 'test'
        Requires-Dist: old ; python_version < '3'

        Name: no
        """)
    #expect(python.name == "Sample_One" && python.license == "MIT" && python.summary == "Does [1mthings")
    #expect(python.homepage == "https://example.org/src" && python.needs == ["other", "third"])
    #expect(python.conditionalNeeds == ["old ; python_version < '3'"])
    var build = SourceMetadata()
    build.addBuildSystem(
      "[project]\nrequires = [\"no\"]\n[build-system]\nrequires = [\n  \"flit_core >=3\",\n  'hatchling',\n]\nbuild-backend = \"x\"\n"
    )
    build.addBuildSystem("[build-system]\nrequires = [\"setuptools>=40\", \"cython\"]\nbackend = \"y\"\n")
    #expect(build.buildNeeds == ["flit_core", "hatchling", "setuptools", "cython"])
    let perl = SourceMetadata(
      perlMetadata: Array(
        """
        {"name": "A-B", "abstract": "does it", "license": ["perl_5"], "resources": {"repository": {"web": "https://example.org/"}},
         "prereqs": {"runtime": {"requires": {"X::Y": 0, "perl": "5.008"}}, "configure": {"requires": {"M": "1"}}, "test": {"requires": {"T": 0}}}}
        """.utf8))
    #expect(
      perl.license == "Artistic-1.0-Perl OR GPL-1.0-or-later" && perl.summary == "does it"
        && perl.homepage == "https://example.org/")
    #expect(perl.needs == ["X::Y", "perl"] && perl.buildNeeds == ["M"])
    #expect(SourceMetadata(perlMetadata: Array("{".utf8)) == SourceMetadata())
  }

  @Test func `source archives of a project are told from others`() {
    for (file, version) in [
      ("six-1.16.0.tar.gz", "1.16.0"), ("SIX-1.0-beta.zip", "1.0-beta"), ("six-1.16.0-py3-none-any.whl", nil),
      ("six-more-1.0.tar.gz", nil),
      ("six.tar.gz", nil),
    ] { #expect(PythonIndex.version(of: file, "six") == version, "\(file)") }
    #expect(PythonIndex.version(of: "zope.interface-5.0.tar.gz", "Zope_Interface") == "5.0")
  }

  @Test func `another definition lends what says how it is built`() throws {
    let text = """
      source: "http://h/a-1.tar.gz"  # where
      version: "1-1"
      license: "MIT"
      cbuilder <
        # because
        extra_configure_flag: "--x"
      >
      dep: ["b", "c"]  # both
      dep: "d"
      cherry_pick: "a.patch"
      """
    let file = try DefinitionFile(bytes: Array(text.utf8), path: "a", name: "a")
    #expect(
      file.howItIsBuilt() == "cbuilder: <\n  # because\n  extra_configure_flag: \"--x\"\n>\n\ndep: \"b\"\ndep: \"c\"\ndep: \"d\"\n")
  }
}
