// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import SystemPackage
import Testing

@testable import DistriBuild

@Suite struct ImportTextTests {
  @Test(arguments: [
    ("7.2-1+deb12u1", "7.2-1+deb12u1"), ("1:5.44-3", "5.44-3"), ("2:1:3-4", "1_3-4"), ("6.4-4", "6.4-4"), ("1.0~rc1", "1.0~rc1"),
    ("2.11.0+dfsg1-5.1", "2.11.0+dfsg1-5.1"), ("1.2:ü/3", "__3"), ("20220109.1", "20220109.1"),
  ])
  func `Debian's version becomes the upstream part of ours`(_ debian: String, _ ours: String) {
    #expect(DebianRecord.upstream(ofVersion: debian) == ours)
  }

  @Test func `relations are read without versions and architectures`() {
    #expect(
      DebianRecord.relations("libc6 (>= 2.34), a:any | b [amd64] | c (= 1), d<!nocheck>,\n e") == [
        ["libc6"], ["a", "b", "c"], ["d"], ["e"],
      ])
    #expect(DebianRecord.relations("").isEmpty && DebianRecord.relations(" , ,").isEmpty)
  }

  @Test func `paragraphs of an index are told apart`() {
    let paragraphs = DebianRecord.paragraphs("Package: a\nDescription: x\n more\n .\n\n\nPackage: b\nSize: 12\n")
    #expect(paragraphs == [["Package": "a", "Description": "x\nmore\n."], ["Package": "b", "Size": "12"]])
  }

  @Test(arguments: [
    ("'http://x/libgmp10_6.2_amd64.deb' libgmp10_2%3a6.2.1+dfsg1-1.1_amd64.deb 562588 MD5Sum:0", "libgmp10=2:6.2.1+dfsg1-1.1"),
    ("'http://x/a.deb' a_1_all.deb 5 SHA256:1", "a=1"),
  ])
  func `apt's list of files gives names and versions`(_ line: String, _ expected: String) {
    #expect(AptArchive.nameAndVersion(line[...]) == expected)
    #expect(AptArchive.nameAndVersion("Reading package lists...") == nil)
  }

  private static let scripts: [(String, [Alternative])] = [
    (
      "update-alternatives --install /usr/bin/awk awk /usr/bin/gawk 10 \\\n  --slave /usr/share/man/awk.1 awk.1 /usr/share/man/gawk.1",
      [
        .init(link: "/usr/bin/awk", target: "/usr/bin/gawk", priority: 10),
        .init(link: "/usr/share/man/awk.1", target: "/usr/share/man/gawk.1", priority: 10),
      ]
    ),
    (
      "if [ \"$1\" = configure ]; then\n\tupdate-alternatives --quiet --force --install /usr/bin/cc cc /usr/bin/gcc 20 || true; fi",
      [.init(link: "/usr/bin/cc", target: "/usr/bin/gcc", priority: 20)]
    ),
    (
      "PRI=40 BIN='/usr/bin/nano'\n/usr/bin/update-alternatives --install \"/usr/bin/editor\" editor ${BIN} \"$PRI\"",
      [.init(link: "/usr/bin/editor", target: "/usr/bin/nano", priority: 40)]
    ),
    ("for i in a b; do update-alternatives --install /usr/bin/$i $i /usr/bin/x 1; done", []),
    ("# update-alternatives --install /a a /b 1\nupdate-alternatives --remove awk /usr/bin/gawk", []),
    (
      "update-alternatives --install /usr/bin/x x /usr/bin/`arch` 5; update-alternatives --install /usr/bin/y y /usr/bin/z five", []
    ),
    ("update-alternatives --install relative x /usr/bin/y 5", []),
    (
      "update-alternatives --install '/usr/bin/a$b' n /usr/bin/y -5",
      [.init(link: "/usr/bin/a$b", target: "/usr/bin/y", priority: -5)]
    ),
    ("update-alternatives --install", []), ("'unclosed update-alternatives --install /a a /b 1", []), ("\\", []),
  ]

  @Test(arguments: scripts)
  func `alternatives are read from the text of scripts`(_ script: String, _ expected: [Alternative]) {
    #expect(Alternative.parse(script) == expected)
  }

  @Test func `the winner does not depend on the order`() {
    let a = Alternative(link: "/l", target: "/a", priority: 5), b = Alternative(link: "/l", target: "/b", priority: 5)
    let c = Alternative(link: "/m", target: "/c", priority: 1)
    #expect(Alternative.winners(of: ["y": [a, c], "x": [b]]) == ["x": [b], "y": [c]])
  }

  @Test(arguments: [
    ("a*c", "abbbc", true), ("a*c", "ab", false), ("*", "", true), ("l*-*-amd64", "linux-image-6-cloud-amd64", true),
    ("?b", "ab", true),
    ("a?", "a", false), ("a**b*", "ab", true), ("", "", true), ("", "a", false),
  ])
  func `patterns match whole names`(_ pattern: String, _ text: String, _ expected: Bool) {
    #expect(Wildcard(pattern).matches(text) == expected)
  }

  @Test(arguments: [
    ("#!/bin/sh\n", "/bin/sh", "", "sh"), ("#! /usr/bin/perl -w \nx", "/usr/bin/perl", "-w", "perl"),
    ("#!/usr/bin/env python3\n", "/usr/bin/env", "python3", "python3"),
    ("#!/usr/bin/env -S awk -f\n", "/usr/bin/env", "-S awk -f", "env"),
  ])
  func `first lines of scripts are read as the kernel reads them`(
    _ line: String, _ program: String, _ argument: String, _ name: String
  ) throws {
    let script = try #require(Script(Array(line.utf8)))
    #expect(script.interpreter == program && script.argument == argument && script.interpreterName == name)
    #expect(Script(Array("#!sh".utf8)) == nil && Script(Array("# /bin/sh".utf8)) == nil && Script([]) == nil)
  }

  @Test(arguments: [
    ("package { name: \"a\" }", 1, 1), ("imports: \"x\"", 1, 1), ("import: 3", 1, 9),
    ("import: \"a\"\npackage { name: \"a\" debian: \"b\" }\npackage { name: \"c\" debian: \"b\" }", 3, 1),
    ("package { name: \"a\" debian: \"b\" link { path: \"x\" } }", 1, 33), ("package {", 1, 9),
    ("package { name: \"a\" debian: \"b\" attributes { path: \"x\" mode: 8 } }", 1, 62),
    ("package { name: \"a\" debian: \"b\" attributes { path: \"x\" } }", 1, 33),
    ("package { name: \"a\" debian: \"b\" file { path: \"x\" text: \"y\" } }", 1, 50),
  ])
  func `a wrong import definition is an error with its place`(_ text: String, _ line: Int, _ column: Int) {
    #expect {
      try ImportDefinition(bytes: Array(text.utf8), path: "x")
    } throws: { error in
      guard case .invalidDefinition("x", line, let found, _) = error as? BuildError else { return false }
      return found == column
    }
  }

  @Test func `the bootstrap definition parses and names every implicit dependency of builders`() throws {
    let path = FilePath(#filePath).removingLastComponent().appending("../../Examples/definitions/bootstrap.import.textproto")
    let definition = try ImportDefinition(path: path)
    let names = [
      "bash", "coreutils", "sed", "grep", "gawk", "diffutils", "file", "pkg-config", "gcc", "gcc-libs", "binutils", "mpc", "mpfr",
      "gmp",
      "make", "glibc", "linux", "findutils", "musl", "strace", "ncurses", "zlib", "perl", "python3", "nano", "patch", "tar", "gzip",
      "xz",
    ]
    for name in names { #expect(definition.everything.contains(name), "\(name)") }
  }
}
