// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

@testable import DistriBuild
import Foundation
import SystemPackage
import Testing

/// A definition that has every field.
let completeDefinition = #"""
  # a comment
  source: "https://example.org/sample-1.2.tar.gz"
  hash: 'ab' "cd"  # adjacent literals
  version: "1.2-3"
  build_step: { argv: "/bin/sh" argv: "-c" argv: "echo \"\x41\102\u00e9\t\"" }
  build_step <argv: ["make", "install"]>,
  dep: "zlib"; dep: "ncurses"
  cherry_pick: "fix.patch"
  cbuilder {
    extra_configure_flag: "--with-x"
    extra_ldflag: "-Wl,-z,now"
    extra_make_flag: "Q="
    autoreconf: true
  }
  install: {
    systemd_unit: "sample.service"
    symlink: { oldname: "gcc" newname: "bin/cc" }
    empty_dir: "share/sample"
    chmod: { setuid: true name: "bin/su" }
    capability: { filename: "bin/ping" capability: "cap_net_raw=ep" }
    file: { srcpath: "a.conf" destpath: "share/a.conf" }
    rename: { oldname: "bin/a" newname: "bin/b" }
    delete: "share/info/dir"
  }
  install: { delete: "share/second" }
  runtime_dep: "bash"
  split_package: {
    name: "libsample"
    runtime_dep: "zlib"
    claim: { glob: "out/lib/lib*.so*" }
    claim: { glob: "out/lib/*.o" dir: "out/lib64" }
  }
  runtime_union: { dir: "share/plugins" pkg: "host" }
  extra_file: "a.conf"
  pull: {
    debian_packages: "sample"
    releases_url: "https://example.org/"
    release_regexp: "v([0-9.]+)"
    release_replace_all: { expr: "_" repl: "." }
    force_semver: true
  }
  writable_sourcedir: true
  in_tree_build: true
  ack_missing_dwarf: "assembler only"
  license: "MIT"
  summary: "A sample."
  homepage: "https://example.org/sample"
  """#

func parse(_ text: String, name: String = "sample") throws -> Definition {
  try DefinitionFile(bytes: Array(text.utf8), path: "sample/build.textproto", name: name).definition
}

/// The files of `DISTRI_CORPUS`, or none where the corpus is not at hand: then the complete definition above has to do.
private func corpus() throws -> [(String, [UInt8])] {
  var files = [("complete", Array(completeDefinition.utf8))]
  guard let path = ProcessInfo.processInfo.environment["DISTRI_CORPUS"], !path.isEmpty else { return files }
  let names = try FileManager.default.contentsOfDirectory(atPath: path).filter { $0.hasSuffix(".textproto") }.sorted()
  for name in names { files.append((name, Array(try Data(contentsOf: URL(filePath: path + "/" + name))))) }
  return files
}

@Suite struct DefinitionTests {
  @Test func `the rules of real definitions are expressions that are known`() throws {
    for (name, bytes) in try corpus() {
      let pull = try DefinitionFile(bytes: bytes, path: FilePath(name), name: name).definition.pull
      let expressions = pull.map { [$0.releaseRegularExpression] + $0.replacements.map(\.expression) } ?? []
      for text in expressions { #expect(throws: Never.self, "\(name): \(text)") { try RegularExpression(text) } }
    }
  }

  @Test func `every field of a definition is read`() throws {
    let definition = try parse(completeDefinition)
    #expect(definition.source == "https://example.org/sample-1.2.tar.gz")
    #expect(definition.hash == "abcd")
    #expect(definition.version == "1.2-3")
    #expect(definition.steps == [["/bin/sh", "-c", "echo \"ABé\t\""], ["make", "install"]])
    #expect(definition.dependencies == ["zlib", "ncurses"])
    #expect(definition.patches == ["fix.patch"])
    var builder = Definition.Builder.C()
    builder.extraConfigureFlags = ["--with-x"]
    builder.extraLinkerFlags = ["-Wl,-z,now"]
    builder.extraMakeFlags = ["Q="]
    builder.runsAutoreconf = true
    #expect(definition.builder == .c(builder))
    #expect(definition.runtimeDependencies == ["bash"])
    #expect(definition.extraFiles == ["a.conf"])
    #expect(definition.hasWritableSource && definition.buildsInTree)
    #expect(definition.missingDebugSymbolsReason == "assembler only")
    #expect(definition.license == "MIT" && definition.summary == "A sample.")
    #expect(definition.homepage == "https://example.org/sample")
    let others = MessageSchema<Definition>.build.fields.keys.filter { !completeDefinition.contains("\n\($0)") }
    // Only one builder may be there.
    #expect(others.sorted() == ["cmakebuilder", "gobuilder", "gomodbuilder", "mesonbuilder", "perlbuilder", "pythonbuilder"])
  }

  @Test func `every instruction, split and pull of a definition is read`() throws {
    let definition = try parse(completeDefinition)
    let install = definition.install
    #expect(install.systemdUnits == ["sample.service"])
    #expect(install.symbolicLinks.map { [$0.oldName, $0.newName] } == [["gcc", "bin/cc"]])
    #expect(install.emptyDirectories == ["share/sample"])
    #expect(install.modes.map(\.name) == ["bin/su"] && install.modes[0].setsUserID)
    #expect(install.capabilities.map { [$0.filename, $0.capability] } == [["bin/ping", "cap_net_raw=ep"]])
    #expect(install.files.map { [$0.source, $0.destination] } == [["a.conf", "share/a.conf"]])
    #expect(install.renames.map { [$0.oldName, $0.newName] } == [["bin/a", "bin/b"]])
    #expect(install.deletions == ["share/info/dir", "share/second"])
    let split = try #require(definition.splitPackages.first)
    #expect(split.name == "libsample" && split.runtimeDependencies == ["zlib"])
    #expect(split.claims.map { [$0.glob, $0.directory] } == [["out/lib/lib*.so*", ""], ["out/lib/*.o", "out/lib64"]])
    #expect(definition.runtimeUnions.map { [$0.directory, $0.package] } == [["share/plugins", "host"]])
    let pull = try #require(definition.pull)
    #expect(pull.debianPackages == ["sample"] && pull.forcesSemanticVersions)
    #expect(pull.releasesURL == "https://example.org/" && pull.releaseRegularExpression == "v([0-9.]+)")
    #expect(pull.replacements.map { [$0.expression, $0.replacement] } == [["_", "."]])
  }

  @Test(arguments: [
    ("perlbuilder: { extra_makefile_flag: \"A\" }", Definition.Builder.perl(extraMakefileFlags: ["A"])),
    ("pythonbuilder: {}", .python), ("gomodbuilder <>", .goModule),
    ("cmakebuilder: { extra_cmake_flag: \"-DA=1\" }", .cmake(extraFlags: ["-DA=1"])),
    ("mesonbuilder { extra_meson_flag: \"-Da=b\" }", .meson(extraFlags: ["-Da=b"])),
  ])
  func `every builder is read`(text: String, builder: Definition.Builder) throws {
    #expect(try parse(text).builder == builder)
  }

  @Test func `the go builder is read`() throws {
    guard case .go(let go) = try parse("gobuilder: { install: \"./...\" import_path: \"a/b\" go_env: \"CGO_ENABLED=0\" }").builder
    else {
      Issue.record("no go builder")
      return
    }
    #expect(go.install == ["./..."] && go.importPath == "a/b" && go.environment == ["CGO_ENABLED=0"])
  }

  @Test(arguments: [
    ("sorce: \"x\"", 1, 1, "a definition has no field «sorce»; did you mean source?"),
    ("version: \"1\"\n  zzzzzzzzzz: \"x\"", 2, 3, "a definition has no field «zzzzzzzzzz»"),
    ("cbuilder: {\n  extra_configure_flags: \"x\"\n}", 2, 3, "did you mean extra_configure_flag?"),
    ("version: \"1-1\"\nversion: \"1-2\"", 2, 1, "version appears a second time"),
    ("version: 12", 1, 10, "version is a string, not «12»"),
    ("version: { }", 1, 10, "version is a string, not a message"),
    ("in_tree_build: \"true\"", 1, 16, "in_tree_build is true or false, not a string"),
    ("in_tree_build: yes", 1, 16, "in_tree_build is true or false, not «yes»"),
    ("install: \"x\"", 1, 10, "install is a message in braces, not a string"),
    ("cbuilder: {}\nmesonbuilder: {}", 2, 1, "a second builder beside cbuilder"),
    ("version \"1\"", 1, 9, "expected : after version"),
    ("version: \"1", 1, 10, "the string that starts here is not closed"),
    ("version: \"1\nsource: \"x\"", 1, 10, "the string that starts here is not closed on its line"),
    ("version: \"\\q\"", 1, 11, "an unknown escape"),
    ("version: \"\\ud800\"", 1, 11, "not 4 hexadecimal digits of a character"),
    ("version: \"\\777\"", 1, 11, "an octal escape above \\377"),
    ("version: \"\\xff\"", 1, 10, "version is not UTF-8"),
    ("version: \"a\\0b\"", 1, 10, "version contains a NUL, which would end it"),
    ("cbuilder: {", 1, 11, "the message that starts here is not closed"),
    ("cbuilder: <}", 1, 12, "expected the name of a field"),
    ("dep: [\"a\" \"b\"", 1, 6, "the list that starts here is not closed"),
    ("dep: [\"a\"; \"b\"]", 1, 10, "expected , or ] in a list"),
    ("\"x\"", 1, 1, "expected the name of a field"),
    ("version:", 1, 9, "expected a value"),
  ])
  func `an error names file, line, column and reason`(text: String, line: Int, column: Int, reason: String) {
    #expect {
      try parse(text)
    } throws: { error in
      guard case .invalidDefinition(let path, line, column, let found) = error as? BuildError else { return false }
      return path == "sample/build.textproto" && found.contains(reason)
    }
  }

  @Test func `nesting without end and files without end are refused`() {
    #expect(throws: BuildError.self) { try parse(String(repeating: "install {", count: 100_000)) }
    #expect(throws: BuildError.self) { try parse(String(repeating: "#\n", count: 1 << 20)) }
  }

  @Test func `all definitions of the corpus parse`() throws {
    for (name, bytes) in try corpus() {
      let definition = try DefinitionFile(bytes: bytes, path: FilePath(name), name: name).definition
      #expect(!definition.version.isEmpty && !definition.source.isEmpty, "\(name)")
    }
  }

  @Test func `a new version changes the bytes of that value and no others`() throws {
    for (name, bytes) in try corpus() {
      var file = try DefinitionFile(bytes: bytes, path: FilePath(name), name: "sample")
      let old = file.definition.version
      try file.replace(.version, with: "99.\"x\\y-7")
      #expect(file.definition.version == "99.\"x\\y-7")
      let before = bytes.split(separator: 10, omittingEmptySubsequences: false)
      let after = file.bytes.split(separator: 10, omittingEmptySubsequences: false)
      #expect(before.count == after.count)
      let changed = zip(before, after).filter { $0 != $1 }
      #expect(changed.count == 1, "\(name)")
      let text = String(decoding: changed[0].1, as: UTF8.self)
      #expect(text.replacing(#""99.\"x\\y-7""#, with: "\"\(old)\"") == String(decoding: changed[0].0, as: UTF8.self), "\(name)")
    }
  }

  @Test(arguments: DefinitionFile.Field.allCases)
  func `a replaced field leaves every byte before and behind its value`(field: DefinitionFile.Field) throws {
    let value = "a\"b\\c\td-7", literal = Array(#""a\"b\\c\td-7""#.utf8)
    for (name, bytes) in try corpus() {
      var file = try DefinitionFile(bytes: bytes, path: FilePath(name), name: "sample")
      try file.replace(field, with: value)
      // A second time: what was written is found again, and the way back is the way there.
      let once = file.bytes
      try file.replace(field, with: value)
      #expect(file.bytes == once, "\(name)")
      let place = try #require(once.firstRange(of: literal), "\(name)")
      let before = once[..<place.lowerBound], behind = once[place.upperBound...]
      if bytes.starts(with: before), bytes.suffix(behind.count).elementsEqual(behind) { continue }
      // The field's line is the last one where it was not there.
      let end: [UInt8] = bytes.last == 10 ? [] : [10]
      #expect(before.elementsEqual(bytes + end + Array("\(field.rawValue): ".utf8)) && behind.elementsEqual([10]), "\(name)")
    }
  }

  @Test func `a field that is not there yet gets a line`() throws {
    var file = try DefinitionFile(bytes: Array("version: \"1-1\" # last".utf8), path: "a", name: "a")
    try file.replace(.source, with: "empty://")
    #expect(String(decoding: file.bytes, as: UTF8.self) == "version: \"1-1\" # last\nsource: \"empty://\"\n")
  }

  @Test func `mutated definitions are read or refused, never more`() throws {
    var generator = SplitMix(state: 42)
    for (_, bytes) in try corpus() {
      for _ in 0..<40 {
        var mutated = bytes
        for _ in 0..<Int.random(in: 1...4, using: &generator) where !mutated.isEmpty {
          let index = Int.random(in: 0..<mutated.count, using: &generator)
          switch Int.random(in: 0..<4, using: &generator) {
          case 0: mutated[index] = UInt8.random(in: 0...255, using: &generator)
          case 1: mutated.remove(at: index)
          case 2: mutated.insert(Array("{}<>[]\"'\\:#".utf8).randomElement(using: &generator) ?? 0, at: index)
          default: mutated.removeSubrange(index...)
          }
        }
        do {
          let file = try DefinitionFile(bytes: mutated, path: "mutated", name: "mutated")
          #expect(file.bytes == mutated)
        } catch {
          guard case .invalidDefinition = error else {
            Issue.record("\(error)")
            continue
          }
        }
      }
    }
  }
}

/// A generator with a seed, so that a failure comes back.
struct SplitMix: RandomNumberGenerator {
  var state: UInt64
  mutating func next() -> UInt64 {
    state &+= 0x9e37_79b9_7f4a_7c15
    var z = state
    z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
    z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
    return z ^ (z >> 31)
  }
}
