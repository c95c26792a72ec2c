// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import Foundation
import SystemPackage
import TestSupport
import Testing

extension BuilderSystemTests {
  /// A definition that has every field but those of builders, on a source that shows what came of each.
  @Suite(.serialized) struct DefinitionFieldTests {
    private static let definition = #"""
      # comments stay out of it
      source: "src"
      version: "1.5-2"
      writable_sourcedir: true
      in_tree_build: true
      cherry_pick: "greeting.patch"
      extra_file: "extra.txt"
      cbuilder: { extra_ldflag: "-Wl,-z,now" }
      dep: "zlib"
      runtime_dep: "m4"
      build_step: {
        argv: "/bin/sh" argv: "-ec"
        argv: "echo '#define MADE \"in the source\"' > ${DISTRI_SOURCEDIR}/made.h; echo $LDFLAGS | tr ' ' '\n' > ldflags"
      }
      build_step: {
        argv: "make" argv: "-j${DISTRI_JOBS}" argv: "install" argv: "DESTDIR=${DISTRI_DESTDIR}" argv: "PREFIX=${DISTRI_PREFIX}"
        argv: "HOST=${DISTRI_CONFIGURE_HOST}" argv: "ZLIB=${DISTRI_RESOLVE:zlib}" argv: "NAME=${DISTRI_FULLNAME}"
        argv: "BUILDDIR=${DISTRI_BUILDDIR}" argv: "SHELLVAR=${OTHER}"
      }
      install: {
        systemd_unit: "fields.service"
        symlink: { oldname: "${DISTRI_PREFIX}/share/fields/extra.txt" newname: "share/fields/link" }
        empty_dir: "lib/fields/empty"
        chmod: { setuid: true name: "bin/su" }
        capability: { filename: "bin/ping" capability: "cap_net_raw=ep" }
        file: { srcpath: "extra.txt" destpath: "share/fields/extra.txt" }
        rename: { oldname: "bin/old" newname: "bin/new" }
        delete: "share/info"
      }
      install: { delete: "bin/unwanted" }
      split_package: {
        name: "fields-libs"
        runtime_dep: "m4"
        claim: { glob: "out/lib/lib*.so.[0-9]*" }
        claim: { glob: "out/include/[^p]*.h" dir: "out/include/fields" }
      }
      runtime_union: { dir: "lib/plugins" pkg: "fields-host" }
      ack_missing_dwarf: "its programs are linked with -s"

      """#

    private static let makefile = """
      B = $(DESTDIR)$(PREFIX)
      install:
      \tmkdir -p $(B)/bin $(B)/lib/plugins $(B)/include $(B)/share/info $(DESTDIR)/etc
      \tgcc -s -fPIC -shared -Wl,-soname,libfields.so.1 -o $(B)/lib/libfields.so.1.2 lib.c
      \tln -s libfields.so.1.2 $(B)/lib/libfields.so.1
      \tln -s libfields.so.1 $(B)/lib/libfields.so
      \tgcc -s -o $(B)/bin/greet main.c -L$(B)/lib -lfields -lz $(LDFLAGS)
      \tcp $(B)/bin/greet $(B)/bin/old; cp $(B)/bin/greet $(B)/bin/su; cp $(B)/bin/greet $(B)/bin/ping; cp $(B)/bin/greet $(B)/bin/unwanted
      \ttouch $(B)/include/fields.h $(B)/include/private.h $(B)/share/info/dir $(B)/lib/plugins/plugin
      \techo setting > $(DESTDIR)/etc/fields.conf
      \tprintf '%s\\n' $(DESTDIR) $(PREFIX) $(HOST) $(ZLIB) $(NAME) $(BUILDDIR) '$(value SHELLVAR)' > $(B)/share/variables
      \ttail -n 1 ldflags >> $(B)/share/variables

      """

    /// Written and built once.
    private static let bench = Task { () async throws -> BuilderBench in
      let bench = try await BuilderBench.shared.value
      let main = """
        #include <stdio.h>
        #include <zlib.h>
        #include "made.h"
        const char *greeting(void);
        int main(void) { printf("%s %s %s\\n", greeting(), MADE, zlibVersion()); return 0; }

        """
      for (path, text) in [
        "src/main.c": main, "src/lib.c": "const char *greeting(void) {\n  return \"before\";\n}\n", "src/Makefile": makefile,
        "src/fields.service": "[Service]\nExecStart=/bin/greet\n", "extra.txt": "extra\n",
        "greeting.patch":
          "--- a/lib.c\n+++ b/lib.c\n@@ -1,3 +1,3 @@\n const char *greeting(void) {\n-  return \"before\";\n+  return \"patched\";\n }\n",
        "wrappers/greet": "#!/bin/sh\necho ${DISTRI_FULLNAME} \"$HOME\"; exec ${DISTRI_PREFIX}/bin/greet \"$@\"\n",
      ] { try BuilderBench.write(text, to: "pkgs/fields/\(path)") }
      try await bench.build(
        "fields-host",
        """
        source: "empty://" version: "1-1"
        dep: "bash" dep: "coreutils"
        build_step: { argv: "install" argv: "-D" argv: "/dev/null" argv: "${DISTRI_DESTDIR}${DISTRI_PREFIX}/lib/plugins/base" }
        """)
      try await bench.build("fields", definition)
      return bench
    }

    private let fields = "/ro/fields-amd64-1.5-2", libs = "/ro/fields-libs-amd64-1.5-2"

    @Test func `steps see the variables, write to the source, and the patched program runs`() async throws {
      let bench = try await Self.bench.value
      #expect(try await bench.run(["fields"], "\(fields)/out/bin/new") == "patched in the source 1.2.13\n")
      let zlib = try await bench.run(["fields"], "cd /ro; echo zlib-*")
      #expect(
        try await bench.run(["fields"], "cat \(fields)/out/share/variables")
          == "/dest/tmp\n\(fields)/out\nx86_64-pc-linux-gnu\n\(zlib)fields-amd64-1.5-2\n/usr/src/fields-amd64-1.5-2\n${OTHER}\n-Wl,-z,now\n"
      )
    }

    @Test func `the definition's own wrapper is what users start`() async throws {
      let bench = try await Self.bench.value
      #expect(try await bench.run(["fields"], "HOME=/x greet") == "fields-amd64-1.5-2 /x\npatched in the source 1.2.13\n")
    }

    @Test func `every install instruction is carried out`() async throws {
      let bench = try await Self.bench.value
      let tree = BuilderBench.folder.appending("fields-tree")
      try await BuilderBench.shell(
        "rm -rf '\(tree)'; unsquashfs -q -n -d '\(tree)' '\(bench.store)/fields-amd64-1.5-2.squashfs' >/dev/null")
      let said = try await BuilderBench.shell(
        """
        cd '\(tree)'; ls out/bin out/share bin; stat -c '%A %n' out/bin/su out/lib/fields/empty; getcap out/bin/*
        cat out/lib/systemd/system/fields.service out/share/fields/extra.txt etc/fields.conf; readlink out/share/fields/link
        """)
      #expect(
        said == """
          bin:
          greet
          new
          ping
          su

          out/bin:
          greet
          new
          ping
          su

          out/share:
          fields
          variables
          -rwsr-xr-x out/bin/su
          drwxr-xr-x out/lib/fields/empty
          out/bin/ping cap_net_raw=ep
          [Service]
          ExecStart=/bin/greet
          extra
          setting
          \(fields)/out/share/fields/extra.txt

          """)
    }

    @Test func `claimed files are in the split package, and links to them are left behind`() async throws {
      let bench = try await Self.bench.value
      let said = try await bench.run(
        ["fields"],
        """
        cd \(fields)/out; for link in lib/libfields.so lib/libfields.so.1 lib/libfields.so.1.2 include/fields.h; do readlink $link; done
        ls include \(libs)/out/lib \(libs)/out/include; readlink \(fields)/lib/libfields.so.1
        """)
      #expect(
        said == """
          libfields.so.1
          \(libs)/out/lib/libfields.so.1
          \(libs)/out/lib/libfields.so.1.2
          \(libs)/out/include/fields/fields.h
          \(libs)/out/include:
          fields

          \(libs)/out/lib:
          libfields.so.1
          libfields.so.1.2

          include:
          fields.h
          private.h
          \(fields)/out/lib/libfields.so.1

          """)
    }

    @Test func `metadata names what was named, what was found and the union`() async throws {
      let bench = try await Self.bench.value
      let dependencies = try bench.metadata("fields-amd64-1.5-2", "runtime_dep").joined()
      for name in ["m4-amd64-", "zlib-amd64-", "glibc-amd64-", "fields-libs-amd64-1.5-2"] {
        #expect(dependencies.contains("\"\(name)"))
      }
      #expect(try bench.metadata("fields-libs-amd64-1.5-2", "runtime_dep").contains { $0.contains("\"m4-amd64-") })
      #expect(try bench.metadata("fields-libs-amd64-1.5-2", "source_pkg") == ["source_pkg: \"fields\""])
      #expect(try await bench.run(["fields", "fields-host"], "ls /ro/fields-host-amd64-1-1/out/lib/plugins") == "base\nplugin\n")
    }

    @Test func `a definition that cannot be built says where it is wrong`() async throws {
      let bench = try await Self.bench.value
      for (text, expected) in [
        (
          "version: \"1-1\"\nsplit_package: { name: \"b\" claim: { glob: \"a[\" } }",
          "broken/build.textproto:2:43: glob «a[» has a [ without ]"
        ),
        (
          "version: \"1-1\"\n  cbilder: {}",
          "broken/build.textproto:2:3: a definition has no field «cbilder»; did you mean cbuilder?"
        ),
        ("source: \"distri+source://none\" version: \"1-1\" cbuilder: {}", "distri+source://none: there is no definition in"),
        (
          "source: \"empty://\" version: \"1-1\" cbuilder: { autoreconf: true }",
          "autoreconf needs writable_sourcedir: true and in_tree_build: true"
        ),
        (
          "source: \"empty://\" version: \"1-1\" cbuilder: {} dep: \"nothing\"", "broken needs «nothing», which is not in the store"
        ),
      ] {
        try BuilderBench.write(text, to: "pkgs/broken/build.textproto")
        let done = try await bench.build(["broken"])
        #expect(done.status != 0 && done.errors.contains(expected), "\(done.errors)")
      }
    }
  }
}
