// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriBuild
import DistriStore
import Testing

/// What the builders plan; that it builds, and builds the same bytes, is shown by the system tests.
@Suite struct BuildSystemTests {
  private let home = "/ro/sample-amd64-1-1/out", source = "/usr/src/sample-amd64-1-1"

  private func plan(_ text: String) throws -> BuildPlan {
    try DistriBuildTests.plan(text.contains("version:") ? text : "version: \"1-1\" \(text)")
  }

  private func lines(_ text: String) throws -> [String] { try plan(text).steps.map(BuildPlan.line) }

  @Test func `cmake configures, ninja builds and installs`() throws {
    let plan = try self.plan("version: \"1-1\" cmakebuilder: { extra_cmake_flag: \"-DA=${DISTRI_PREFIX}\" }")
    #expect(plan.steps[0].starts(with: ["cmake", "-S", source, "-B", ".", "-G", "Ninja", "-DCMAKE_INSTALL_PREFIX:PATH=\(home)"]))
    // Behind ours, so that a definition can say otherwise.
    #expect(plan.steps[0].last == "-DA=\(home)")
    #expect(plan.steps.dropFirst().map(BuildPlan.line) == ["ninja -v -j 4", "ninja install"])
    #expect(plan.sandbox.environment["DESTDIR"] == "/dest/tmp")
    let prefixes = try #require(plan.sandbox.environment["CMAKE_PREFIX_PATH"]).split(separator: ":")
    #expect(prefixes.contains("/ro/zlib-amd64-1.3-10/out") && !prefixes.contains { $0.contains("glibc") })
  }

  @Test func `meson never builds in the source itself`() throws {
    let flags = "--prefix=\(home) --libdir=lib --sysconfdir=/etc --localstatedir=/var --buildtype=debugoptimized"
    #expect(
      try lines("mesonbuilder: { extra_meson_flag: \"-Da=b\" }") == [
        "meson setup \(flags) --wrap-mode=nodownload -Da=b \(source) .", "ninja -v -C . -j 4", "ninja -C . install",
      ])
    #expect(
      try lines("mesonbuilder: {} in_tree_build: true writable_sourcedir: true") == [
        "meson setup \(flags) --wrap-mode=nodownload \(source) _build", "ninja -v -C _build -j 4", "ninja -C _build install",
      ])
  }

  @Test func `perl works in a copy and needs at run time what it needed to build`() throws {
    let plan = try self.plan("version: \"1-1\" perlbuilder: { extra_makefile_flag: \"A=1\" } dep: \"perl-URI\" dep: \"zlib\"")
    #expect(
      plan.steps.map { $0.filter { !$0.contains("\n") } } == [
        ["cp", "--archive", "--no-target-directory", source, "."], ["/bin/sh", "-ec", "configure", home, "A=1"],
        ["/bin/sh", "-ec", "build", "-j4"], ["/bin/sh", "-ec", "install", "/dest/tmp"],
      ])
    #expect(plan.runtimeDependencies == ["perl", "perl-URI", "zlib"])
    #expect(try self.plan("version: \"1-1\" perlbuilder: {} in_tree_build: true writable_sourcedir: true").steps.count == 3)
  }

  @Test func `python needs python3 at run time and leaves byte code to one step`() throws {
    let plan = try self.plan("version: \"1-1\" pythonbuilder: {}")
    #expect(plan.runtimeDependencies == ["python3"] && plan.steps.count == 4)
    #expect(plan.sandbox.environment["PYTHONDONTWRITEBYTECODE"] == "1" && plan.sandbox.environment["PYTHONHASHSEED"] == "0")
    #expect(plan.steps[3].suffix(2) == [home, "/dest/tmp"])
  }

  @Test func `a go module needs a shell and coreutils only, and becomes part of gopath`() throws {
    #expect(
      try lines("gomodbuilder: {}") == [
        "mkdir -p /dest/tmp\(home)/gopath", "cp --archive --no-target-directory \(source) /dest/tmp\(home)/gopath",
      ])
    let definition = try parse("gomodbuilder: {}")
    #expect(definition.buildSystem().implicitDependencies(of: definition, for: .amd64).map(\.name) == ["bash", "coreutils"])
  }

  @Test func `go gets import path, packages and environment of the definition`() throws {
    let text = """
      version: "1-1"
      gobuilder: { install: "./cmd/a ./cmd/b" install: "./c" import_path: "example.org/sample" go_env: "CGO_ENABLED=0" go_env: "GOFLAGS=-x=y" }
      """
    let plan = try self.plan(text)
    #expect(plan.steps.map { $0[0] } == ["cp", "/bin/sh", "/bin/sh"])
    #expect(
      plan.steps[2].dropFirst(3) == [
        "install", "src", "example.org/sample", "4", "/ro/sample-amd64-1-1/lib", "./cmd/a", "./cmd/b", "./c",
      ])
    let environment = plan.sandbox.environment
    #expect(environment["CGO_ENABLED"] == "0" && environment["GOFLAGS"] == "-x=y" && environment["GOBIN"] == "/dest/tmp\(home)/bin")
    #expect(try self.plan("gobuilder: {}").steps[2].last == "./...")
    #expect {
      _ = try self.plan("gobuilder: { go_env: \"CGO_ENABLED\" }")
    } throws: {
      "\($0)".contains("go_env «CGO_ENABLED» is not NAME=value")
    }
  }

  @Test(arguments: [
    ("perlbuilder", ["perl"]), ("pythonbuilder", ["python3"]), ("cmakebuilder", ["cmake", "ninja"]), ("mesonbuilder", ["meson"]),
    ("gobuilder", ["golang"]),
  ])
  func `a builder asks for its tools beside those of all`(builder: String, tools: [String]) throws {
    let definition = try parse("\(builder): {}")
    let required = definition.buildSystem().implicitDependencies(of: definition, for: .amd64).filter(\.isRequired).map(\.name)
    let common = BuildDependency.toolchain.filter(\.isRequired).map(\.name)
    #expect(required == common + tools)
  }
}
