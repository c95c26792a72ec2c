// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriBuild
import DistriStore
import Foundation
import SystemPackage
import TestSupport
import Testing

@Suite struct ImportTests {
  private static let libc = "libc6-amd64-2.36-9-1", library = "libanswer1-amd64-1.0-2-1", tool = "tool-amd64-3.4~rc1+b1-1-1"

  private func whole() throws -> DebianFixture {
    let fixture = try DebianFixture()
    try fixture.packageLibC()
    try fixture.packageLibrary()
    try fixture.packageTool()
    try fixture.publish()
    return fixture
  }

  @Test func `an imported package has its closure, version and words in the metadata`() async throws {
    let fixture = try whole()
    let outcome = try await fixture.importer().run(["tool"])
    #expect(outcome.packages.map(\.description) == [Self.library, Self.libc, Self.tool])
    #expect(outcome.made == outcome.packages)
    let metadata = try fixture.store.metadata(of: try PackageID(parsing: Self.tool))
    #expect(metadata.runtimeDependencies.map(\.description) == [Self.library, Self.libc])
    #expect(metadata.sourcePackage == "tool" && metadata.version == "3.4~rc1+b1-1-1")
    #expect(metadata.summary == "The tool" && metadata.homepage == "https://tool.example")
    #expect(try fixture.store.metadata(of: try PackageID(parsing: Self.libc)).runtimeDependencies.isEmpty)
  }

  @Test func `files go where the format wants them, links lead to exact versions`() async throws {
    let fixture = try whole()
    _ = try await fixture.importer().run(["tool"])
    let image = try fixture.store.image(of: try PackageID(parsing: Self.tool))
    let listing = try image.listing()
    let expected = [
      "out/lib/tool/absolute": "→ ../../share/tool/data", "out/lib/tool/relative": "→ ../../share/tool/data",
      "out/lib/tool/other": "→ /ro/\(Self.library)/out/lib/x86_64-linux-gnu/libanswer.so.1",
      "out/lib/tool/state": "→ /var/lib/tool", "out/lib/tool/nowhere": "→ /usr/lib/nobody/has/this",
      "out/share/conf": "→ /etc/tool/conf", "etc/tool/data": "→ /usr/share/tool/data", "etc/tool/same": "→ conf",
      "out/bin/tool-link": "→ tool", "out/sbin/tool-admin": "→ ../bin/tool", "etc/tool/conf": "regular 644 0:0",
      "out/bin/powerful": "regular 4755 0:33", "out/opt/tool/file": "regular 644 0:0", "out/bin/tool": "regular 755 0:0",
      "bin/tool": "→ ../out/bin/tool", "bin/tool-link": "→ tool", "bin/tool-admin": "→ tool",
      "bin/env-script": "→ ../out/sbin/env-script",
      "lib/libanswer.so.1": "→ /ro/\(Self.library)/out/lib/x86_64-linux-gnu/libanswer.so.1",
      "lib/libc.so.6": "→ /ro/\(Self.libc)/out/lib/x86_64-linux-gnu/libc.so.6",
    ]
    for (path, what) in expected { #expect(listing[path] == what, "\(path)") }
    #expect(!listing.keys.contains { $0.hasPrefix("var") || $0.hasPrefix("usr") || $0.hasPrefix("run") })
    let first = try #require(try image.node(at: TreePath(parsing: "out/bin/tool")))
    let again = try #require(try image.node(at: TreePath(parsing: "out/bin/tool-again")))
    #expect(try image.attributes(of: first).inodeNumber == image.attributes(of: again).inodeNumber)
    #expect(try image.attributes(of: first).linkCount == 2)
    #expect(try image.attributes(of: first).modificationTime == 1_700_000_000)
  }

  @Test func `what must exist at run time becomes a tmpfiles configuration`() async throws {
    let fixture = try whole()
    _ = try await fixture.importer().run(["tool"])
    let image = try fixture.store.image(of: try PackageID(parsing: Self.tool))
    let lines = try image.text("out/lib/tmpfiles.d/tool.conf")
    #expect(
      lines == """
        d /var/cache 0755 0 0 -
        d /var/lib/tool 0750 33 33 -
        C /var/lib/tool/a\\x20seed\\x20100%% 0644 0 0 - /ro/\(Self.tool)/out/share/factory/var/lib/tool/a\\x20seed\\x20100%%
        p /var/lib/tool/pipe 0644 0 0 -
        d /var/lib/tool/plain 0755 0 0 -
        L /var/lock - - - - /run/lock

        """)
    #expect(try image.text("out/share/factory/var/lib/tool/a seed 100%") == "seed\n")
  }

  @Test func `scripts, linker scripts and pkg-config files refer to the packages`() async throws {
    let fixture = try whole()
    _ = try await fixture.importer().run(["tool"])
    let image = try fixture.store.image(of: try PackageID(parsing: Self.tool))
    // Nothing here has a shell: that line works through the links of the view.
    #expect(try image.text("out/bin/shell-script") == "#!/bin/sh\necho hello\n")
    #expect(try image.text("out/bin/tool-script") == "#!/ro/\(Self.tool)/bin/tool -x\nbody\n")
    #expect(try image.text("out/sbin/env-script") == "#!/ro/\(Self.tool)/bin/tool\nbody\n")
    #expect(
      try image.text("out/lib/x86_64-linux-gnu/libtool.so")
        == "/* GNU ld script */ GROUP ( /ro/\(Self.library)/out/lib/x86_64-linux-gnu/libanswer.so.1 AS_NEEDED ( /ro/\(Self.libc)/out/lib64/ld-linux-x86-64.so.2 ) -lm )\n"
    )
    #expect(
      try image.text("out/lib/x86_64-linux-gnu/pkgconfig/tool.pc")
        == "prefix=/ro/\(Self.tool)/out\nlibdir=${prefix}/lib\nCflags: -I/ro/\(Self.tool)/out/include/tool -I/usrx\n")
  }

  @Test func `interpreter and RUNPATH lead into the packages, also to private libraries`() async throws {
    let fixture = try whole()
    _ = try await fixture.importer().run(["tool"])
    let program = try fixture.store.image(of: try PackageID(parsing: Self.tool)).elf("out/bin/tool")
    #expect(program.interpreter == "/ro/\(Self.libc)/out/lib64/ld-linux-x86-64.so.2")
    #expect(program.runpath == "/ro/\(Self.tool)/lib" && program.rpath == nil)
    let library = try fixture.store.image(of: try PackageID(parsing: Self.library))
    let elf = try library.elf("out/lib/x86_64-linux-gnu/libanswer.so.1.0")
    #expect(elf.searchPath.first == "/ro/\(Self.library)/lib")
    #expect(try library.listing()["lib/libhidden.so"] == "→ /ro/\(Self.library)/out/lib/x86_64-linux-gnu/private/libhidden.so")
    // The C library stays byte for byte what it was.
    let libc = try fixture.store.image(of: try PackageID(parsing: Self.libc))
    let node = try #require(try libc.node(at: try TreePath(parsing: "out/lib/x86_64-linux-gnu/libc.so.6")))
    #expect(try Data(libc.contents(of: node, limit: 1 << 24)) == Data(contentsOf: URL(filePath: "/lib/x86_64-linux-gnu/libc.so.6")))
  }

  @Test func `an imported program runs where nothing but the packages is`() async throws {
    let fixture = try whole()
    _ = try await fixture.importer().run(["tool"])
    for package in [Self.libc, Self.library, Self.tool] {
      try fixture.shell("unsquashfs -q -n -d ../ro/\(package) ../store/\(package).squashfs >/dev/null")
    }
    let plan = SandboxPlan(operations: [.bind(from: FilePath(fixture.path("ro")), to: "/ro", readOnly: true)])
    let status = try await NamespaceSandbox().run(["/ro/\(Self.tool)/bin/tool"], in: plan, io: .null)
    #expect(status == .exited(42))
  }

  @Test func `importing twice gives the same bytes`() async throws {
    let fixture = try whole()
    _ = try await fixture.importer().run(["tool"])
    _ = try await fixture.importer(store: "second").run(["tool"])
    for package in [Self.libc, Self.library, Self.tool] {
      for ending in ["squashfs", "meta.textproto"] {
        #expect(
          FileManager.default.contentsEqual(
            atPath: fixture.path("store/\(package).\(ending)"), andPath: fixture.path("second/\(package).\(ending)")))
      }
    }
    #expect(try await fixture.importer().run(["tool"]).made.isEmpty)
  }

  @Test func `a library that no package has is an error that names file and library`() async throws {
    let fixture = try DebianFixture()
    try fixture.packageLibC()
    try fixture.package(
      "lost", "1",
      """
      mkdir -p $root/usr/bin; echo 'int x(void){return 0;}' | gcc -shared -x c - -Wl,-soname,libnowhere.so.7 -o libnowhere.so
      echo 'int x(void); int main(void) { return x(); }' | gcc -x c - -L. -lnowhere -o $root/usr/bin/lost
      """)
    try fixture.publish()
    let error = await #expect(throws: BuildError.self) { try await fixture.importer("import: \"libc6\"").run(["lost", "libc6"]) }
    #expect(error == .missingDependency("libnowhere.so.7", of: "lost-amd64-1-1: out/bin/lost"))
    #expect(try fixture.store.packages().isEmpty)
    let lenient = #"package { name: "lost" debian: "lost" optional_library: "libnowhere.so.7" }"#
    #expect(try await fixture.importer(lenient).run(["lost", "libc6"]).made.count == 2)
  }

  @Test func `a definition renames, joins, links, deletes and ignores`() async throws {
    let fixture = try whole()
    let definition = """
      ignore_dependency: "answer-abi"
      package {
        name: "joined"
        debian: "tool"
        debian: "libanswer*"
        link { path: "out/bin/added" target: "/usr/bin/tool" }
        delete: "out/share/*"
        keep_interpreter: "out/bin/tool-script"
      }
      """
    let outcome = try await fixture.importer(definition).run(["joined"])
    #expect(outcome.packages.map(\.description) == ["joined-amd64-3.4~rc1+b1-1-1", Self.libc])
    let listing = try fixture.store.image(of: outcome.packages[0]).listing()
    #expect(listing["out/bin/added"] == "→ tool" && listing["bin/added"] == "→ tool")
    #expect(listing["out/lib/x86_64-linux-gnu/libanswer.so.1"] == "→ libanswer.so.1.0")
    #expect(listing["out/lib/tool/other"] == "→ ../x86_64-linux-gnu/libanswer.so.1")
    #expect(listing["out/share/tool/data"] == nil)
    #expect(try fixture.store.image(of: outcome.packages[0]).text("out/bin/tool-script").hasPrefix("#! /usr/bin/tool -x\n"))
  }

  @Test func `alternatives become links, and the highest priority wins`() async throws {
    let fixture = try whole()
    try fixture.packageTool(
      postinst: """
        touch /tmp/distri-import-must-never-run-this
        update-alternatives --quiet --install /usr/bin/answer answer /usr/bin/tool 30 \\
          --slave /usr/share/answer.txt answer.txt /usr/share/tool/data --slave /usr/bin/gone gone /usr/bin/not-there
        """)
    try fixture.package(
      "rival", "1", postinst: "update-alternatives --install /usr/bin/answer answer /usr/bin/rival 20",
      "mkdir -p $root/usr/bin; printf '#!/bin/sh\\n' > $root/usr/bin/rival; chmod 755 $root/usr/bin/rival")
    try fixture.publish()
    let outcome = try await fixture.importer().run(["tool", "rival"])
    let rival = try fixture.store.image(of: try #require(outcome.packages.first { $0.name == "rival" })).listing()
    let tool = try fixture.store.image(of: try #require(outcome.packages.first { $0.name == "tool" })).listing()
    #expect(tool["out/bin/answer"] == "→ tool" && tool["bin/answer"] == "→ tool")
    #expect(tool["out/share/answer.txt"] == "→ tool/data")
    #expect(tool["out/bin/gone"] == nil && rival["out/bin/answer"] == nil)
    #expect(!FileManager.default.fileExists(atPath: "/tmp/distri-import-must-never-run-this"))
  }

  @Test func `capabilities and other attributes of files are kept, also through patchelf`() async throws {
    let fixture = try whole()
    try fixture.shell(
      """
      setcap cap_net_raw+ep tool/usr/bin/tool; getcap tool/usr/bin/tool | grep -q cap_net_raw
      rm -rf parts; mkdir parts; cd parts; ar x ../../archive/tool_1.deb
      tar -C ../tool --exclude=./DEBIAN --xattrs --xattrs-include='*' --numeric-owner -cf data.tar .
      rm ../../archive/tool_1.deb; ar rc ../../archive/tool_1.deb debian-binary control.tar data.tar
      """)
    try fixture.publish()
    _ = try await fixture.importer().run(["tool"])
    let image = try fixture.store.image(of: try PackageID(parsing: Self.tool))
    let node = try #require(try image.node(at: TreePath(parsing: "out/bin/tool")))
    #expect(try image.extendedAttributes(of: node).map { String(decoding: $0.name, as: UTF8.self) } == ["security.capability"])
    #expect(try image.elf("out/bin/tool").runpath == "/ro/\(Self.tool)/lib")
  }
}
