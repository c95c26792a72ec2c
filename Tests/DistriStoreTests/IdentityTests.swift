// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore
import Testing

@Suite struct IdentityTests {
  @Test(arguments: [
    ("nano-amd64-7.2-3", "nano", "amd64", "7.2", 3),
    ("gcc-i686-amd64-8.2.0-3", "gcc-i686", "amd64", "8.2.0", 3),
    ("glibc-i686-host-amd64-2.27-3", "glibc-i686-host", "amd64", "2.27", 3),
    ("wg-amd64-v0.0.0-20180314180146-1d60e4601c6f", "wg", "amd64", "v0.0.0-20180314180146-1d60e4601c6f", 0),
    ("wg-amd64-v0.0.0-20180314180146-1d60e4601c6f-7", "wg", "amd64", "v0.0.0-20180314180146-1d60e4601c6f", 7),
    ("nano-amd64-7.2-3.squashfs", "nano", "amd64", "7.2", 3),
    ("nano-amd64-7.2-3.meta.textproto", "nano", "amd64", "7.2", 3),
    ("nano-amd64-7.2-3.squashfs.gz", "nano", "amd64", "7.2", 3),
    ("nano-amd64-7.2-3.log", "nano", "amd64", "7.2", 3),
    ("zlib-amd64-1.2.11-0", "zlib", "amd64", "1.2.11-0", 0),
    ("zlib-amd64-5", "zlib", "amd64", "5", 0),
    ("zlib-amd64-1-99999999999999999999", "zlib", "amd64", "1-99999999999999999999", 0),
    ("libstdc++-arm64-12.2.0+b1~rc-4", "libstdc++", "arm64", "12.2.0+b1~rc", 4),
  ])
  func `a full name is cut at its last architecture word`(
    text: String, name: String, architecture: String, upstream: String, revision: UInt64
  ) throws {
    let id = try PackageID(parsing: text)
    #expect(id.name == name)
    #expect(id.architecture.rawValue == architecture)
    #expect(id.upstream == upstream)
    #expect(id.revision == revision)
    #expect(try PackageID(parsing: id.description) == id)
  }

  @Test(arguments: [
    ("../less-amd64-530-17/bin/less", "less-amd64-530-17"),
    ("_build/git/build-amd64-2.9.5-3.log", "git-amd64-2.9.5-3"),
    ("/ro/nano-amd64-7.2-3/out/bin/nano", "nano-amd64-7.2-3"),
  ])
  func `a path names the package it leads into`(path: String, expected: String) throws {
    #expect(try PackageQuery(parsingPath: path).exact?.description == expected)
  }

  @Test func `a query without version means the newest by number`() throws {
    let all = try [
      "nano-amd64-9.0-2", "nano-amd64-1.0-10", "nano-amd64-3.0-9", "nano-i686-3.0-99", "nanox-amd64-1-50", "nano-amd64-99",
    ]
    .map { try PackageID(parsing: $0) }
    #expect(try PackageQuery(parsing: "nano").newest(of: all, defaultArchitecture: .amd64)?.description == "nano-amd64-1.0-10")
    #expect(try PackageQuery(parsing: "nano-i686").newest(of: all)?.description == "nano-i686-3.0-99")
    #expect(try PackageQuery(parsing: "nano-amd64-3.0-9").newest(of: all)?.description == "nano-amd64-3.0-9")
    #expect(try PackageQuery(parsing: "vim").newest(of: all) == nil)
  }

  @Test(arguments: [
    "", "a/b-amd64-1-1", "../x-amd64-1-1", "a\0b-amd64-1-1", "a\nb-amd64-1-1", ".index-amd64-1-1", "ä-amd64-1-1", "a b-amd64-1-1",
    String(repeating: "a", count: 201) + "-amd64-1-1", "-amd64-1-1", "nano-amd64-",
  ])
  func `a hostile name is a typed error`(text: String) {
    #expect {
      try PackageID(parsing: text)
    } throws: { error in
      guard case StoreError.invalidName = error else { return false }
      return true
    }
  }

  @Test func `a name of 4 KiB is a typed error`() {
    #expect(throws: StoreError.self) { try PackageID(parsing: String(repeating: "a", count: 4096) + "-amd64-1-1") }
  }

  @Test func `parts that would be read back differently are refused`() {
    #expect(throws: StoreError.self) { try PackageID(name: "a", architecture: .amd64, upstream: "1-amd64-2", revision: 1) }
    #expect(throws: StoreError.self) { try PackageID(name: "a", architecture: .amd64, upstream: "", revision: 1) }
    #expect(throws: StoreError.self) { try PackageID(name: "a", architecture: .amd64, upstream: "1.2-3", revision: 0) }
  }

  @Test(arguments: ["", ".", "..", "a/b", "a\0", String(repeating: "n", count: 256)])
  func `what cannot name a directory entry is refused`(text: String) {
    #expect(throws: StoreError.self) { try EntryName(text) }
  }

  @Test func `a tree path never leads out`() throws {
    #expect(try TreePath(parsing: "./usr//bin/").description == "usr/bin")
    #expect(try TreePath(parsing: "/usr/bin").description == "usr/bin")
    #expect(throws: StoreError.self) { try TreePath(parsing: "usr/../../etc/passwd") }
  }
}
