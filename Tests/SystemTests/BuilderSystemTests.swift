// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import Foundation
import SystemPackage
import TestSupport
import Testing

/// Every builder builds upstream's real source, in the real sandbox, from packages that the demo has imported; what comes out runs.
@Suite(.serialized) struct BuilderSystemTests {
  /// A definition, and a command of its result with what that says.
  struct Sample: Sendable, CustomTestStringConvertible {
    let name: String
    let version: String
    let definition: String
    let packages: [String]
    let script: String
    let expected: String
    var testDescription: String { name }
    var fullName: String { "\(name)-amd64-\(version)" }
    var text: String { "version: \"\(version)\"\n\(definition)\n" }
  }

  static let samples = [
    // autoreconf, libtool and all options of the c builder.
    Sample(
      name: "libsigsegv", version: "2.14-1",
      definition: """
        source: "libsigsegv_2.14.orig.tar.gz"
        hash: "cdac3941803364cf81a908499beb79c200ead60b6b5b40cad124fd1e06caa295"
        writable_sourcedir: true in_tree_build: true
        cbuilder: {
          autoreconf: true extra_configure_flag: "--enable-shared" extra_configure_flag: "--disable-static"
          extra_ldflag: "-Wl,-z,now" extra_make_flag: "SUBDIRS=src"
        }
        """,
      packages: ["libsigsegv", "binutils"],
      script:
        "cd /ro/libsigsegv-*/out/lib; ls libsigsegv.a 2>/dev/null || readelf -d libsigsegv.so | grep -o 'FLAGS.*NOW\\|/ro/.*/lib'",
      expected: "/ro/libsigsegv-amd64-2.14-1/lib\nFLAGS)              BIND_NOW\nFLAGS_1)            Flags: NOW\n"),
    Sample(
      name: "cjson", version: "1.7.15-1",
      definition: """
        source: "cjson_1.7.15.orig.tar.gz"
        hash: "5308fd4bd90cef7aa060558514de6a1a4a0819974a26e6ed13973c5f624c24b2"
        cmakebuilder: { extra_cmake_flag: "-DENABLE_CJSON_TEST=OFF" }
        """,
      packages: ["cjson"], script: "cd /ro/cjson-*/out; ls lib/libcjson.so.1 lib/pkgconfig include/cjson",
      expected: "lib/libcjson.so.1\n\ninclude/cjson:\ncJSON.h\n\nlib/pkgconfig:\nlibcjson.pc\n"),
    Sample(
      name: "fribidi", version: "1.0.8-1",
      definition: """
        source: "fribidi_1.0.8.orig.tar.bz2"
        hash: "94c7b68d86ad2a9613b4dcffe7bbeb03523d63b5b37918bdf2e4ef34195c1e6c"
        mesonbuilder: { extra_meson_flag: "-Ddocs=false" }
        """,
      packages: ["fribidi"], script: "fribidi --version | head -n 1", expected: "fribidi (GNU FriBidi) 1.0.8\n"),
    Sample(
      name: "perl-Clone", version: "0.46-1",
      definition: """
        source: "libclone-perl_0.46.orig.tar.gz"
        hash: "aadeed5e4c8bd6bbdf68c0dd0066cb513e16ab9e5b4382dc4a0aafd55890697b"
        perlbuilder: { extra_makefile_flag: "OPTIMIZE=-g -O1" } dep: "m4"
        """,
      packages: ["perl-Clone"],
      script:
        "PERL5LIB=/ro/lib/perl5 perl -MClone=clone -e 'print clone([1, 2])->[1], \"\\n\"'; find /ro/perl-Clone-*/ -name '*packlist' -o -name '*.pod'",
      expected: "2\n"),
    Sample(
      name: "python3-markupsafe", version: "2.1.2-1",
      definition: """
        source: "MarkupSafe-2.1.2.tar.gz"
        hash: "abcabc8c2b26036d62d4c746381a6f7cf60aafcc653198ad678306986b09450d"
        pythonbuilder: {}
        """,
      packages: ["python3-markupsafe"],
      script:
        "PYTHONPATH=/ro/lib/python3.11/site-packages python3 -B -c 'from markupsafe import _speedups; print(_speedups.escape(\"<\"))'",
      expected: "&lt;\n"),
    Sample(
      name: "python3-blinker", version: "1.6.2-1",
      definition: """
        source: "blinker-1.6.2.tar.gz"
        hash: "4afd3de66ef3a9f8067559fb7a1cbe555c17dcbe15971b05d1b625c3e7abe213"
        pythonbuilder: {} writable_sourcedir: true in_tree_build: true
        """,
      packages: ["python3-blinker"],
      // Byte code 1: found by its source's hash, and not compared.
      script: """
        cd /ro/python3-blinker-*/out/lib/python3.11/site-packages
        PYTHONPATH=$PWD python3 -v -c 'import blinker; print(blinker.__version__)' 2>&1 | grep -o '^1.*\\|matches.*blinker/__init__.py'
        head -c 8 blinker/__pycache__/__init__.cpython-311.pyc | od -An -tu1 -j4
        """,
      expected:
        "matches /ro/python3-blinker-amd64-1.6.2-1/out/lib/python3.11/site-packages/blinker/__init__.py\n1.6.2\n   1   0   0   0\n"),
  ]

  @Test(arguments: samples)
  func `upstream's source becomes a package that works`(sample: Sample) async throws {
    let bench = try await BuilderBench.shared.value
    try await bench.build(sample.name, sample.text)
    #expect(try await bench.run(sample.packages, sample.script) == sample.expected)
  }

  @Test func `a perl module that has a Build.PL only is built by it`() async throws {
    let bench = try await BuilderBench.shared.value
    // Debian's Module::Build as a package; it is none of perl's own modules.
    try await BuilderBench.shell(
      """
      cd '\(BuilderBench.sources)'/debs
      ls libmodule-build-perl_*.deb >/dev/null 2>&1 || apt-get download --quiet --quiet libmodule-build-perl
      rm -rf mb && dpkg-deb -x libmodule-build-perl_*.deb mb
      rm -rf '\(BuilderBench.folder)'/copy/pkgs/perl-Module-Build && mkdir -p '\(BuilderBench.folder)'/copy/pkgs/perl-Module-Build
      mv mb/usr/share/perl5 '\(BuilderBench.folder)'/copy/pkgs/perl-Module-Build/upstream
      """)
    try await bench.build(
      "perl-Module-Build",
      """
      source: "./upstream" version: "0.4232-1" dep: "bash" dep: "coreutils" runtime_dep: "perl"
      build_step: {
        argv: "bash" argv: "-euc"
        argv: "mkdir -p ${DISTRI_DESTDIR}${DISTRI_PREFIX}/lib && cp -r ${DISTRI_SOURCEDIR} ${DISTRI_DESTDIR}${DISTRI_PREFIX}/lib/perl5"
      }
      """)
    for (path, text) in [
      "Build.PL": """
      use Module::Build;
      Module::Build->new(module_name => 'Greeting', dist_author => 'x', dist_abstract => 'x', script_files => ['greet'])->create_build_script;

      """,
      "lib/Greeting.pm":
        "package Greeting;\nour $VERSION = '1.5';\nsub word { 'hello' }\n1;\n\n=head1 NAME\n\nGreeting - x\n\n=cut\n",
      "greet": "#!/usr/bin/perl\nuse Greeting;\nprint Greeting::word(), \" @ARGV\\n\";\n",
    ] { try BuilderBench.write(text, to: "pkgs/perl-Greeting/upstream/\(path)") }
    try await bench.build(
      "perl-Greeting",
      """
      source: "./upstream" version: "1.5-1" perlbuilder: {} dep: "perl-Module-Build"
      """)
    let files = "cd /ro/perl-Greeting-*/out; greet you; find . -type f | sort; grep -o '^#!/ro/perl[^/]*' bin/greet"
    let perl = try #require(try bench.metadata("perl-Greeting-amd64-1.5-1", "runtime_dep").first { $0.contains("\"perl-amd64-5") })
    #expect(
      try await bench.run(["perl-Greeting"], files) == """
        hello you
        ./bin/greet
        ./lib/perl5/Greeting.pm
        ./share/man/man3/Greeting.3pm
        #!/ro/\(perl.split(separator: "\"")[1])

        """)
  }

  @Test func `perl modules need what they were built with, python modules need python`() async throws {
    let bench = try await BuilderBench.shared.value
    let perl = try bench.metadata("perl-Clone-amd64-0.46-1", "runtime_dep")
    #expect(perl.contains { $0.contains("\"perl-amd64-5") } && perl.contains { $0.contains("\"m4-amd64-") })
    #expect(try bench.metadata("python3-blinker-amd64-1.6.2-1", "runtime_dep").contains { $0.contains("\"python3-amd64-") })
  }

  @Test func `a go program of the working copy is built with a module that is a package`() async throws {
    let bench = try await BuilderBench.shared.value
    try await Self.writeGoProgram()
    let done = try await bench.build(["go-github.com-kballard-go--shellquote", "quote"])
    try #require(done.status == 0, "\(done.errors.suffix(4000))")
    let version = "v0.0.0-20180428030007-95032a82bc51"
    let files = try await bench.run(
      ["go-github.com-kballard-go--shellquote"], "cd /ro/gopath/cache/download/github.com/kballard; find . -name 'v*' | sort")
    #expect(files == ["info", "mod", "zip"].map { "./go-shellquote/@v/\(version).\($0)\n" }.joined())
    let said = try await bench.run(["quote"], "quote \"it's\" a; unquote \"'a b' c\"; cat /ro/share/quote/note")
    #expect(said == "it\\'s a\na b\nc\nnote\n")
  }

  /// A module without go.sum, in a working copy of git that holds the definitions, too.
  private static func writeGoProgram() async throws {
    let module = "github.com/kballard/go-shellquote", version = "v0.0.0-20180428030007-95032a82bc51"
    try BuilderBench.write("module example.org/quote\n\ngo 1.19\n\nrequire \(module) \(version)\n", to: "go.mod")
    let quote = "fmt.Println(shellquote.Join(os.Args[1:]...))"
    let unquote =
      "words, err := shellquote.Split(os.Args[1])\n\tif err != nil {\n\t\tpanic(err)\n\t}\n\tfor _, w := range words {\n\t\tfmt.Println(w)\n\t}"
    for (name, body) in [("quote", quote), ("unquote", unquote)] {
      try BuilderBench.write(
        "package main\n\nimport (\n\t\"fmt\"\n\t\"os\"\n\n\t\"\(module)\"\n)\n\nfunc main() {\n\t\(body)\n}\n",
        to: "cmd/\(name)/main.go")
    }
    try BuilderBench.write("note\n", to: "doc/note")
    let zip = BuilderBench.folder.appending("proxy/\(module)/@v/\(version).zip")
    let hash = try await BuilderBench.shell("sha256sum '\(zip)' | cut -d ' ' -f 1").trimmingCharacters(in: .newlines)
    try BuilderBench.write(
      "source: \"distri+gomod://\(module)@\(version)\" hash: \"\(hash)\" version: \"\(version)-1\" gomodbuilder: {}",
      to: "pkgs/go-github.com-kballard-go--shellquote/build.textproto")
    try BuilderBench.write(
      """
      source: "distriroot://quote1-1.tar.gz" version: "1-1"
      gobuilder: { install: "./cmd/quote ./cmd/unquote" import_path: "quote1" go_env: "CGO_ENABLED=0" }
      dep: "go-github.com-kballard-go--shellquote"
      install: { file: { srcpath: "pkg/mod/quote1@v0/doc/note" destpath: "share/quote/note" } }
      """, to: "pkgs/quote/build.textproto")
    try await BuilderBench.shell(
      """
      cd '\(BuilderBench.folder)/copy'; [ -d .git ] || git init -q .; git add go.mod cmd doc
      git -c user.name=a -c user.email=a@b.c commit -qm one --date=@1600000000 || git log -1 --format=%H
      """)
  }

  @Test func `the same source gives the same bytes with other jobs in another place`() async throws {
    let first = try await BuilderBench.shared.value
    let names = [
      "cjson", "fribidi", "perl-Clone", "python3-markupsafe", "python3-blinker", "go-github.com-kballard-go--shellquote", "quote",
    ]
    let second = try await BuilderBench(store: "again")
    let done = try await second.build(names, jobs: 1)
    try #require(done.status == 0, "\(done.errors.suffix(4000))")
    let packages = done.output.split(separator: "\n").map(String.init)
    #expect(packages.count >= names.count)
    for package in packages {
      let (a, b) = (first.store.appending("\(package).squashfs").string, second.store.appending("\(package).squashfs").string)
      #expect(FileManager.default.contentsEqual(atPath: a, andPath: b), "\(package) differs")
    }
  }
}
