// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore
import Foundation
import SystemPackage
import TestSupport
import Testing

@testable import DistriBuild

/// Archives of a directory, by name.
private struct FolderArchives: SourceArchives {
  let folder: FilePath

  func archive(of source: SourceReference) async throws -> FilePath {
    guard let name = source.fileName else { throw BuildError.source(source.url, reason: "names no file") }
    return folder.appending(name)
  }
}

/// What actions have made, as a storage would have it.
private struct Storage: ContentFetcher {
  var blobs: [ContentDigest: [UInt8]] = [:]

  mutating func add(_ bytes: [UInt8]) -> ContentDigest {
    let digest = ContentDigest(of: bytes)
    blobs[digest] = bytes
    return digest
  }

  func fetch(_ digest: ContentDigest, to path: FilePath) async throws {
    guard let bytes = blobs[digest] else { throw Errno.noSuchFileOrDirectory }
    try Data(bytes).write(to: URL(filePath: path.string), options: .withoutOverwriting)
  }
}

/// A machine with a store and definitions, in a folder of its own.
private final class Machine {
  let folder: TemporaryDirectory
  let packages: ActionPackages
  var planner: ActionPlanner
  var intake: ActionIntake

  init() throws {
    folder = try TemporaryDirectory()
    for name in ["store", "pkgs", "sources", "work"] {
      try FileManager.default.createDirectory(atPath: "\(folder.path)/\(name)", withIntermediateDirectories: true)
    }
    let digests = FileDigests()
    packages = ActionPackages(store: try LocalStore(path: folder.path.appending("store")), digests: digests)
    planner = ActionPlanner(
      packages: packages, sources: FolderArchives(folder: folder.path.appending("sources")),
      tool: try ActionTool(program: "/bin/cat", patchelf: nil, digests: digests))
    intake = ActionIntake(packages: packages, work: folder.path.appending("work"))
  }

  var store: LocalStore { packages.store }

  func add(_ name: String, needs: [String] = []) async throws {
    let id = try PackageID(parsing: name)
    let metadata = PackageMetadata(
      runtimeDependencies: try needs.map { try PackageID(parsing: $0) }, version: id.version,
      inputDigest: "sha256-" + String(repeating: "0", count: 64))
    try await store.transaction { staging in
      var tree = SampleTree(of: id)
      try staging.stage(&tree, of: id)
      try staging.stage(metadata, of: id)
    }
  }

  func write(_ text: String, to path: String, mode: Int = 0o644) throws {
    let path = "\(folder.path)/\(path)"
    try FileManager.default.createDirectory(atPath: (path as NSString).deletingLastPathComponent, withIntermediateDirectories: true)
    try Data(text.utf8).write(to: URL(filePath: path))
    try FileManager.default.setAttributes([.posixPermissions: mode], ofItemAtPath: path)
  }

  func action(of name: String, choices: [String: PackageID] = [:], jobs: Int = 1) async throws -> Action {
    let file = try DefinitionFile(directory: folder.path.appending("pkgs/\(name)"))
    return try await planner.action(for: BuildOrder(file: file, choices: choices, jobs: jobs))
  }
}

private let sample = #"source: "empty://" version: "1-1" dep: "tool" build_step: { argv: "install" }"#

private func paths(_ action: Action) -> [String] { action.inputs.files.map(\.path.description) }

@Suite struct ActionInputTests {
  @Test func `two machines make the same action of the same inputs, whatever their folders and jobs`() async throws {
    func action(jobs: Int, _ order: [String]) async throws -> Action {
      let machine = try Machine()
      for name in order { try await machine.add(name, needs: name.hasPrefix("tool") ? ["base-amd64-3-3"] : []) }
      try machine.write(sample + #" cherry_pick: "a.patch" extra_file: "b""#, to: "pkgs/sample/build.textproto")
      for name in ["a.patch", "b", "unused"] { try machine.write(name, to: "pkgs/sample/\(name)") }
      try machine.write("#!/bin/sh\n", to: "pkgs/sample/wrappers/w", mode: 0o755)
      return try await machine.action(of: "sample", jobs: jobs)
    }
    let packages = ["tool-amd64-2-2", "base-amd64-3-3", "patch-amd64-4-4"]
    let one = try await action(jobs: 1, packages), other = try await action(jobs: 7, packages.reversed() + ["idle-amd64-5-5"])
    #expect(one.arguments == other.arguments && one.environment == other.environment && one.outputs == other.outputs)
    let files = [one, other].map { $0.inputs.files.map { [$0.path.description, $0.digest.description, "\($0.isExecutable)"] } }
    #expect(files[0] == files[1])
    let own = paths(one).filter { !$0.hasPrefix("tool/") }
    #expect(
      own == [
        "definitions/sample/a.patch", "definitions/sample/b", "definitions/sample/build.textproto", "definitions/sample/wrappers/w",
        "order.textproto", "store/base-amd64-3-3.meta.textproto", "store/base-amd64-3-3.squashfs",
        "store/patch-amd64-4-4.meta.textproto", "store/patch-amd64-4-4.squashfs", "store/tool-amd64-2-2.meta.textproto",
        "store/tool-amd64-2-2.squashfs",
      ])
    #expect(one.inputs.files.filter(\.isExecutable).map(\.path.description).contains("definitions/sample/wrappers/w"))
  }

  @Test func `the newest package or the one that was chosen goes with the action, and the order names it`() async throws {
    let machine = try Machine()
    for name in ["tool-amd64-1-1", "tool-amd64-2-2"] { try await machine.add(name) }
    try machine.write(sample, to: "pkgs/sample/build.textproto")
    let newest = try await machine.action(of: "sample")
    #expect(newest.order.choices.map { "\($0) \($1)" } == ["tool tool-amd64-2-2"])
    let chosen = try await machine.action(of: "sample", choices: ["tool": PackageID(parsing: "tool-amd64-1-1")])
    #expect(paths(chosen).contains("store/tool-amd64-1-1.squashfs") && !paths(chosen).contains("store/tool-amd64-2-2.squashfs"))
    let read = try ActionOrder(bytes: Array(chosen.order.text.utf8), path: "order")
    #expect(read == chosen.order)
  }

  @Test func `an archive goes with the action by its digest, and one that is not what the definition says does not`() async throws {
    let machine = try Machine()
    try machine.write("archive", to: "sources/a.tar")
    let hash = ContentDigest(of: Array("archive".utf8)).sha256
    for (name, text) in [
      "good": #"source: "https://example.org/a.tar" hash: "\#(hash)""#, "user": #"source: "distri+source://good""#,
      "bad": #"source: "https://example.org/a.tar" hash: "\#(String(repeating: "0", count: 64))""#,
      "unknown": #"source: "https://example.org/a.tar""#, "folder": #"source: "./upstream""#, "tree": #"source: "distriroot://""#,
      "outside": #"source: "../a.tar" hash: "\#(hash)""#,
    ] { try machine.write(text + #" version: "1-1" build_step: { argv: "install" }"#, to: "pkgs/\(name)/build.textproto") }
    try machine.write("x", to: "pkgs/folder/upstream/x")
    try machine.write("archive", to: "pkgs/a.tar")
    #expect(try await paths(machine.action(of: "good")).contains("sources/\(hash)"))
    let user = try await paths(machine.action(of: "user"))
    #expect(user.contains("sources/\(hash)") && user.contains("definitions/good/build.textproto"))
    for name in ["bad", "unknown", "folder", "tree", "outside"] {
      do {
        _ = try await machine.action(of: name)
        Issue.record("\(name) became an action")
      } catch BuildError.source {}
    }
  }

  @Test func `no file from elsewhere leaves the machine with a definition`() async throws {
    let machine = try Machine()
    try await machine.add("patch-amd64-1-1")
    try machine.write("secret", to: "secret")
    try machine.write("patch", to: "pkgs/sample/patches/good.patch")
    for (name, target) in [("link.patch", "../../secret"), ("folder", "../..")] {
      try FileManager.default.createSymbolicLink(
        atPath: "\(machine.folder.path)/pkgs/sample/\(name)", withDestinationPath: target)
    }
    let text = #"source: "empty://" version: "1-1" build_step: { argv: "install" } cherry_pick: "#
    try machine.write(text + "\"patches/good.patch\"", to: "pkgs/sample/build.textproto")
    #expect(try await paths(machine.action(of: "sample")).contains("definitions/sample/patches/good.patch"))
    for name in ["link.patch", "folder/secret", "../../secret", "\(machine.folder.path)/secret", "/etc/hostname"] {
      try machine.write(text + "\"\(name)\"", to: "pkgs/sample/build.textproto")
      await #expect(throws: (any Error).self, "\(name)") { try await machine.action(of: "sample") }
    }
  }

  @Test func `two files of a path and a file below another are refused`() throws {
    let package = try PackageID(parsing: "a-amd64-1-1")
    func inputs(_ names: [String]) throws -> [String] {
      try ActionInputs(names.map { ActionFile(try TreePath(parsing: $0), bytes: []) }, of: package).files.map(\.path.description)
    }
    // Name by name: a directory's files follow each other, which bytes of whole paths would not give.
    #expect(try inputs(["a-b/c", "a/b", "a.c", "a/a"]) == ["a/a", "a/b", "a-b/c", "a.c"])
    for names in [["a", "a"], ["a", "a/b"], [""]] { #expect(throws: BuildError.self) { try inputs(names) } }
  }

  @Test(arguments: [
    "", "definition: \"a/b\" architecture: \"amd64\"", "definition: \"..\" architecture: \"amd64\"",
    "definition: \"a\" architecture: \"amd64\"", "definition: \"a\" architecture: \"vax\"",
    "definition: \"a\" architecture: \"amd64\" input_digest: \"sha256-XYZ\"",
    "definition: \"a\" architecture: \"amd64\" choice: { name: \"b\" package: \"../b\" }",
    "definition: \"a\" architecture: \"amd64\" choice: { name: \"b\" package: \"b-amd64-1-1\" } choice: { name: \"b\" package: \"b-amd64-1-1\" }",
  ])
  func `an order that is none is refused with its place`(text: String) throws {
    let error = #expect(throws: BuildError.self) { try ActionOrder(bytes: Array(text.utf8), path: "order.textproto") }
    #expect(error?.description.hasPrefix("order.textproto:1:") == true)
  }
}

@Suite struct ActionIntakeTests {
  /// An action, and what an honest worker would have made of it.
  private struct Work {
    var action: Action
    var result = ActionResult(files: [:])
    var storage = Storage()

    init(_ machine: Machine, name: String = "sample") async throws {
      action = try await machine.action(of: name)
      for output in action.outputs where output.isRequired { try await set(output.path, Self.bytes(of: output, action)) }
    }

    mutating func set(_ path: TreePath, _ bytes: [UInt8]) { result.files[path] = storage.add(bytes) }

    func path(_ role: ActionOutput.Role) throws -> TreePath {
      try #require(action.outputs.first { $0.role == role }).path
    }

    static func metadata(_ package: PackageID, _ action: Action) -> PackageMetadata {
      PackageMetadata(
        runtimeDependencies: action.dependencies, sourcePackage: action.order.definition, version: package.version,
        inputDigest: action.order.inputDigest)
    }

    private static func bytes(of output: ActionOutput, _ action: Action) async throws -> [UInt8] {
      switch output.role {
      case .image(let package, _): try await image(of: package)
      case .metadata(let package): Array(metadata(package, action).textproto.utf8)
      case .billOfMaterials: Array("{}".utf8)
      case .log: Array("words of the steps\n".utf8)
      }
    }

    static func image(of package: PackageID) async throws -> [UInt8] {
      let machine = try Machine()
      try await machine.add("\(package)")
      return Array(try Data(contentsOf: URL(filePath: machine.store.path.appending(package.imageFileName).string)))
    }
  }

  private static func machine() async throws -> Machine {
    let machine = try Machine()
    try await machine.add("tool-amd64-2-2")
    try machine.write(sample, to: "pkgs/sample/build.textproto")
    try machine.write(sample.replacing("tool", with: "sample"), to: "pkgs/user/build.textproto")
    return machine
  }

  private static let package = try? PackageID(parsing: "sample-amd64-1-1")

  @Test func `what a worker has made is in the store, with its log where a build on this machine has it`() async throws {
    let machine = try await Self.machine()
    var work = try await Work(machine)
    let package = try #require(Self.package)
    let debug = try await Work.image(of: package)
    work.set(try work.path(.image(package, .debug)), debug)
    machine.intake.extent = .all
    #expect(try await machine.intake.take(work.result, of: work.action, from: work.storage) == [package])
    #expect(try machine.store.metadata(of: package).inputDigest == work.action.order.inputDigest)
    #expect(try machine.store.packages().contains(package))
    #expect(try LocalStore(path: machine.store.path, section: .debug).contains(package))
    for name in ["build-amd64-1-1.log", "sample-amd64-1-1.spdx.json"] {
      #expect(FileManager.default.fileExists(atPath: "\(machine.folder.path)/work/sample/\(name)"))
    }
    // What is there is found again as a result, for others.
    let (local, contents) = try await ActionResult.local(of: work.action, in: machine.packages, work: machine.intake.work)
    let ours = try work.path(.image(package, .packages))
    #expect(local.files[ours] == work.result.files[ours] && Set(contents.keys) == Set(local.files.keys))
  }

  @Test func `an image that stays elsewhere is an input of the next action all the same`() async throws {
    let machine = try await Self.machine()
    let work = try await Work(machine)
    let package = try #require(Self.package)
    machine.intake.extent = .none
    try await machine.intake.take(work.result, of: work.action, from: work.storage)
    #expect(try !machine.store.packages().contains(package))
    let next = try await machine.action(of: "user")
    let image = try #require(next.inputs.files.first { $0.path.description == "store/\(package.imageFileName)" })
    #expect(image.content == .elsewhere)
    #expect(image.digest == work.result.files[try work.path(.image(package, .packages))])
    // The same action as on a machine that has the image.
    machine.intake.extent = .outputs
    try await machine.intake.take(work.result, of: work.action, from: work.storage)
    let local = try await machine.action(of: "user")
    #expect(local.inputs.files.map(\.digest) == next.inputs.files.map(\.digest))
    #expect(local.inputs.files.allSatisfy { $0.content != .elsewhere })
  }

  private enum Lie: String, CaseIterable {
    case missing, otherBytes, noImage, otherVersion, otherInputs, otherDefinition, unseenDependency, hugeMetadata, hugeImage,
      noDigest
  }

  @Test(arguments: Lie.allCases.map(\.rawValue))
  func `a worker that lies gets nothing into the store`(lie: String) async throws {
    let machine = try await Self.machine()
    var work = try await Work(machine)
    let package = try #require(Self.package)
    let image = try work.path(.image(package, .packages)), meta = try work.path(.metadata(package))
    var metadata = Work.metadata(package, work.action)
    switch try #require(Lie(rawValue: lie)) {
    case .missing: work.result.files[image] = nil
    case .otherBytes: if let digest = work.result.files[image] { work.storage.blobs[digest] = Array("other".utf8) }
    case .noImage: work.set(image, Array(repeating: 0x68, count: 8192))
    case .otherVersion: metadata.version = "1-2"
    case .otherInputs: metadata.inputDigest = "sha256-" + String(repeating: "1", count: 64)
    case .otherDefinition: metadata.sourcePackage = "other"
    case .unseenDependency: metadata.runtimeDependencies = [try PackageID(parsing: "evil-amd64-6-6")]
    case .hugeMetadata: work.result.files[meta]?.byteCount = 1 << 40
    case .hugeImage: work.result.files[image]?.byteCount = 1 << 50
    case .noDigest: work.result.files[image]?.sha256 = "../../etc/passwd"
    }
    if metadata != Work.metadata(package, work.action) { work.set(meta, Array(metadata.textproto.utf8)) }
    let before = try machine.store.packages()
    await #expect(throws: (any Error).self) { try await machine.intake.take(work.result, of: work.action, from: work.storage) }
    #expect(try machine.store.packages() == before)
    let names = try FileManager.default.contentsOfDirectory(atPath: machine.store.path.string)
    #expect(!names.contains { $0.hasPrefix("sample") }, "\(names)")
  }
}

@Suite struct FileDigestTests {
  @Test func `a digest is remembered for as long as the file stays what it is, in the next run, too`() throws {
    let folder = try TemporaryDirectory()
    let file = folder.path.appending("a file"), kept = folder.path.appending("kept")
    func write(_ text: String) throws { try Data(text.utf8).write(to: URL(filePath: file.string)) }
    try write("one")
    // Something that is not true shows that nobody looks.
    let noted = ContentDigest(sha256: String(repeating: "a", count: 64), byteCount: 3)
    let digests = FileDigests(path: kept)
    digests.note(noted, of: file)
    #expect(try digests.digest(of: file) == noted)
    digests.write()
    #expect(try FileDigests(path: kept).digest(of: file) == noted)
    try FileManager.default.removeItem(atPath: file.string)
    try write("two")
    #expect(try FileDigests(path: kept).digest(of: file) == ContentDigest(of: Array("two".utf8)))
  }

  @Test func `the digest of a file that has just been changed is not kept`() throws {
    let folder = try TemporaryDirectory()
    let file = folder.path.appending("file"), kept = folder.path.appending("kept")
    try Data("one".utf8).write(to: URL(filePath: file.string))
    let digests = FileDigests(path: kept)
    #expect(try digests.digest(of: file) == ContentDigest(of: Array("one".utf8)))
    digests.write()
    #expect(!FileManager.default.fileExists(atPath: kept.string))
  }

  @Test func `a damaged file of digests says nothing`() throws {
    let folder = try TemporaryDirectory()
    let file = folder.path.appending("file"), kept = folder.path.appending("kept")
    try Data("one".utf8).write(to: URL(filePath: file.string))
    let identity = try FileIdentity(of: file)
    let wrong = String(repeating: "a", count: 64)
    let numbers = "3 \(identity.device) \(identity.inode) \(identity.modificationTime) \(identity.changeTime) \(file)\n"
    func sum(_ text: String) -> String { ContentDigest(of: Array(text.utf8)).sha256 + "\n" }
    func digest(_ text: String) throws -> ContentDigest {
      try Data(text.utf8).write(to: URL(filePath: kept.string))
      return try FileDigests(path: kept).digest(of: file)
    }
    let line = "\(wrong) \(numbers)"
    // Whole, it is believed: so what follows can fail.
    #expect(try digest(line + sum(line)) == ContentDigest(sha256: wrong, byteCount: 3))
    let damaged = ["\(String(repeating: "g", count: 64)) \(numbers)", "aa \(numbers)", wrong + "\n", "\n"]
    for text in ["", sum(""), line, line + sum("x"), "x" + line + sum(line)] + damaged.map({ $0 + sum($0) }) {
      #expect(try digest(text) == ContentDigest(of: Array("one".utf8)), "\(text)")
    }
  }
}
