// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import Foundation
import TestSupport
import Testing

/// `scaffold` of archives, Go modules, Python projects and CPAN against a real server.
@Suite struct ScaffoldTests {
  /// What `setup.py sdist` and `build --sdist` leave.
  private static func pythonArchive(_ name: String, _ version: String) async throws -> [UInt8] {
    try await made(
      """
      mkdir \(name)-\(version); cd \(name)-\(version)
      printf 'Metadata-Version: 2.1\\nName: \(name)\\nVersion: \(version)\\nSummary: says "hi"\\nHome-page: https://example.org/\\nLicense: MIT\\nRequires-Dist: other>=1\\nRequires-Dist: old; python_version < "3"\\n' > PKG-INFO
      printf '[build-system]\\nrequires = ["setuptools", "flit_core>=3"]\\n' > pyproject.toml
      cd ..; tar -czf out \(name)-\(version)
      """)
  }

  @Test(arguments: [false, true]) func `a Python project is defined from its source archive`(isJSON: Bool) async throws {
    let archive = try await Self.pythonArchive("Sample_One", "1.10")
    let hash = try await sha256(archive)
    let html = """
      <!DOCTYPE html><html><body><a href="../../f/Sample_One-1.9.tar.gz#sha256=00">Sample_One-1.9.tar.gz</a>
      <a href="../../f/Sample_One-1.10.tar.gz#sha256=\(hash)" data-requires-python="&gt;=3">Sample_One-1.10.tar.gz</a>
      <a href="../../f/Sample_One-1.11-py3-none-any.whl#sha256=00">x</a><a href="../../f/Sample_One-2.0.tar.gz" data-yanked="bad">x</a>
      <a href="../../f/Sample_One-3.0rc1.tar.gz">x</a></body></html>
      """
    let json = """
      {"meta": {"api-version": "1.0"}, "name": "sample-one", "files": [
       {"filename": "Sample_One-1.10.tar.gz", "url": "../../f/Sample_One-1.10.tar.gz", "hashes": {"sha256": "\(hash)"}, "yanked": false},
       {"filename": "Sample_One-2.0.tar.gz", "url": "../../f/Sample_One-2.0.tar.gz", "hashes": {}, "yanked": "bad"},
       {"filename": "Sample_One-1.11-py3-none-any.whl", "url": "../../f/Sample_One-1.11-py3-none-any.whl", "hashes": {}}]}
      """
    let site = try UpstreamSite([
      "/simple/sample-one/": Array((isJSON ? json : html).utf8), "/f/Sample_One-1.10.tar.gz": archive,
      "/f/Sample_One-2.0.tar.gz": archive,
    ])
    let done = try await site.scaffold(["--python", "sample.one", "--python-index", "SITE/simple"])
    #expect(done.status == 0 && done.output.hasSuffix("/pkgs/python3-Sample_One/build.textproto\n"), "\(done.errors)")
    let text = try site.definition("python3-Sample_One")
    #expect(
      text == """
        source: "SITE/f/Sample_One-1.10.tar.gz"
        hash: "\(hash)"
        version: "1.10-1"

        license: "MIT"
        summary: "says \\"hi\\""
        homepage: "https://example.org/"

        pull: {
          releases_url: "SITE/simple/sample-one/"
        }

        pythonbuilder: {}

        # build dependencies:
        dep: "python3-flit_core"

        runtime_dep: "python3-other"

        # under a condition it needs old; python_version < "3"

        """)
    for package in ["python3-flit_core-amd64-1-1", "python3-other-amd64-1-1"] { try site.addToStore(package) }
    let lint = try await site.lint("python3-Sample_One")
    #expect(lint.status == 0, "\(lint.output)")
    // What was defined can be looked at again: withdrawn files and those before a release are not newer.
    let pull = try await site.scaffold(["--pull"])
    #expect(pull.status == 0 && pull.output == "python3-Sample_One 1.10-1\n", "\(pull.errors)")
    let yanked = try await site.scaffold(
      ["--python", "sample-one==2.0", "--name", "b"], environment: ["PIP_INDEX_URL": "\(site.server.root)/simple/"])
    #expect(try yanked.status == 0 && site.definition("b").contains("version: \"2.0-1\""), "\(yanked.errors)")
    site.server.stop()
  }

  @Test func `a Python project without a source archive, or with another one, is refused`() async throws {
    let wheels = "<a href='x-1-py3-none-any.whl'>x</a>",
      wrong = "<a href='y-1.tar.gz#sha256=\(String(repeating: "0", count: 64))'>x</a>"
    let site = try UpstreamSite([
      "/simple/x/": Array(wheels.utf8), "/simple/y/": Array(wrong.utf8), "/simple/y/y-1.tar.gz": [1, 2, 3],
      "/simple/z/": Array("{\"files\": [1,".utf8),
    ])
    for (arguments, status, reason) in [
      (["--python", "x", "--python-index", "SITE/simple"], 65, "has no source archive"),
      (["--python", "y", "--python-index", "SITE/simple"], 65, "SHA-256"),
      (["--python", "z", "--python-index", "SITE/simple"], 65, "is no JSON at byte 14"),
      (["--python", "w", "--python-index", "SITE/simple"], 66, "no such file"),
      (["--python", "../w", "--python-index", "SITE/simple"], 65, "is no name"), (["--python", "x"], 64, "--python-index"),
      (["--cpan", "A::B"], 64, "--cpan-mirror"), (["--go", "example.org/a"], 65, "--go-proxy"),
      (["--go", "a b", "--go-proxy", "SITE"], 65, "does not take"),
      (["--go", "a", "--python", "b"], 64, "Only one"), ([], 64, "Give one URL"), (["--dry-run", "SITE/x-1.tar.gz"], 64, "--pull"),
    ] as [([String], Int32, String)] {
      let done = try await site.scaffold(arguments)
      #expect(done.status == status && done.errors.contains(reason) && done.output == "", "\(arguments): \(done.errors)")
    }
    #expect(!FileManager.default.fileExists(atPath: site.folder.path.appending("pkgs/python3-y").string))
    site.server.stop()
  }

  @Test func `the distribution of CPAN that has a module is defined`() async throws {
    let list =
      "File: 02packages.details.txt\nLines: 3\n\nSample::One 1.5 A/AB/ABC/Sample-1.5.tar.gz\nOther::One 2 A/AB/ABC/Other-2.tar.gz\nFile::Spec 3 X/XY/XYZ/PathTools-3.75.tar.gz\n"
    let archive = try await made(
      """
      mkdir Sample-1.5; cd Sample-1.5; touch Makefile.PL
      cat > META.json <<END
      {"name": "Sample", "abstract": "shows things", "license": ["perl_5"], "resources": {"homepage": "https://example.org/"},
       "prereqs": {"runtime": {"requires": {"Other::One": "0", "File::Spec": "0", "perl": "5.006"}}, "test": {"requires": {"Test::Deep": "0"}}}}
      END
      cd ..; tar -czf out Sample-1.5
      """)
    let site = try UpstreamSite([
      "/cpan/modules/02packages.details.txt.gz": try await made("printf '\(list.replacing("\n", with: "\\n"))' | gzip -c > out"),
      "/cpan/authors/id/A/AB/ABC/Sample-1.5.tar.gz": archive,
    ])
    let done = try await site.scaffold(["--cpan", "Sample::One", "--cpan-mirror", "SITE/cpan/"])
    #expect(done.status == 0, "\(done.errors)")
    let text = try site.definition("perl-Sample")
    #expect(
      text == """
        source: "SITE/cpan/authors/id/A/AB/ABC/Sample-1.5.tar.gz"
        hash: "\(try await sha256(archive))"
        version: "1.5-1"

        license: "Artistic-1.0-Perl OR GPL-1.0-or-later"
        summary: "shows things"
        homepage: "https://example.org/"

        perlbuilder: {}

        # build dependencies:
        dep: "perl-Other"

        """)
    try site.addToStore("perl-Other-amd64-1-1")
    let lint = try await site.lint("perl-Sample")
    #expect(lint.status == 0, "\(lint.output)")
    let missing = try await site.scaffold(["--cpan", "Nothing", "--cpan-mirror", "SITE/cpan/"])
    #expect(missing.status == 65 && missing.errors.contains("Nothing: is not in the list of modules"), "\(missing.errors)")
    site.server.stop()
  }

  /// A module's zip as proxies have it.
  private static func module(_ path: String, _ version: String, _ files: [String: String]) async throws -> [UInt8] {
    let place = "\(path)@\(version)"
    let commands = files.map {
      "mkdir -p \"$(dirname '\(place)/\($0)')\"; printf '\($1.replacing("\n", with: "\\n"))' > '\(place)/\($0)'"
    }
    return try await made(
      commands.sorted().joined(separator: "\n") + "\nfind . -type f | LC_ALL=C sort | zip -q -X -@ out.zip; mv out.zip out")
  }

  @Test func `a Go module is defined as a source for others, of its newest release`() async throws {
    let mod = "module example.org/Lib-x\n"
    let library = try await Self.module(
      "example.org/Lib-x", "v1.2.0",
      [
        "go.mod": mod, "a.go": "package lib\n", "gen.go": "//go:build ignore\n\npackage main\n",
        "internal/x/main.go": "package main\n",
      ])
    let site = try UpstreamSite([
      "/example.org/!lib-x/@v/list": Array("v1.1.0\nv1.2.0\nv2.0.0-rc.1\n".utf8),
      "/example.org/!lib-x/@v/v1.2.0.mod": Array(mod.utf8), "/example.org/!lib-x/@v/v1.2.0.zip": library,
    ])
    let done = try await site.scaffold(["--go", "example.org/Lib-x", "--go-proxy", "SITE"])
    #expect(done.status == 0, "\(done.errors)")
    let text = try site.definition("go-example.org-Lib--x")
    #expect(
      text == """
        source: "distri+gomod://example.org/Lib-x@v1.2.0"
        hash: "\(try await sha256(library))"
        version: "v1.2.0-1"

        gomodbuilder: {}

        # build dependencies:

        """)
    let lint = try await site.lint("go-example.org-Lib--x")
    #expect(lint.status == 0, "\(lint.output)")
    site.server.stop()
  }

  @Test func `a Go module with programs is defined with what it requires`() async throws {
    let mod = "module example.org/tool/v2\n\nrequire (\n\texample.org/Lib-x v1.2.0\n\tb.org/y v0.1.0 // indirect\n)\n"
    let program = try await Self.module(
      "example.org/tool/v2", "v2.0.1",
      ["go.mod": mod, "main.go": "// about\npackage main\n", "cmd/other/x.go": "package main // x\n", "lib/l.go": "package l\n"])
    let site = try UpstreamSite([
      "/example.org/tool/v2/@v/main.info": Array("{\"Version\": \"v2.0.1\", \"Time\": \"2024-01-01T00:00:00Z\"}".utf8),
      "/example.org/tool/v2/@v/v2.0.1.mod": Array(mod.utf8), "/example.org/tool/v2/@v/v2.0.1.zip": program,
    ])
    let done = try await site.scaffold(
      ["--go", "example.org/tool/v2@main"], environment: ["GOPROXY": "\(site.server.root),direct"])
    #expect(done.status == 0, "\(done.errors)")
    let text = try site.definition("tool")
    #expect(
      text.hasSuffix(
        """
        version: "v2.0.1-1"

        gobuilder: {
          install: "."
          install: "./cmd/other"
        }

        # build dependencies:
        dep: "go-b.org-y"
        dep: "go-example.org-Lib--x"

        # its go.mod requires:
        # b.org/y@v0.1.0
        # example.org/Lib-x@v1.2.0

        """))
    for name in ["go-b.org-y-amd64-1-1", "go-example.org-Lib--x-amd64-1-1"] { try site.addToStore(name) }
    let lint = try await site.lint("tool")
    #expect(lint.status == 0, "\(lint.output)")
    site.server.stop()
  }

  @Test func `an archive is defined, by what lies in it or as another package is`() async throws {
    let archive = try await made("mkdir a-1.0; touch a-1.0/configure; tar -cJf out a-1.0")
    let site = try UpstreamSite(["/d/a-1.0.tar.xz": archive, "/o/tag/archive/v2.0.tar.xz": archive])
    let plain = try await site.scaffold(["SITE/d/a-1.0.tar.xz"])
    #expect(plain.status == 0, "\(plain.errors)")
    let start = "source: \"SITE/d/a-1.0.tar.xz\"\nhash: \"\(try await sha256(archive))\"\nversion: \"1.0-1\"\n\n"
    #expect(try site.definition("a") == start + "cbuilder: {}\n\n# build dependencies:\n")
    try site.define(
      "model",
      "# of the model\nsource: \"x\" version: \"1-1\"\ncbuilder: {\n  # why\n  extra_configure_flag: \"--b\"\n}\ndep: \"a\"  # for c\ncherry_pick: \"p.patch\"\n"
    )
    try site.addToStore("b-amd64-1-7")
    let like = try await site.scaffold(["--like", "model", "--name", "b", "SITE/d/a-1.0.tar.xz"])
    #expect(like.status == 0, "\(like.errors)")
    #expect(
      try site.definition("b") == start.replacing("1.0-1", with: "1.0-8")
        + "cbuilder: {\n  # why\n  extra_configure_flag: \"--b\"\n}\n\ndep: \"a\"  # for c\n")
    // A file of this name may be another project's, and a password is not written down.
    let sources = site.folder.path.appending("sources")
    try FileManager.default.createDirectory(atPath: sources.string, withIntermediateDirectories: true)
    try Data("other".utf8).write(to: URL(filePath: sources.appending("v2.0.tar.xz").string))
    let address = "\(site.server.root)/o/tag/archive/v2.0.tar.xz".replacing("://", with: "://user:secret@")
    let generic = try await site.scaffold(["--sources", sources.string, address])
    #expect(generic.status == 0 && !generic.errors.contains("secret"), "\(generic.errors)")
    #expect(
      try site.definition("tag").hasPrefix(
        "source: \"SITE/o/tag/archive/v2.0.tar.xz\"\nhash: \"\(try await sha256(archive))\"\nversion: \"2.0-1\"\n"))
    let again = try await site.scaffold(["SITE/d/a-1.0.tar.xz"])
    #expect(again.status == 64 && again.errors.contains("is there already"), "\(again.errors)")
    site.server.stop()
  }
}
