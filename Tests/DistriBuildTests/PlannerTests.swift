// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriBuild
import DistriStore
import SystemPackage
import Testing

/// A package that has nothing but empty files.
func package(_ files: [String]) throws -> PackageTree {
  var tree = PackageTree()
  for file in files { tree.insertFile(try TreePath(parsing: file), []) }
  return tree
}

private let glibc = "glibc-amd64-2.36-1", gcc = "gcc-amd64-12-1"

/// A C library, a compiler of Debian's layout, two versions of one library.
private func toolchain() throws -> PackageSet {
  var set = PackageSet()
  let packages = [
    glibc: ["out/lib/ld-linux-x86-64.so.2", "out/lib/libc.so.6", "out/include/stdio.h"],
    gcc: ["out/lib/x86_64-linux-gnu/libgcc.a", "out/include/x86_64-linux-gnu/c++/v", "out/bin/gcc"],
    "zlib-amd64-1.2-9": ["out/lib/libz.so", "out/include/zlib.h", "out/lib/x86_64-linux-gnu/pkgconfig/zlib.pc"],
    "zlib-amd64-1.3-10": ["out/lib/libz.so", "out/include/zlib.h", "out/lib/pkgconfig/zlib.pc"],
    "linux-amd64-6-1": ["out/include/linux/fs.h", "out/share/pkgconfig/l.pc"],
    "perl-amd64-5-1": ["out/share/perl5/A.pm", "out/lib/python3.11/site-packages/a.py"],
  ]
  for (name, files) in packages { try set.insert(PackageID(parsing: name), package(files)) }
  return set
}

func plan(_ text: String, jobs: Int = 4) throws -> BuildPlan {
  let definition = try parse(text)
  let layout = BuildLayout(
    package: try definition.package(for: .amd64), definition: "/defs/sample", below: "/builds/sample",
    buildsInTree: definition.buildsInTree, jobs: jobs)
  let set = try toolchain()
  return try Planner(
    definition, layout: layout, dependencies: set.packages, contents: set, view: "/mnt/view", sourceDate: 1_600_000_000
  ).plan()
}

@Suite struct PlannerTests {
  @Test func `the c builder configures, makes and installs`() throws {
    let text = """
      version: "1.2-3"
      cbuilder: {
        extra_configure_flag: "--libdir=${DISTRI_PREFIX}/lib" extra_make_flag: "CC=gcc" extra_ldflag: "-Wl,-z,now"
      }
      """
    let plan = try plan(text)
    #expect(
      plan.steps.map(BuildPlan.line) == [
        "/usr/src/sample-amd64-1.2-3/configure --build=x86_64-pc-linux-gnu --host=x86_64-pc-linux-gnu "
          + "--prefix=/ro/sample-amd64-1.2-3/out --sysconfdir=/etc --disable-dependency-tracking "
          + "--libdir=/ro/sample-amd64-1.2-3/out/lib",
        "make -j4 V=1 CC=gcc",
        "make install DESTDIR=/dest/tmp PREFIX=/ro/sample-amd64-1.2-3/out CC=gcc",
      ])
    #expect(plan.sandbox.environment["DESTDIR"] == "/dest/tmp")
    #expect(
      plan.sandbox.environment["LDFLAGS"]
        == "-Wl,-rpath=/ro/sample-amd64-1.2-3/lib -Wl,--dynamic-linker=/ro/\(glibc)/out/lib/ld-linux-x86-64.so.2 -Wl,-z,now")
    #expect(plan.sandbox.workingDirectory == "/build")
  }

  @Test func `autoreconf comes first and needs a source that can be written to`() throws {
    let builder = "version: \"1-1\" cbuilder: { autoreconf: true }"
    let steps = try plan("\(builder) writable_sourcedir: true in_tree_build: true").steps
    #expect(steps.first == ["autoreconf", "--force", "--install"] && steps.count == 4)
    #expect(throws: BuildError.self) { try plan(builder) }
    #expect(throws: BuildError.self) { try plan("\(builder) writable_sourcedir: true") }
  }

  @Test func `a definition's own steps replace those of the builder, with variables`() throws {
    let plan = try plan(
      """
      version: "1-1" cbuilder: {}
      build_step: { argv: "sh" argv: "-c" argv: "echo $HOME ${HOME} ${DISTRI_JOBS} ${DISTRI_BUILDDIR} ${DISTRI_SOURCEDIR}" }
      build_step: { argv: "${DISTRI_DESTDIR}${DISTRI_PREFIX}" argv: "${DISTRI_FULLNAME}" argv: "${DISTRI_RESOLVE:zlib}" }
      """)
    #expect(
      plan.steps == [
        ["sh", "-c", "echo $HOME ${HOME} 4 /build /usr/src/sample-amd64-1-1"],
        ["/dest/tmp/ro/sample-amd64-1-1/out", "sample-amd64-1-1", "zlib-amd64-1.3-10"],
      ])
    #expect(throws: BuildError.missingDependency("nothing", of: "sample")) {
      try Planner(
        parse("version: \"1-1\" build_step: { argv: \"${DISTRI_RESOLVE:nothing}\" }"),
        layout: BuildLayout(package: PackageID(parsing: "sample-amd64-1-1"), definition: "/d", below: "/w"), dependencies: [],
        contents: PackageSet(), view: "/v", sourceDate: 0
      ).plan()
    }
  }

  @Test func `the environment leads to the dependencies, the newest first and the C library never in CPATH`() throws {
    let environment = try plan("version: \"1-1\" cbuilder: {}").sandbox.environment
    #expect(
      environment["CPATH"]
        == "/ro/\(gcc)/out/include:/ro/\(gcc)/out/include/x86_64-linux-gnu:/ro/linux-amd64-6-1/out/include:"
        + "/ro/zlib-amd64-1.3-10/out/include:/ro/zlib-amd64-1.2-9/out/include")
    #expect(
      environment["LIBRARY_PATH"]
        == "/ro/\(gcc)/out/lib:/ro/\(gcc)/out/lib/x86_64-linux-gnu:/ro/\(glibc)/out/lib:/ro/perl-amd64-5-1/out/lib:"
        + "/ro/zlib-amd64-1.3-10/out/lib:/ro/zlib-amd64-1.2-9/out/lib:/ro/zlib-amd64-1.2-9/out/lib/x86_64-linux-gnu")
    #expect(environment["LD_LIBRARY_PATH"] == "/run/lib")
    #expect(
      environment["PKG_CONFIG_PATH"]
        == "/ro/linux-amd64-6-1/out/share/pkgconfig:/ro/zlib-amd64-1.3-10/out/lib/pkgconfig:"
        + "/ro/zlib-amd64-1.2-9/out/lib/x86_64-linux-gnu/pkgconfig")
    #expect(environment["PERL5LIB"] == "/ro/perl-amd64-5-1/out/share/perl5")
    #expect(environment["PYTHONPATH"] == "/ro/perl-amd64-5-1/out/lib/python3.11/site-packages")
    #expect(environment["PATH"] == "/ro/bin:/bin")
    #expect(environment["SOURCE_DATE_EPOCH"] == "1600000000")
  }

  @Test func `steps find the shared libraries of the dependencies in one directory, the newest, but those of C libraries`() throws {
    let libraries = try plan("version: \"1-1\" cbuilder: {}").libraries
    #expect(libraries.mapValues(\.inView) == [try EntryName("libz.so"): "/ro/zlib-amd64-1.3-10/out/lib/libz.so"])
    var set = PackageSet()
    try set.insert(
      PackageID(parsing: "a-amd64-1-1"),
      package([
        "out/lib/liba.so.1", "out/lib/x86_64-linux-gnu/liba.so.2", "out/lib/liba.a", "out/lib/a/libdeep.so", "out/lib32/libold.so",
      ]))
    try set.insert(PackageID(parsing: "musl-amd64-1-1"), package(["out/lib/libc.so"]))
    try set.insert(PackageID(parsing: "b-amd64-1-1"), package(["out/lib/liba.so.1", "out/lib64/libb.so"]), isNamed: true)
    let found = set.sharedLibraries(of: .amd64).map { "\($0) \($1.inView)" }.sorted()
    #expect(
      found == [
        "liba.so.1 /ro/b-amd64-1-1/out/lib/liba.so.1", "liba.so.2 /ro/a-amd64-1-1/out/lib/x86_64-linux-gnu/liba.so.2",
        "libb.so /ro/b-amd64-1-1/out/lib64/libb.so",
      ])
  }

  @Test func `the sandbox shares nothing with the host but view, source and destination`() throws {
    let plan = try plan("version: \"1-1\" cbuilder: {}")
    #expect(plan.sandbox.namespaces == .all && plan.sandbox.privileges == .installation && plan.sandbox.ownSession)
    let home = "/ro/sample-amd64-1-1"
    let binds = plan.sandbox.operations.compactMap { operation in
      if case .bind(let from, let to, let readOnly, _) = operation { "\(from) \(to) \(readOnly)" } else { nil }
    }
    #expect(
      binds == [
        "/mnt/view /ro true", "/builds/sample/dest\(home) \(home) false", "/builds/sample/lib /run/lib true",
        "/builds/sample/dest /dest/tmp false",
        "/builds/sample/source /usr/src/sample-amd64-1-1 true", "/builds/sample/build /build false",
      ])
    #expect(plan.sandbox.operations.contains(.symbolicLink(at: "/lib64", to: "/ro/\(glibc)/out/lib")))
  }

  @Test func `in the tree, source and build directory are one`() throws {
    let plan = try plan("version: \"1-1\" cbuilder: {} in_tree_build: true writable_sourcedir: true")
    #expect(plan.sandbox.workingDirectory == "/usr/src/sample-amd64-1-1")
    #expect(plan.sandbox.operations.contains(.bind(from: "/builds/sample/source", to: "/usr/src/sample-amd64-1-1")))
    #expect(!plan.sandbox.operations.contains { $0.description.hasSuffix("on /build") })
  }

  @Test func `a definition with neither builder nor steps is an error`() {
    #expect(throws: BuildError.self) { try plan("version: \"1-1\"") }
    #expect(throws: BuildError.self) { try plan("version: \"1-1\" build_step: {}") }
  }

  @Test func `the same definition gives the same plan, and a plan prints`() throws {
    let text = "version: \"1-1\" cbuilder: {}"
    #expect(try plan(text) == plan(text))
    let lines = try plan(text).description.split(separator: "\n")
    #expect(lines.first == "build sample-amd64-1-1")
    #expect(lines.contains("run make -j4 V=1") && lines.contains("with zlib-amd64-1.3-10"))
    #expect(BuildPlan.line(["sh", "-c", "echo 'a b'", ""]) == #"sh -c 'echo '\''a b'\''' ''"#)
  }
}
