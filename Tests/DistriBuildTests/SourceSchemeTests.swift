// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore
import Foundation
import SystemPackage
import TestSupport
import Testing

@testable import DistriBuild

/// A folder of definitions, sources and what was prepared.
private final class SourceBench {
  let folder: TemporaryDirectory
  var root: FilePath { folder.path.appending("copy") }

  init() throws { folder = try TemporaryDirectory() }

  func write(_ text: String, to path: String) throws {
    let file = folder.path.pushing(FilePath(path))
    try FileManager.default.createDirectory(atPath: file.removingLastComponent().string, withIntermediateDirectories: true)
    try Data(text.utf8).write(to: URL(filePath: file.string))
  }

  @discardableResult
  func shell(_ script: String) async throws -> String {
    let done = try await ToolProcess.run("sh", ["-ec", script], in: folder.path)
    try #require(done.status == 0, "\(done.errors)")
    return done.output
  }

  /// Prepares the source of the definition `copy/pkgs/sample`, and returns its date and the paths of its files.
  func prepare(_ text: String) async throws -> (date: Int64, files: [String]) {
    try write(text, to: "copy/pkgs/sample/build.textproto")
    let file = try DefinitionFile(directory: root.appending("pkgs").appending("sample"))
    let source = folder.path.appending("source")
    try source.removeAll()
    let date = try await SourcePreparation(
      definition: file.definition, directory: file.path.removingLastComponent(), fetcher: FolderFetcher(folder: folder.path)
    ).prepare(source, archives: folder.path.appending("archives"))
    var files: [String] = []
    var tree = try DirectoryTree(path: source)
    while let entry = try tree.next() {
      if case .directory = entry.kind { continue }
      files.append("\(entry.path)")
    }
    return (date, files)
  }

  func contents(_ path: String) throws -> String {
    String(decoding: try folder.path.appending("source").pushing(FilePath(path)).contents(limit: 1 << 20), as: UTF8.self)
  }

  func hash(_ path: String) throws -> String { try Checksum.sha256(of: folder.path.pushing(FilePath(path))) }
}

/// What is asked for is `fetched` in the folder.
private struct FolderFetcher: SourceFetcher {
  let folder: FilePath
  func fetch(_ source: SourceReference, to path: FilePath) async throws {
    try FileManager.default.copyItem(atPath: folder.appending("fetched").string, toPath: path.string)
  }
}

@Suite struct SourceSchemeTests {
  private static let rest = "version: \"1-1\" build_step: { argv: \"true\" }"

  @Test(arguments: [
    "tar -cf", "tar -czf", "tar -cjf", "tar -cJf", "tar --zstd -cf", "tar --format=pax -cf", "tar --format=v7 -cf", "zip -qr",
    "f() { find sample-1 | cpio --quiet -o -H newc > $1; }; f", "tar --lzma -cf", "f() { tar -c $2 | lz4 -q > $1; }; f",
  ])
  func `archives of all kinds are sources, without their one directory`(command: String) async throws {
    let bench = try SourceBench()
    try bench.write("1", to: "sample-1/a")
    try bench.write("2", to: "sample-1/d/b")
    try await bench.shell(
      "touch -d @1500000000 sample-1/a sample-1/d/b; mkdir -p copy/pkgs/sample; \(command) fetched sample-1; [ -e fetched ] || mv fetched.zip fetched"
    )
    let hash = try bench.hash("fetched")
    let remote = try await bench.prepare("source: \"https://example.org/sample-1.x\" hash: \"\(hash)\" \(Self.rest)")
    #expect(remote.files == ["a", "d/b"] && remote.date == 1_500_000_000)
    #expect(try bench.contents("d/b") == "2")
    #expect(!bench.folder.path.appending("archives/sample-1.x").exists)
    let local = try await bench.prepare("source: \"file://\(bench.folder.path)/fetched\" hash: \"\(hash)\" \(Self.rest)")
    #expect(local.files == remote.files && local.date == remote.date)
    let relative = try await bench.prepare("source: \"../../../fetched\" hash: \"\(hash)\" \(Self.rest)")
    #expect(relative.files == remote.files)
  }

  @Test func `a Debian package is a source with what it installs`() async throws {
    let bench = try SourceBench()
    try bench.write("Package: a\nVersion: 1\nArchitecture: all\nMaintainer: a\nDescription: a\n", to: "deb/DEBIAN/control")
    try bench.write("x", to: "deb/usr/share/a/x")
    try await bench.shell("dpkg-deb -b deb fetched >&2")
    let text = "source: \"http://example.org/a.deb\" hash: \"\(try bench.hash("fetched"))\" \(Self.rest)"
    #expect(try await bench.prepare(text).files == ["usr/share/a/x"])
  }

  @Test func `a directory is a source, and extra files are added to it`() async throws {
    let bench = try SourceBench()
    try bench.write("1", to: "copy/pkgs/sample/src/a")
    try bench.write("extra", to: "copy/pkgs/sample/b")
    #expect(try await bench.prepare("source: \"src\" extra_file: \"b\" \(Self.rest)").files == ["a", "b"])
    #expect(try await bench.prepare("source: \"empty://\" extra_file: \"b\" \(Self.rest)").files == ["b"])
    await #expect(throws: BuildError.source("../b", reason: "an extra_file lies beside the definition")) {
      _ = try await bench.prepare("source: \"empty://\" extra_file: \"../b\" \(Self.rest)")
    }
  }

  @Test func `the source of another package is that of its definition, with its hash`() async throws {
    let bench = try SourceBench()
    try bench.write("1", to: "sample-1/a")
    try await bench.shell("tar -czf fetched sample-1")
    let hash = try bench.hash("fetched")
    try bench.write(
      "source: \"https://example.org/a-1.tar.gz\" hash: \"\(hash)\" version: \"1-1\"", to: "copy/pkgs/a/build.textproto")
    try bench.write("source: \"distri+source://a\" version: \"1-1\"", to: "copy/pkgs/b/build.textproto")
    #expect(try await bench.prepare("source: \"distri+source://a\" hash: \"\(hash)\" \(Self.rest)").files == ["a"])
    #expect(try await bench.prepare("source: \"distri+source://b\" \(Self.rest)").files == ["a"])
    try bench.write("2", to: "copy/pkgs/c/src/local")
    try bench.write("source: \"src\" version: \"1-1\"", to: "copy/pkgs/c/build.textproto")
    #expect(try await bench.prepare("source: \"distri+source://c\" \(Self.rest)").files == ["local"])
    for (source, reason) in [
      ("distri+source://a\" hash: \"00", "has the hash \(hash) there, not 00"),
      ("distri+source://nothing", "there is no definition in"),
      ("distri+source://../a", "is not distri+source://<package>"), ("distri+source://sample", "in a circle"),
      ("distri+source://..", "is not distri+source://<package>"),
    ] {
      await #expect {
        _ = try await bench.prepare("source: \"\(source)\" \(Self.rest)")
      } throws: {
        "\($0)".contains(reason)
      }
    }
  }

  @Test func `the working copy of git is its tracked files with the time of the last commit`() async throws {
    let bench = try SourceBench()
    try bench.write("int main;", to: "copy/src/main.c")
    try bench.write("no", to: "copy/untracked")
    try bench.write("changed", to: "copy/README")
    try await bench.shell(
      """
      cd copy; git init -q .; chmod 700 src/main.c; git add src README
      GIT_COMMITTER_DATE=@1600000000 git -c user.name=a -c user.email=a@b commit -qm a; echo later >> README; touch -d @1700000000 src/main.c
      """)
    let plain = try await bench.prepare("source: \"distriroot://\" \(Self.rest)")
    #expect(plain.date == 1_600_000_000 && plain.files == ["README", "src/main.c"])
    #expect(try bench.contents("README") == "changedlater\n")
    #expect(try await bench.shell("stat -c '%a %Y' source/src/main.c source/README") == "755 1600000000\n644 1600000000\n")
    // As definitions of the original find it.
    let go = try await bench.prepare(
      "source: \"distriroot://sample1-1.tar.gz\" version: \"1-1\" gobuilder: { import_path: \"sample1\" }")
    #expect(go.files == ["pkg/mod/sample1@v0/README", "pkg/mod/sample1@v0/src/main.c"])
  }

  @Test func `the working copy without git is all files but hidden ones and builds`() async throws {
    let bench = try SourceBench()
    for file in ["a", "d/.b", ".hidden/c", "_build/d"] { try bench.write("1", to: "copy/\(file)") }
    try await bench.shell("find copy -type f -exec touch -d @1500000000 {} +")
    let source = try await bench.prepare("source: \"distriroot://\" \(Self.rest)")
    #expect(source.files == ["a", "d/.b", "pkgs/sample/build.textproto"])
  }

  @Test func `a module is laid out as module proxies have it, and unpacked for who builds it`() async throws {
    let bench = try SourceBench()
    try bench.write("module github.com/BurntSushi/toml\n", to: "github.com/BurntSushi/toml@v0.3.1/go.mod")
    try bench.write("package toml\n", to: "github.com/BurntSushi/toml@v0.3.1/a.go")
    try await bench.shell("zip -qr fetched.zip github.com; mv fetched.zip fetched")
    let source =
      "source: \"distri+gomod://github.com/BurntSushi/toml@v0.3.1\" hash: \"\(try bench.hash("fetched"))\" version: \"v0.3.1-1\""
    let module = try await bench.prepare("\(source) gomodbuilder: {}")
    let place = "cache/download/github.com/!burnt!sushi/toml/@v/v0.3.1"
    #expect(module.files == ["\(place).info", "\(place).mod", "\(place).zip"])
    #expect(try bench.contents("\(place).mod") == "module github.com/BurntSushi/toml\n")
    #expect(try bench.contents("\(place).info") == "{\"Version\":\"v0.3.1\"}\n")
    let program = try await bench.prepare("\(source) gobuilder: {}")
    #expect(program.files == ["a.go", "go.mod"] && program.date == module.date)
    await #expect {
      _ = try await bench.prepare(source.replacing("hash: \"", with: "hash: \"00") + " gomodbuilder: {}")
    } throws: {
      "\($0)".contains("its SHA-256 is")
    }
  }

  @Test(arguments: [
    "a", "distri+gomod://a", "distri+gomod://a@b@c", "distri+gomod://@v1", "distri+gomod://a/../b@v1", "distri+gomod:///a@v1",
    "distri+gomod://a@../v1", "distri+gomod://a b@v1", "distri+gomod://a//b@v1", "distri+gomod://a@",
  ])
  func `what is no module is refused`(url: String) {
    #expect(throws: BuildError.self) { try GoModule(url: url) }
  }

  @Test func `capitals are escaped in names of module proxies`() throws {
    let module = try GoModule(url: "distri+gomod://github.com/Azure/go-autorest@v13.0.0+Incompatible")
    #expect(module.proxyPath(ending: "zip") == "github.com/!azure/go-autorest/@v/v13.0.0+!incompatible.zip")
  }
}
