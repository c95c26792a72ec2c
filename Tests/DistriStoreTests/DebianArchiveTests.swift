// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriArchive
import DistriStore
import SystemPackage
import TestSupport
import Testing

@Suite struct DebianArchiveTests {
  static let package = """
    mkdir -p deb/DEBIAN deb/usr/bin deb/etc
    cat > deb/DEBIAN/control <<'END'
    Package: sample
    Version: 1:2.0-3
    Architecture: amd64
    Maintainer: Nobody <nobody@example.org>
    Depends: libc6 (>= 2.36),
     libtinfo6
    Description: a sample
     The first line of the text.
     .
     After an empty one: with a colon.
    END
    printf '#!/bin/sh\\nupdate-alternatives --install /usr/bin/editor editor /usr/bin/sample 10\\n' > deb/DEBIAN/postinst
    chmod 755 deb/DEBIAN/postinst
    echo /etc/sample.conf > deb/DEBIAN/conffiles
    cp /bin/true deb/usr/bin/sample && chmod 4755 deb/usr/bin/sample
    ln deb/usr/bin/sample deb/usr/bin/again && ln -s sample deb/usr/bin/link
    echo setting > deb/etc/sample.conf
    """

  @Test(arguments: ["none", "gzip", "xz", "zstd"])
  func `control and data are read, whatever compresses them`(compression: String) async throws {
    let folder = try TemporaryDirectory()
    try await shell(Self.package, in: folder.path)
    try await shell("dpkg-deb --root-owner-group -Z\(compression) -b deb sample.deb", in: folder.path)
    let deb = try DebianArchive(path: folder.path.appending("sample.deb"))
    #expect(deb.control["Package"] == "sample")
    #expect(deb.control["Version"] == "1:2.0-3")
    #expect(deb.control["Depends"] == "libc6 (>= 2.36),\nlibtinfo6")
    #expect(deb.control["Description"] == "a sample\nThe first line of the text.\n\nAfter an empty one: with a colon.")
    #expect(deb.controlFileNames == ["conffiles", "control", "postinst"])
    #expect(deb.controlFile("conffiles") == Array("/etc/sample.conf\n".utf8))
    #expect(deb.controlFile("postinst")?.starts(with: Array("#!/bin/sh\nupdate-alternatives".utf8)) == true)
    #expect(deb.controlFile("prerm") == nil)
    for _ in 1...2 {
      var data = try deb.data()
      let tree = try TreeSnapshot(&data)
      #expect(
        tree.order.map(\.description).sorted() == [
          ".", "etc", "etc/sample.conf", "usr", "usr/bin", "usr/bin/again", "usr/bin/link", "usr/bin/sample",
        ])
      #expect(tree["etc/sample.conf"]?.contents == Array("setting\n".utf8))
      let files = [tree["usr/bin/sample"]?.entry, tree["usr/bin/again"]?.entry]
      #expect(files.contains { $0?.permissions == 0o4755 })
      #expect(files.contains { if case .hardLink = $0?.kind { true } else { false } })
    }
  }

  @Test(arguments: [
    ("no Package", "Version: 1\nArchitecture: all\n"), ("no field", "Package: a\nnonsense\n"),
    ("folded first", " folded\nPackage: a\n"), ("twice", "Package: a\nPackage: b\nVersion: 1\nArchitecture: all\n"),
    ("two paragraphs", "Package: a\nVersion: 1\nArchitecture: all\n\nPackage: b\n"),
  ])
  func `a damaged control file is an error that names it`(what: String, text: String) async throws {
    let folder = try TemporaryDirectory()
    try write(Array(text.utf8), to: folder.path.appending("control"))
    try await shell(
      """
      tar -cf control.tar control && tar -cf data.tar --files-from /dev/null && echo 2.0 > debian-binary
      ar rc x.deb debian-binary control.tar data.tar
      """, in: folder.path)
    let path = folder.path.appending("x.deb")
    let error = #expect(throws: StoreError.self) { try DebianArchive(path: path) }
    guard case .invalidArchive(path, "control", _) = error else {
      Issue.record("\(what): \(String(describing: error))")
      return
    }
  }

  @Test func `the outer archive is checked`() async throws {
    let folder = try TemporaryDirectory()
    try await shell(Self.package, in: folder.path)
    try await shell(
      """
      dpkg-deb -Znone -b deb whole.deb && ar x whole.deb
      ar rc unordered.deb control.tar debian-binary data.tar
      ar rc dataless.deb debian-binary control.tar
      echo 3.0 > debian-binary && ar rc version.deb debian-binary control.tar data.tar
      head -c 5000 whole.deb > short.deb
      : > empty.deb
      """, in: folder.path)
    #expect(try DebianArchive(path: folder.path.appending("whole.deb")).control["Package"] == "sample")
    for name in ["unordered", "dataless", "version", "short", "empty"] {
      #expect(throws: StoreError.self, "\(name)") { try DebianArchive(path: folder.path.appending("\(name).deb")) }
    }
  }
}
