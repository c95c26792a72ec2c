// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriBuild
import DistriRepo
import DistriStore
import Glibc
import SystemPackage

/// Good inputs to start from.
func writeSeeds(of target: String, to folder: String) throws {
  switch target {
  case "name":
    try write(Array("gcc-i686-amd64-8.2.0-3".utf8), folder + "/full")
    try write(Array("../less-amd64-530-17/bin/less".utf8), folder + "/link")
  case "metadata":
    let text =
      "runtime_dep: \"glibc-amd64-2.31-4\"\nruntime_union: <dir: \"lib/gio\" pkg: \"glib-amd64-2.64-3\">\nversion: \"4.9.3-9\"\n"
    try write(Array(text.utf8), folder + "/metadata")
    let package = RepositoryIndex.Package(
      id: try PackageID(parsing: "a-amd64-1-1"), wellKnownPaths: ["bin/a"],
      image: .init(byteCount: 1, sha256: Array(repeating: 0, count: 32)),
      compressed: .init(byteCount: 1, sha256: Array(repeating: 1, count: 32)),
      blocks: .init(byteCount: 1, sha256: Array(repeating: 2, count: 32)))
    try write(try RepositoryIndex(packages: [package]).serialized(), folder + "/index")
  case "blocks":
    try write(Array("distriBL".utf8) + [0, 0x30, 0, 0, 0, 0, 0, 0] + Array(repeating: 7, count: 24), folder + "/three")
    try write(Array("distriBL".utf8) + [1, 0, 0, 0, 0, 0, 0, 0], folder + "/none")
  case "frames":
    // Of 256 bytes, in one frame: 25 bytes of table, so that 27 bytes are as long as a frame of two and its table.
    let table: [UInt8] = [0x5e, 0x2a, 0x4d, 0x18, 17, 0, 0, 0, 2, 0, 0, 0, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0xb1, 0xea, 0x92, 0x8f]
    try write([0, 1] + table, folder + "/one")
  case "tree":
    for count in [1, 65_536, 200_000] {
      var builder = BlockTree.Builder()
      builder.update(Array(repeating: 7, count: count))
      try write(builder.finish().serialized, folder + "/\(count)")
    }
  case "generation":
    var selection = Generation.Selection()
    selection.wants = [try PackageQuery(parsing: "nano")]
    selection.sets = [.init(name: "tools", members: [try PackageQuery(parsing: "less-amd64")])]
    selection.pins = [try PackageID(parsing: "less-amd64-530-17")]
    selection.packages = [try PackageID(parsing: "less-amd64-530-17"), try PackageID(parsing: "nano-amd64-7.2-3")]
    let generation = Generation(
      number: 2, parent: 1, time: 1_764_172_443, command: "distri-fetch install nano", selection: selection)
    try write(Array(generation.text.utf8), folder + "/generation")
  case "definition":
    try write(Array(definition.utf8), folder + "/definition")
    try write(Array("source: 'empty://' # none\nversion <>".utf8), folder + "/short")
  case "action":
    let order = ActionOrder(
      definition: "hello", architecture: .amd64, inputDigest: "sha256-" + String(repeating: "0a", count: 32),
      choices: ["bash": try PackageID(parsing: "bash-amd64-5.2.15-2"), "gcc": try PackageID(parsing: "gcc-amd64-12-1")])
    try write(Array(order.text.utf8), folder + "/order")
    let line = Array("\(String(repeating: "b", count: 64)) 3 1 2 3 4 /a file\n".utf8)
    try write(line + Array("\(ContentDigest(of: line).sha256)\n".utf8), folder + "/digests")
  case "image":
    for (name, compression) in [("none", ImageWriter.Compression.none), ("zstd", .zstd(level: 3)), ("lz4", .lz4)] {
      let path = FilePath(folder).appending(name)
      let file = try FileDescriptor.open(
        path, .readWrite, options: [.create, .truncate], permissions: [.ownerReadWrite, .groupRead, .otherRead])
      defer { try? file.close() }
      var tree = SmallTree()
      _ = try ImageWriter(options: .init(compression: compression, blockSize: 4096)).write(&tree, to: file, path: path)
    }
  case "archive":
    let control = tar([
      ("./control", "Package: a\nVersion: 1\nArchitecture: all\nDepends: b,\n c\n"), ("./postinst", "#!/bin/sh\n"),
    ])
    let data = tar([("./usr/bin/a", "hello"), ("./etc/a.conf", "")])
    try write(data, folder + "/tar")
    try write(ar([("debian-binary", Array("2.0\n".utf8)), ("control.tar", control), ("data.tar", data)]), folder + "/deb")
  case "elf":
    try write(try WrapperStub(program: "/bin/true").image(for: .amd64), folder + "/wrapper")
    let program = try FileDescriptor.open("/bin/true", .readOnly)
    defer { try? program.close() }
    let contents = try [UInt8](unsafeUninitializedCapacity: 65536) { buffer, count in
      count = try program.read(into: UnsafeMutableRawBufferPointer(buffer))
    }
    try write(contents, folder + "/program")
  case "debug-lines":
    // A unit of DWARF 4, and one of DWARF 5 with texts in place.
    try write(
      unit([4, 0, 0, 0, 0, 0, 1, 1, 1, 0, 14, 2, 1] + texts(["src", ""]) + texts(["main.c"]) + [1, 0, 0, 0]), folder + "/4")
    try write(
      unit(
        [5, 0, 8, 0, 0, 0, 0, 0, 1, 1, 1, 0, 14, 2, 1, 1, 1, 8, 1] + texts(["/src"]) + [2, 1, 8, 2, 11, 1] + texts(["main.c"]) + [0]
      ),
      folder + "/5")
  case "regular-expression":
    try write(Array("NSS_([0-9]+_[0-9]+(?:_[0-9]+)?)_RTM\nNSS_3_51_1_RTM NSS_3_52_RTM".utf8), folder + "/groups")
    try write(Array("(?i)\\b[[:alpha:]^-]{2,3}?|\\Qa.b\\E*$|(?P<x>\\d+)\n12 abc a.bb".utf8), folder + "/syntax")
  case "upstream-index":
    try write(Array("module a\nrequire b.org/x v1.2.3 // indirect\nrequire (\n\tc.org/y v2.0.0\n)\n".utf8), folder + "/go.mod")
    try write(Array("File: x\n\nA::B 1.2 A/AB/ABC/A-B-1.2.tar.gz\n".utf8), folder + "/cpan")
    try write(
      Array(
        "Package: a\nVersion: 1:2~rc1-3\nDirectory: pool\nChecksums-Sha256:\n 00 5 a_2.orig.tar.xz\n\nPackage: a\nVersion: 1\nFilename: x\n"
          .utf8),
      folder + "/debian")
    try write(Array("Name: a\nLicense: MIT\nRequires-Dist: b (>=1) ; x\n\nbody".utf8), folder + "/PKG-INFO")
    try write(
      Array(
        #"{"files": [{"filename": "a-1.zip", "url": "x/a-1.zip", "hashes": {"sha256": "00"}, "yanked": "\u00e9"}], "license": ["mit"]}"#
          .utf8),
      folder + "/json")
  case "trust":
    try writeTrustSeeds(to: folder)
  case "remote-answer", "remote-result":
    try writeRemoteSeeds(of: target) { try write($0, "\(folder)/\($1)") }
  case "release-page":
    try write(
      Array("<a href=\"nano-8.0.tar.xz#sha256=00\" data-yanked>nano-7.3.tar.gz</a><!-- nano-7.2.1.tar.xz -->&#x41;".utf8),
      folder + "/links")
    try write(Array(#"{"files": [{"filename": "nano-8.0.tar.xz", "url": "/x/nano-8.0.tar.xz"}]}"#.utf8), folder + "/json")
  default: try writeBootSeeds(of: target, to: folder)
  }
}

private func writeTrustSeeds(to folder: String) throws {
  let head = #""spec_version":"1.0.31","version":1,"expires":"2026-11-26T15:04:05Z""#
  let hash = String(repeating: "ab", count: 32)
  let role = #"{"keyids":["a"],"threshold":1}"#
  let key = #"{"keytype":"ed25519","scheme":"ed25519","keyval":{"public":"\#(hash)"}}"#
  let info = #"{"version":1,"length":2,"hashes":{"sha256":"\#(hash)"}}"#
  let delegation = #"{"name":"é","keyids":["a"],"threshold":1,"terminating":true,"paths":["pkg/*.[a-z]?"]}"#
  let bodies = [
    "root":
      #""consistent_snapshot":true,"keys":{"a":\#(key)},"roles":{"root":\#(role),"timestamp":\#(role),"snapshot":\#(role),"targets":\#(role)}"#,
    "timestamp": #""meta":{"snapshot.json":\#(info)}"#, "snapshot": #""meta":{"targets.json":\#(info)}"#,
    "targets":
      #""targets":{"pkg/a":{"length":1,"hashes":{"sha256":"\#(hash)"}}},"delegations":{"keys":{"a":\#(key)},"roles":[\#(delegation)]}"#,
  ]
  for (name, body) in bodies {
    let text = #"{"signed":{"_type":"\#(name)",\#(head),\#(body)},"signatures":[{"keyid":"a","sig":"00"}]}"#
    try write(Array(text.utf8), "\(folder)/\(name)")
  }
  try write(Array(#"{"a\u00e9\ud83d\ude00":[1,-2,true,null,"\\\n"]}"#.utf8), "\(folder)/json")
  try write(Array("2026-11-26T15:04:05Z".utf8), "\(folder)/time")
  for kind in [PrivateKey.Kind.ed25519, .ecdsa] {
    guard let key = PrivateKey.generate(kind) else { continue }
    try write(Array(key.pem.utf8), "\(folder)/\(kind)")
    try write(Array(key.publicKey.pem.utf8), "\(folder)/\(kind).pub")
  }
}

private func texts(_ texts: [String]) -> [UInt8] { texts.flatMap { Array($0.utf8) + [0] } }

private func unit(_ bytes: [UInt8]) -> [UInt8] { [UInt8(bytes.count), 0, 0, 0] + bytes }
/// One of each kind of value.
private let definition = #"""
  source: "https://example.org/a-1.tar.gz"  # where
  hash: 'ab' "c\x64"
  version: "1-1"
  build_step: { argv: "/bin/sh" argv: ["-c", "echo \"\101\u00e9\t\""] },
  cbuilder <extra_configure_flag: "--with-x" autoreconf: true>
  install: { symlink: { oldname: "a" newname: "bin/b" } delete: "c" }
  split_package: { name: "b" claim: { glob: "out/lib/[a-z]*\\?" dir: "out" } };
  in_tree_build: true

  """#

/// A plain tar of regular files.
private func tar(_ files: [(name: String, text: String)]) -> [UInt8] {
  func octal(_ value: Int, _ digits: Int) -> [UInt8] {
    let text = String(value, radix: 8)
    return Array((String(repeating: "0", count: digits - text.utf8.count) + text).utf8) + [0]
  }
  func padded(_ bytes: [UInt8], _ count: Int) -> [UInt8] { bytes + Array(repeating: 0, count: count - bytes.count) }
  var result: [UInt8] = []
  for (name, text) in files {
    let start =
      padded(Array(name.utf8), 100) + octal(0o644, 7) + octal(0, 7) + octal(0, 7) + octal(text.utf8.count, 11) + octal(0, 11)
    let rest = padded([UInt8(ascii: "0")] + Array(repeating: 0, count: 100) + Array("ustar".utf8) + [0] + Array("00".utf8), 356)
    let sum = (start + rest).reduce(8 * 32) { $0 + Int($1) }
    result += start + octal(sum, 6) + [UInt8(ascii: " ")] + rest + padded(Array(text.utf8), (text.utf8.count + 511) / 512 * 512)
  }
  return result + Array(repeating: 0, count: 1024)
}

private func ar(_ members: [(name: String, bytes: [UInt8])]) -> [UInt8] {
  func field(_ text: String, _ count: Int) -> String { text + String(repeating: " ", count: count - text.utf8.count) }
  return members.reduce(into: Array("!<arch>\n".utf8)) { result, member in
    let numbers = field("0", 12) + field("0", 6) + field("0", 6) + field("100644", 8) + field("\(member.bytes.count)", 10)
    result += Array((field(member.name, 16) + numbers + "`\n").utf8) + member.bytes
    if member.bytes.count % 2 == 1 { result.append(10) }
  }
}

func write(_ bytes: [UInt8], _ path: String) throws {
  let file = try FileDescriptor.open(
    FilePath(path), .writeOnly, options: [.create, .truncate], permissions: [.ownerReadWrite, .groupRead, .otherRead])
  defer { try? file.close() }
  try file.writeAll(bytes)
}

/// One entry of each kind.
private struct SmallTree: FileTree {
  private var entries: [TreeEntry]
  private var rest = 0

  init() {
    func entry(_ path: String, _ kind: TreeEntry.Kind, _ attributes: [ExtendedAttribute] = []) -> TreeEntry? {
      (try? TreePath(parsing: path)).map {
        TreeEntry(path: $0, kind: kind, permissions: 0o755, extendedAttributes: attributes)
      }
    }
    let attribute = ExtendedAttribute(name: Array("user.one".utf8), value: [1, 2, 3])
    entries = [
      entry("d", .directory), entry("d/empty", .regular(byteCount: 0)), entry("d/file", .regular(byteCount: 10_000), [attribute]),
      entry("d/link", .symbolicLink(target: Array("file".utf8))), entry("d/null", .characterDevice(major: 1, minor: 3)),
      entry("d/pipe", .fifo), entry("d/other", .hardLink(to: (try? TreePath(parsing: "d/file")) ?? .root)), entry("e", .directory),
    ].compactMap { $0 }.reversed()
  }

  mutating func next() throws -> TreeEntry? {
    let entry = entries.popLast()
    if case .regular(let byteCount) = entry?.kind { rest = Int(byteCount) }
    return entry
  }

  mutating func readContents(into output: inout OutputRawSpan) throws {
    while rest > 0, output.freeCapacity > 0 {
      output.append(UInt8(truncatingIfNeeded: rest &* 7), as: UInt8.self)
      rest -= 1
    }
  }
}
