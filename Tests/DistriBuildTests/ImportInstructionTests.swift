// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore
import Foundation
import SystemPackage
import TestSupport
import Testing

@testable import DistriBuild

/// What import definitions say instead of maintainer scripts.
@Suite struct ImportInstructionTests {
  private func imported(_ definition: String, _ requests: [String] = []) async throws -> (
    fixture: DebianFixture, image: PackageImage
  ) {
    let fixture = try DebianFixture()
    try fixture.package(
      "tool", "1-1",
      """
      mkdir -p $root/usr/lib/tool $root/etc $root/usr/share/certs
      echo helper > $root/usr/lib/tool/helper; chmod 755 $root/usr/lib/tool/helper
      echo theirs > $root/etc/tool.conf
      for name in b a c; do echo $name > $root/usr/share/certs/$name.crt; done
      """)
    try fixture.publish()
    _ = try await fixture.importer(definition).run(requests)
    return (fixture, try fixture.store.image(of: try PackageID(parsing: "tool-amd64-1-1-1")))
  }

  @Test func `files, joined files and owners are as the definition says`() async throws {
    let (_, image) = try await imported(
      #"""
      package {
        name: "tool" debian: "tool"
        file { path: "etc/tool.conf" contents: "ours\n" }
        file { path: "out/lib/sysusers.d/tool.conf" contents: "g tool 101\n" "u tool -\n" }
        join { path: "etc/all.crt" of: "out/share/certs/*.crt" }
        attributes { path: "out/lib/tool/helper" mode: 4754 group: 101 }
      }
      """#)
    #expect(try image.text("etc/tool.conf") == "ours\n")
    #expect(try image.text("out/lib/sysusers.d/tool.conf") == "g tool 101\nu tool -\n")
    #expect(try image.text("etc/all.crt") == "a\nb\nc\n")
    #expect(try image.listing()["out/lib/tool/helper"] == "regular 4754 0:101")
  }

  @Test(arguments: [
    (#"attributes { path: "out/lib/tool/nothing" mode: 755 }"#, "out/lib/tool/nothing"),
    (#"join { path: "etc/all.crt" of: "out/share/*.pem" }"#, "out/share/*.pem"), (#"file { path: "../x" contents: "y" }"#, "«..»"),
  ])
  func `an instruction about nothing is an error that names it`(_ instruction: String, _ named: String) async throws {
    await #expect {
      _ = try await imported(#"package { name: "tool" debian: "tool" \#(instruction) }"#)
    } throws: { "\($0)".contains("tool") && "\($0)".contains(named) }
  }

  @Test func `an instruction changes the digest, so that the package gets another revision`() async throws {
    let (fixture, _) = try await imported("import: \"tool\"")
    let lock = try await fixture.importer("import: \"tool\"", updatesLock: true).run().lock
    let changed = try await fixture.importer(
      #"package { name: "tool" debian: "tool" file { path: "etc/x" contents: "y" } }"#, lock: lock, updatesLock: true
    ).run()
    #expect(changed.packages.map(\.description) == ["tool-amd64-1-1-2"])
  }

  @Test func `packages that are used are made as their definition says, and are not asked for`() throws {
    let folder = try TemporaryDirectory()
    func write(_ name: String, _ text: String) throws {
      try text.write(toFile: folder.path.appending(name).string, atomically: true, encoding: .utf8)
    }
    let path = folder.path.appending("own")
    try write("other", #"ignore_dependency: "dpkg" import: "more" package { name: "glibc" debian: "libc6" }"#)
    try write("own", #"use: "other" import: "nano""#)
    let definition = try ImportDefinition(path: path)
    #expect(definition.everything == ["nano"] && definition.ignoredDependencies == ["dpkg"])
    #expect(definition.package(for: "libc6").name == "glibc" && definition.debianPackages(for: "glibc") == ["libc6"])

    try write("own", #"include: "other" import: "nano" package { name: "glibc" debian: "musl" }"#)
    let including = try ImportDefinition(path: path)
    #expect(including.everything == ["glibc", "nano", "more"] && including.package(for: "libc6").name == "libc6")

    for (own, place) in [
      (#"use: "other" package { name: "c" debian: "libc6" }"#, "other"), (#"use: "own""#, "own"), (#"use: "absent""#, "absent"),
    ] {
      try write("own", own)
      #expect { try ImportDefinition(path: path) } throws: { "\($0)".contains(folder.path.appending(place).string) }
    }
  }

  @Test func `the server's definition parses and is made of the bootstrap set's packages`() throws {
    let folder = FilePath(#filePath).removingLastComponent().appending("../../Examples/images/server")
    let definition = try ImportDefinition(path: folder.appending("server.import.textproto"))
    #expect(definition.everything.contains("openssh-server") && !definition.everything.contains("gcc"))
    #expect(definition.package(for: "libc6").name == "glibc")
    let lock = try ImportLock(path: folder.appending("server.import.lock"))
    let locked = try Importer.entries(of: lock, for: definition.everything, definition).map(\.package.name)
    #expect(locked.contains("systemd") && !locked.contains("dpkg"))
  }

  @Test func `the desktop's definition has the server's packages and its own kernel`() throws {
    let folder = FilePath(#filePath).removingLastComponent().appending("../../Examples/images/desktop")
    let definition = try ImportDefinition(path: folder.appending("desktop.import.textproto"))
    #expect(definition.everything.contains("openssh-server") && definition.package(for: "libc6").name == "glibc")
    #expect(definition.package(for: "linux-image-6.1.0-56-amd64").name == "linux-image")
    #expect(definition.package(for: "linux-image-6.1.0-56-cloud-amd64").name != "linux-image")
    let lock = try ImportLock(path: folder.appending("desktop.import.lock"))
    let locked = try Importer.entries(of: lock, for: definition.everything, definition).map(\.package.name)
    #expect(locked.count > 300 && locked.contains("i3-wm"))
  }

  @Test func `schemas of settings and MIME types have the caches that programs read`() async throws {
    let fixture = try DebianFixture()
    try fixture.package(
      "desktop-data", "1-1",
      #"""
      mkdir -p $root/usr/share/glib-2.0/schemas $root/usr/share/mime/packages
      cat > $root/usr/share/glib-2.0/schemas/org.sample.gschema.xml << 'END'
      <schemalist><schema id="org.sample" path="/org/sample/"><key name="greeting" type="s"><default>"hello"</default></key></schema></schemalist>
      END
      cat > $root/usr/share/mime/packages/sample.xml << 'END'
      <mime-info xmlns="http://www.freedesktop.org/standards/shared-mime-info"><mime-type type="text/x-sample"><glob pattern="*.sample"/></mime-type></mime-info>
      END
      """#)
    try fixture.publish()
    let outcome = try await fixture.importer().run(["desktop-data"])
    let image = try fixture.store.image(of: try #require(outcome.packages.first))
    func bytes(_ path: String) throws -> [UInt8] {
      try image.contents(of: try #require(try image.node(at: TreePath(parsing: path))), limit: 1 << 20)
    }
    // GVDB's signature, and the version of the cache of types with what it is about.
    #expect(try bytes("out/share/glib-2.0/schemas/gschemas.compiled").starts(with: Array("GVariant".utf8)))
    let types = try bytes("out/share/mime/mime.cache")
    #expect(types.starts(with: [0, 1, 0, 2]) && String(decoding: types, as: UTF8.self).contains("text/x-sample"))
    #expect(try image.node(at: TreePath(parsing: "out/share/mime/globs2")) == nil)
  }

  @Test func `a kernel's package has the indexes of its modules`() async throws {
    let fixture = try DebianFixture()
    try fixture.package(
      "linux-image-1", "1-1",
      #"""
      mkdir -p $root/lib/modules/6.1-test/kernel/net
      echo 'const char a[] __attribute__((section(".modinfo"))) = "alias=pci:v00001234d*";' |
        gcc -c -x c - -o $root/lib/modules/6.1-test/kernel/net/card.ko
      echo kernel/net/card.ko > $root/lib/modules/6.1-test/modules.order
      echo kernel/fs/ext4.ko > $root/lib/modules/6.1-test/modules.builtin
      """#)
    try fixture.publish()
    let outcome = try await fixture.importer().run(["linux-image-1"])
    let image = try fixture.store.image(of: try #require(outcome.packages.first))
    #expect(try image.text("out/lib/modules/6.1-test/modules.dep") == "kernel/net/card.ko:\n")
    #expect(try image.text("out/lib/modules/6.1-test/modules.alias").contains("alias pci:v00001234d* card\n"))
    // The magic number of an index.
    let index = try #require(try image.node(at: TreePath(parsing: "out/lib/modules/6.1-test/modules.alias.bin")))
    #expect(try image.contents(of: index, limit: 1 << 20).prefix(4) == [0xb0, 0x07, 0xf4, 0x57])
  }
}
