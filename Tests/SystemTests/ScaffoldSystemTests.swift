// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import Foundation
import SystemPackage
import TestSupport
import Testing

extension BuilderSystemTests {
  /// What `scaffold` writes is built as it is.
  @Suite(.serialized) struct ScaffoldSystemTests {
    private static let module = "github.com/kballard/go-shellquote"
    private static let version = "v0.0.0-20180428030007-95032a82bc51"

    /// Upstream's real archives, on a server as an index of Python projects, a mirror of CPAN and a module proxy have them.
    private static func server() async throws -> ScriptedServer {
      func source(_ name: String) throws -> [UInt8] {
        Array(try Data(contentsOf: URL(filePath: BuilderBench.sources.appending(name).string)))
      }
      let list = try await BuilderBench.shell(
        "cd '\(BuilderBench.folder)'; printf 'Lines: 1\\n\\nClone 0.46 G/GA/GARU/Clone-0.46.tar.gz\\n' | gzip -nc > 02packages.gz; echo 02packages.gz"
      )
      let packages = BuilderBench.folder.appending(list.trimmingCharacters(in: .newlines))
      let zip = BuilderBench.folder.appending("proxy/\(module)/@v/\(version).zip")
      let files = [
        "/simple/markupsafe/": Array("<a href=\"/f/MarkupSafe-2.1.2.tar.gz\">MarkupSafe-2.1.2.tar.gz</a>".utf8),
        "/f/MarkupSafe-2.1.2.tar.gz": try source("MarkupSafe-2.1.2.tar.gz"),
        "/cpan/modules/02packages.details.txt.gz": Array(try Data(contentsOf: URL(filePath: packages.string))),
        "/cpan/authors/id/G/GA/GARU/Clone-0.46.tar.gz": try source("libclone-perl_0.46.orig.tar.gz"),
        "/proxy/\(module)/@v/list": [],
        "/proxy/\(module)/@latest": Array("{\"Version\": \"\(version)\"}".utf8),
        "/proxy/\(module)/@v/\(version).mod": Array("module \(module)\n".utf8),
        "/proxy/\(module)/@v/\(version).zip": Array(try Data(contentsOf: URL(filePath: zip.string))),
      ]
      return try ScriptedServer { request in files[request.path].map { .ok($0) } ?? .status("404 Not Found") }
    }

    @Test func `a Python project, a module of CPAN and a Go module become packages that work`() async throws {
      _ = try await BuilderBench.shared.value
      let bench = try await BuilderBench(store: "scaffold")
      let server = try await Self.server()
      defer { server.stop() }
      let definitions = BuilderBench.folder.appending("copy/pkgs")
      let names = ["scaffold-python", "scaffold-perl", "scaffold-go"]
      for (name, origin) in zip(
        names,
        [
          ["--python", "MarkupSafe", "--python-index", "\(server.root)/simple"],
          ["--cpan", "Clone", "--cpan-mirror", "\(server.root)/cpan"],
          ["--go", Self.module, "--go-proxy", "\(server.root)/proxy"],
        ])
      {
        try await BuilderBench.shell("rm -rf '\(definitions)/\(name)'")
        let done = try await ToolProcess.run(
          "distri-build",
          [
            "scaffold", "--definitions", definitions.string, "--store", bench.store.string, "--sources",
            BuilderBench.folder.appending("fetched").string, "--name", name,
          ] + origin)
        try #require(done.status == 0, "\(done.errors)")
      }
      let done = try await bench.build(names)
      try #require(done.status == 0, "\(done.errors.suffix(4000))")
      let python =
        "PYTHONPATH=/ro/lib/python3.11/site-packages python3 -B -c 'from markupsafe import _speedups; print(_speedups.escape(\"<\"))'"
      #expect(try await bench.run(["scaffold-python"], python) == "&lt;\n")
      let perl = "PERL5LIB=/ro/lib/perl5 perl -MClone=clone -e 'print clone([1, 2])->[1], \"\\n\"'"
      #expect(try await bench.run(["scaffold-perl"], perl) == "2\n")
      let files = try await bench.run(["scaffold-go"], "ls /ro/gopath/cache/download/\(Self.module)/@v")
      #expect(files == "\(Self.version).info\n\(Self.version).mod\n\(Self.version).zip\n")
    }
  }
}
