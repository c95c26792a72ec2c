// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import Foundation
import TestSupport
import Testing

/// `scaffold --pull` against a real server.
@Suite struct PullTests {
  private static let archive = Array("whatever is in it".utf8)

  @Test func `the newest version is written, and every other byte stays`() async throws {
    let names =
      ["7.2", "7.9", "7.10", "8.0-rc1", "20010101"].map { "/dist/nano-\($0).tar.xz" } + [
        "/dist/nano-9-docs.tar.xz", "/dist/libnano-9.tar.xz",
      ]
    let site = try UpstreamSite(Dictionary(uniqueKeysWithValues: names.map { ($0, Self.archive) }))
    let text = """
      # about nano
      source: "SITE/dist/nano-7.2.tar.xz"  # where
      hash: "00" # of it
      version:   '7.2-3'   # revision 1 is imported

      cbuilder: {} # plain

      """
    try site.define("nano", text)
    try site.addToStore("nano-amd64-7.1-5")
    let dry = try await site.scaffold(["--pull", "--dry-run", "nano"])
    #expect(dry.status == 0 && dry.output == "nano 7.2-3 7.10-6\n", "\(dry.errors)")
    #expect(try site.definition("nano") == text && site.server.count("/dist/nano-7.10.tar.xz") == 0)
    let done = try await site.scaffold(["--pull", "nano"])
    #expect(done.status == 0 && done.output == "nano 7.2-3 7.10-6\n", "\(done.errors)")
    let expected = text.replacing("nano-7.2.tar", with: "nano-7.10.tar").replacing("'7.2-3'", with: "\"7.10-6\"")
      .replacing("\"00\"", with: "\"\(try await sha256(Self.archive))\"")
    #expect(try site.definition("nano") == expected)
    let again = try await site.scaffold(["--pull"])
    #expect(again.status == 0 && again.output == "nano 7.10-6\n", "\(again.errors)")
    site.server.stop()
  }

  /// A definition's source, version and rules, the page, and what comes of it.
  struct Rule: Sendable, CustomTestStringConvertible {
    let name: String
    let source: String
    let version: String
    var pull = ""
    var pages: [String: String] = [:]
    let expectedSource: String
    let expectedVersion: String
    var testDescription: String { name }
  }

  static let rules = [
    Rule(
      name: "an expression", source: "/r/NSS_3_51_1_RTM/src/nss-3.51.1.tar.gz", version: "3.51.1-7",
      pull:
        "releases_url: \"SITE/r/\" release_regexp: \"NSS_([0-9]+_[0-9]+(?:_[0-9]+)?)_RTM\" release_replace_all: { expr: \"_\" repl: \".\" }",
      pages: ["/r/": "<a href=x>NSS_3_52_RTM</a> NSS_3_9_RTM"], expectedSource: "/r/NSS_3_52_RTM/src/nss-3.52.tar.gz",
      expectedVersion: "3.52-8"),
    Rule(
      name: "another spelling", source: "/b/1.69.0/source/boost_1_69_0.tar.bz2", version: "1.69.0-5",
      pull: "releases_url: \"SITE/list\" release_replace_all: { expr: \"_\" repl: \".\" }",
      pages: ["/list": "boost_1_70_0.tar.bz2 boost_1_9_0.tar.bz2"],
      expectedSource: "/b/1.70.0/source/boost_1_70_0.tar.bz2", expectedVersion: "1.70.0-6"),
    Rule(
      name: "semantic versions only", source: "/x/libxcb-1.13.1.tar.bz2", version: "1.13.1-8", pull: "force_semver: true",
      pages: ["/x/": "<a href='libxcb-1.14.90.1.tar.bz2'>x</a><a href='libxcb-1.14.tar.xz'>y</a>"],
      expectedSource: "/x/libxcb-1.14.tar.xz",
      expectedVersion: "1.14-9"),
    Rule(
      name: "tags of a forge", source: "/lz4/lz4/archive/refs/tags/v1.9.4.tar.gz", version: "1.9.4-1",
      pages: ["/lz4/lz4/tags": "<a href=\"/lz4/lz4/archive/refs/tags/v1.10.0.tar.gz\">tar.gz</a> v1.9.10.zip"],
      expectedSource: "/lz4/lz4/archive/refs/tags/v1.10.0.tar.gz", expectedVersion: "1.10.0-2"),
    Rule(
      name: "releases of a forge", source: "/libfuse/libfuse/releases/download/fuse-3.14.0/fuse-3.14.0.tar.xz", version: "3.14.0-1",
      pages: ["/libfuse/libfuse/tags": "<a href=\"/libfuse/libfuse/releases/tag/fuse-3.16.2\">fuse-3.16.2</a>"],
      expectedSource: "/libfuse/libfuse/releases/download/fuse-3.16.2/fuse-3.16.2.tar.xz", expectedVersion: "3.16.2-2"),
    Rule(
      name: "directories of versions", source: "/dist/v7/nano-7.2.tar.xz", version: "7.2-1",
      pages: ["/dist/v8/nano-8.3.tar.xz": "", "/dist/v7/nano-7.2.tar.xz": "", "/dist/v10/README": ""],
      expectedSource: "/dist/v8/nano-8.3.tar.xz",
      expectedVersion: "8.3-2"),
    Rule(
      name: "a release before a release", source: "/runc/v1.0.0-rc9.tar.gz", version: "1.0.0-rc9-8",
      pull: "release_regexp: \"v([0-9.a-z-]+)\\\\.tar\\\\.gz\"", pages: ["/runc/": "v1.0.0-rc10.tar.gz v1.0.0-rc93.tar.gz"],
      expectedSource: "/runc/v1.0.0-rc93.tar.gz", expectedVersion: "1.0.0-rc93-9"),
  ]

  @Test(arguments: rules) func `rules find what they are for`(rule: Rule) async throws {
    var files = rule.pages.mapValues { Array($0.utf8) }
    files[rule.expectedSource] = Self.archive
    let site = try UpstreamSite(files)
    let pull = rule.pull.isEmpty ? "" : "pull: { \(rule.pull) }\n"
    try site.define("a", "source: \"SITE\(rule.source)\"\nhash: \"00\"\nversion: \"\(rule.version)\"\n\(pull)cbuilder: {}\n")
    let done = try await site.scaffold(["--pull"])
    #expect(done.status == 0 && done.output == "a \(rule.version) \(rule.expectedVersion)\n", "\(done.errors)")
    #expect(
      try site.definition("a")
        == "source: \"SITE\(rule.expectedSource)\"\nhash: \"\(try await sha256(Self.archive))\"\nversion: \"\(rule.expectedVersion)\"\n\(pull)cbuilder: {}\n"
    )
    site.server.stop()
  }

  @Test func `Debian's indexes tell versions, archives and their hashes`() async throws {
    let hash = try await sha256(Self.archive)
    let sources = try await made(
      """
      cat > index <<END
      Package: xz-utils
      Version: 5.4.1-0.2
      Directory: pool/main/x/xz-utils
      Checksums-Sha256:
       00 5 xz-utils_5.4.1.orig.tar.xz

      Package: xz-utils
      Version: 1:5.6.3+dfsg-1
      Directory: pool/main/x/xz-utils
      Checksums-Sha256:
       \(hash) 17 xz-utils_5.6.3+dfsg.orig.tar.xz
      END
      xz -c index > out
      """)
    let packages = "Package: chrome\nVersion: 80.0-1\nFilename: pool/chrome_80.0-1_amd64.deb\nSHA256: \(hash)\n"
    let site = try UpstreamSite([
      "/debian/dists/stable/main/source/Sources.xz": sources,
      "/debian/pool/main/x/xz-utils/xz-utils_5.6.3+dfsg.orig.tar.xz": Self.archive,
      "/flat/Packages": Array(packages.utf8), "/flat/pool/chrome_80.0-1_amd64.deb": Self.archive,
      "/up/xz-5.6.3.tar.xz": Self.archive,
    ])
    try site.define(
      "xz", "source: \"xz-utils_5.4.1.orig.tar.xz\"\nhash: \"00\"\nversion: \"5.4.1-2\"\npull: { debian_packages: \"xz-utils\" }\n")
    try site.define(
      "upstream", "source: \"SITE/up/xz-5.4.1.tar.xz\" hash: \"00\" version: \"5.4.1-2\" pull: { debian_packages: \"xz-utils\" }")
    try site.define(
      "google",
      "source: \"SITE/flat/pool/chrome_79.0-1_amd64.deb\" hash: \"00\" version: \"79.0-1\" pull: { debian_packages: \"SITE/flat/Packages\" }"
    )
    let without = try await site.scaffold(["--pull", "xz"])
    #expect(without.status == 1 && without.errors.contains("--debian-index"), "\(without.errors)")
    let index = ["--debian-index", "SITE/debian/dists/stable/main/source/Sources.xz"]
    let done = try await site.scaffold(["--pull"] + index)
    #expect(
      done.status == 0 && done.output == "google 79.0-1 80.0-2\nupstream 5.4.1-2 5.6.3-3\nxz 5.4.1-2 5.6.3-3\n", "\(done.errors)")
    #expect(
      try site.definition("xz").hasPrefix("source: \"xz-utils_5.6.3+dfsg.orig.tar.xz\"\nhash: \"\(hash)\"\nversion: \"5.6.3-3\"\n"))
    #expect(try site.definition("google").hasPrefix("source: \"SITE/flat/pool/chrome_80.0-1_amd64.deb\" hash: \"\(hash)\""))
    #expect(try site.definition("upstream").hasPrefix("source: \"SITE/up/xz-5.6.3.tar.xz\" hash: \"\(hash)\""))
    #expect(site.server.count("/debian/dists/stable/main/source/Sources.xz") == 1)
    site.server.stop()
  }

  @Test func `what cannot be looked at is named, and the rest goes on`() async throws {
    let site = try UpstreamSite(["/d/a-1.0.tar.gz": Self.archive, "/d/a-1.1.tar.gz": Self.archive])
    try site.define("a", "source: \"SITE/d/a-1.0.tar.gz\" hash: \"00\" version: \"1.0-1\"")
    try site.define("broken", "source: \"SITE/d/a-1.0.tar.gz\" versoin: \"1.0-1\"")
    try site.define("elsewhere", "source: \"SITE/nothing/b-1.0.tar.gz\" hash: \"00\" version: \"1.0-1\"")
    try site.define("empty", "source: \"empty://\" version: \"1-1\"")
    try site.define("other", "source: \"SITE/d/b-1.0.tar.gz\" hash: \"00\" version: \"1.0-1\"")
    try site.define("plain", "source: \"b-1.0.tar.gz\" hash: \"00\" version: \"1.0-1\"")
    try site.define("rule", "source: \"SITE/d/a-1.0.tar.gz\"\nversion: \"1.0-1\"\npull: { release_regexp: \"a-(\" }")
    let done = try await site.scaffold(["--pull"])
    #expect(done.status == 1 && done.output == "a 1.0-1 1.1-2\n")
    let errors = done.errors.replacing(site.server.root, with: "SITE").replacing(site.folder.path.string, with: "").split(
      separator: "\n"
    ).map(String.init)
    try #require(errors.count == 6, "\(done.errors)")
    #expect(errors[0].hasPrefix("broken: /pkgs/broken/build.textproto:1:") && errors[0].hasSuffix("did you mean version?"))
    #expect(errors[1] == "elsewhere: SITE/nothing/: there is no such file")
    #expect(errors[2] == "empty: it has no source")
    #expect(errors[3].hasPrefix("other: SITE/d/: names no version that is like the present one, 1.0;"))
    #expect(errors[4].hasPrefix("plain: /pkgs/plain/build.textproto:1:1: the source has no address"))
    #expect(errors[5] == "rule: /pkgs/rule/build.textproto:3:1: release_regexp «a-(» has a ( without )")
    let lint = try await site.lint("rule")
    #expect(
      lint.status == 65 && lint.output.contains("build.textproto:3:1: error: release_regexp «a-(» has a ( without )"),
      "\(lint.output)")
    site.server.stop()
  }

  @Test func `hostile answers are errors, and leave the definition as it was`() async throws {
    let long = String(repeating: "a", count: 300_000)
    let site = try UpstreamSite(
      [
        "/many/": Array(long.utf8), "/many/a-1.0.tar.gz": Self.archive,
        "/hash/index.html": Array("<a href='a-1.1.tar.gz#sha256=\(String(repeating: "0", count: 64))'>x</a>".utf8),
        "/hash/a-1.1.tar.gz": Self.archive,
        "/version/": Array("v1.1/../../x;v\(String(repeating: "9", count: 1000)); v2.0\u{7}; v-3".utf8),
      ],
      answers: [
        "/file/": .status("302 Found", headers: "Location: file:///etc/passwd\r\n"),
        "/endless/": .head("200 OK", headers: "") + [.repeating(Array(repeating: 0x61, count: 1 << 20))],
        "/large/": .head("200 OK", headers: "Content-Length: 99999999999\r\n"),
        "/round/": .status("302 Found", headers: "Location: /round/\r\n"),
        "/cut/": .head("200 OK", headers: "Content-Length: 5\r\n") + [.send([0x61]), .close],
      ])
    let cases = [
      ("file", "", "refused to follow a redirect"), ("endless", "", "more than the 16777216 bytes"),
      ("large", "", "more than the 16777216 bytes"),
      ("round", "", "refused to follow a redirect"), ("cut", "", "the connection broke"), ("hash", "", "SHA-256"),
      ("many", "pull: { release_regexp: \"a\" }", "matches more than 20000 times"),
      ("version", "pull: { release_regexp: \"v([^;]*);\" }", "names no version"),
    ]
    for (name, pull, _) in cases {
      try site.define(name, "source: \"SITE/\(name)/a-1.0.tar.gz\" hash: \"00\" version: \"1.0-1\" \(pull)")
    }
    let done = try await site.scaffold(["--pull"])
    #expect(done.status == 1 && done.output == "", "\(done.output)")
    for (name, pull, reason) in cases {
      let line = done.errors.split(separator: "\n").first { $0.hasPrefix("\(name): ") } ?? ""
      #expect(line.contains(reason), "\(name): \(done.errors)")
      #expect(try site.definition(name) == "source: \"SITE/\(name)/a-1.0.tar.gz\" hash: \"00\" version: \"1.0-1\" \(pull)")
    }
    site.server.stop()
  }

  @Test func `a source that is known by its name is taken from where sources are kept`() async throws {
    let site = try UpstreamSite(["/news": Array("a-1.1.tar.gz".utf8)])
    let text =
      "source: \"a_1.0.orig.tar.gz\" hash: \"00\" version: \"1.0-1\" pull: { releases_url: \"SITE/news\" release_regexp: \"a-([0-9.]+)\\\\.tar\" }"
    try site.define("a", text)
    let sources = site.folder.path.appending("sources")
    let without = try await site.scaffold(["--sources", sources.string, "--pull"])
    #expect(without.status == 1 && without.errors.contains("a: a_1.1.orig.tar.gz: is neither beside"), "\(without.errors)")
    #expect(try site.definition("a") == text)
    try FileManager.default.createDirectory(atPath: sources.string, withIntermediateDirectories: true)
    try Data(Self.archive).write(to: URL(filePath: sources.appending("a_1.1.orig.tar.gz").string))
    let done = try await site.scaffold(["--sources", sources.string, "--pull"])
    #expect(done.status == 0 && done.output == "a 1.0-1 1.1-2\n", "\(done.errors)")
    #expect(
      try site.definition("a").hasPrefix(
        "source: \"a_1.1.orig.tar.gz\" hash: \"\(try await sha256(Self.archive))\" version: \"1.1-2\""))
    site.server.stop()
  }

  @Test func `redirects are followed within HTTP, and do not get into definitions of a directory`() async throws {
    func moved(_ path: String) -> [ScriptedServer.Step] { .status("302 Found", headers: "Location: \(path)\r\n") }
    let site = try UpstreamSite(
      [
        "/mirror/a-1.1.tar.gz": Self.archive, "/new/page/": Array("<a href='../f/a-1.2.tar.gz'>1.2</a>".utf8),
        "/new/f/a-1.2.tar.gz": Self.archive,
      ],
      answers: ["/d/": moved("/mirror/"), "/d/a-1.1.tar.gz": moved("/mirror/a-1.1.tar.gz"), "/page": moved("/new/page/")])
    try site.define("directory", "source: \"SITE/d/a-1.0.tar.gz\" hash: \"00\" version: \"1.0-1\"")
    try site.define("page", "source: \"SITE/d/a-1.0.tar.gz\" hash: \"00\" version: \"1.0-1\" pull: { releases_url: \"SITE/page\" }")
    let done = try await site.scaffold(["--pull"])
    #expect(done.status == 0 && done.output == "directory 1.0-1 1.1-2\npage 1.0-1 1.2-2\n", "\(done.errors)")
    #expect(try site.definition("directory").hasPrefix("source: \"SITE/d/a-1.1.tar.gz\""))
    #expect(try site.definition("page").hasPrefix("source: \"SITE/new/f/a-1.2.tar.gz\""))
    site.server.stop()
  }

  @Test func `a module's newest release comes from its proxy`() async throws {
    let proxy = "/proxy/example.org/!sample/@v"
    let site = try UpstreamSite([
      "\(proxy)/list": Array("v1.2.0\nv1.10.0\nv1.11.0-rc.1\nv1.9.0\n".utf8), "\(proxy)/v1.10.0.zip": Self.archive,
      "/proxy/example.org/state/@v/list": [],
      "/proxy/example.org/state/@latest": Array("{\"Version\":\"v0.0.0-20200101000000-aaaaaaaaaaaa\"}".utf8),
      "/proxy/example.org/state/@v/v0.0.0-20200101000000-aaaaaaaaaaaa.zip": Self.archive,
    ])
    try site.define(
      "go-a", "source: \"distri+gomod://example.org/Sample@v1.2.0\" hash: \"00\" version: \"v1.2.0-1\" gomodbuilder: {}")
    let old = "v0.0.0-20190101000000-bbbbbbbbbbbb"
    try site.define(
      "go-b", "source: \"distri+gomod://example.org/state@\(old)\" hash: \"00\" version: \"\(old)-4\" gomodbuilder: {}")
    let done = try await site.scaffold(["--pull", "--go-proxy", "SITE/proxy"])
    #expect(
      done.output == "go-a v1.2.0-1 v1.10.0-2\ngo-b \(old)-4 v0.0.0-20200101000000-aaaaaaaaaaaa-5\n" && done.status == 0,
      "\(done.errors)")
    let hash = try await sha256(Self.archive)
    #expect(
      try site.definition("go-a")
        == "source: \"distri+gomod://example.org/Sample@v1.10.0\" hash: \"\(hash)\" version: \"v1.10.0-2\" gomodbuilder: {}")
    let without = try await site.scaffold(["--pull", "go-a"])
    #expect(without.status == 1 && without.errors.contains("--go-proxy or GOPROXY"), "\(without.errors)")
    site.server.stop()
  }
}
