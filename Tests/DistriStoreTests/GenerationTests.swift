// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore
import Foundation
import SystemPackage
import TestSupport
import Testing

/// Full names as a list.
func ids(_ names: String...) throws -> [PackageID] { try names.map { try PackageID(parsing: $0) } }

/// Commits packages whose images hold their own names, with what they need.
func add(_ packages: [String: [String]], needing store: LocalStore) async throws {
  try await store.transaction { area in
    for (name, needs) in packages { try stage(name, needs: needs, in: area) }
  }
}

func stage(_ name: String, needs: [String] = [], in area: borrowing StagingArea) throws {
  let package = try PackageID(parsing: name)
  var tree = SampleTree(of: package)
  try area.stage(&tree, of: package)
  let needs = try needs.map { try PackageID(parsing: $0) }
  try area.stage(PackageMetadata(runtimeDependencies: needs, version: package.version), of: package)
}

/// Asks for packages, by their exact or short names.
func wanting(_ names: String..., time: Int64 = 1000, command: String = "install") -> GenerationMaker {
  { context in
    var selection = context.selection
    for name in names { selection.want(try PackageQuery(parsing: name)) }
    let all = Array(context.packages)
    selection = try selection.resolved(with: all) { package throws(StoreError) in try context.metadata(of: package) }
    return GenerationChange(selection: selection, time: time, command: command)
  }
}

@Suite struct GenerationTests {
  private func sample() throws -> Generation {
    var selection = Generation.Selection()
    selection.wants = try ["zlib", "nano-amd64", "less-amd64-530-17"].map { try PackageQuery(parsing: $0) }
    selection.sets = [
      .init(name: "server", members: try ["openssh", "bash"].map { try PackageQuery(parsing: $0) }),
      .init(name: "empty", members: []),
    ]
    selection.pins = try ids("nano-amd64-7.2-3")
    selection.packages = try ids("zlib-amd64-1.3-10", "nano-amd64-7.2-3", "zlib-amd64-1.3-9", "bash-amd64-5-1")
    return Generation(number: 12, parent: 11, time: 1_764_172_443, command: "distri-fetch install nano «x»", selection: selection)
  }

  @Test func `a generation has one text, and the text gives it back`() throws {
    let text = try sample().text
    #expect(
      text == """
        distri-generation 1
        number 12
        parent 11
        time 1764172443
        command distri-fetch install nano «x»
        want less-amd64-530-17
        want nano-amd64
        want zlib
        set empty
        set server bash openssh
        pin nano-amd64-7.2-3
        package bash-amd64-5-1
        package nano-amd64-7.2-3
        package zlib-amd64-1.3-9
        package zlib-amd64-1.3-10
        end

        """)
    let again = try Generation(text: Array(text.utf8), subject: "12")
    #expect(again.text == text)
    #expect(again.selection.sets.count == 2 && again.parent == 11)
    #expect(
      Generation(number: 1, time: 0, command: "a\nend\u{2028}b\u{85}", selection: .init()).text.contains("command a end b \n"))
  }

  @Test(
    arguments: [
      ("", 1), ("distri-generation 2\nend\n", 1), ("distri-generation 1\nnumber 1\ntime 1\ncommand \n", 5),
      ("distri-generation 1\nnumber 0\n", 2), ("distri-generation 1\nnumber 18446744073709551616\n", 2),
      ("distri-generation 1\nnumber 1\ntime 1\ncommand \npackage ../etc\nend\n", 5),
      ("distri-generation 1\nnumber 1\ntime 1\ncommand \npackage nano\nend\n", 5),
      ("distri-generation 1\nnumber 1\ntime 1\ncommand \nfuture x\nend\n", 5),
      ("distri-generation 1\nnumber 1\ntime 1\ncommand \nend\nmore\n", 6),
      ("distri-generation 1\nnumber 1\ntime 1\ncommand \nset a/b\nend\n", 5),
      ("distri-generation 1\nnumber 1\ntime +1\ncommand \nend\n", nil),
      ("distri-generation 1\nnumber 1\ntime 1\ncommand \npackage b-amd64-1-1\npackage a-amd64-1-1\nend\n", nil),
      ("distri-generation 1\nnumber 1\ntime 1\ncommand \nend", nil), ("distri-generation 1\r\nend\n", 1),
    ] as [(String, Int?)])
  func `what is no generation is refused, with its line`(text: String, line: Int?) {
    let error = #expect(throws: StoreError.self) { try Generation(text: Array(text.utf8), subject: "g") }
    guard case .invalidMetadata("g", let found, _) = error else {
      Issue.record("\(String(describing: error))")
      return
    }
    #expect(found == line)
  }

  @Test func `packages and the generation that names them appear together`() async throws {
    let folder = try TemporaryDirectory()
    let store = try LocalStore(path: folder.path)
    #expect(try store.generations.current() == nil)
    let made = try await store.transaction(making: wanting("nano", command: "first")) { area in
      try stage("nano-amd64-7.2-3", needs: ["glibc-amd64-2-1"], in: area)
      try stage("glibc-amd64-2-1", in: area)
      try stage("unused-amd64-2-1", in: area)
      #expect(try store.generations.current() == nil)
    }
    #expect(made?.number == 1 && made?.parent == nil)
    #expect(try store.generations.current() == made)
    #expect(made?.selection.packages == (try ids("glibc-amd64-2-1", "nano-amd64-7.2-3")))
    #expect(try FileManager.default.destinationOfSymbolicLink(atPath: store.generations.path.appending("current").string) == "1")
    #expect(try names(in: store.generations.path) == ["1", "current"])
    #expect(try names(in: store.path.appending(".staging")) == ["lock"])
    #expect(try store.defects().isEmpty)
    // The same again is no change.
    #expect(try await store.makeGeneration(wanting("nano", time: 9999, command: "again")) == nil)
    #expect(try store.generations.numbers() == [1])
  }

  @Test func `what fails leaves the generation that was`() async throws {
    struct Failure: Error {}
    let folder = try TemporaryDirectory()
    let store = try LocalStore(path: folder.path)
    try await store.transaction(making: wanting("a")) { area in try stage("a-amd64-1-1", in: area) }
    await #expect(throws: Failure.self) {
      try await store.transaction(making: { _ in throw Failure() }) { area in try stage("b-amd64-1-1", in: area) }
    }
    await #expect(throws: StoreError.notFound("missing-amd64-1-1")) {
      try await store.transaction(making: wanting("b")) { area in
        try stage("b-amd64-1-1", needs: ["missing-amd64-1-1"], in: area)
      }
    }
    #expect(try store.packages() == ids("a-amd64-1-1"))
    #expect(try store.generations.numbers() == [1])
    #expect(try names(in: store.path.appending(".staging")) == ["lock"])
  }

  @Test func `a store that had packages keeps showing them`() async throws {
    let folder = try TemporaryDirectory()
    let store = try LocalStore(path: folder.path)
    try await add(
      [
        "nano-amd64-7.1-1": ["libc-amd64-1-1"], "nano-amd64-7.2-2": ["libc-amd64-1-1"], "libc-amd64-1-1": [],
        "x-amd64-1-1": ["y-amd64-1-1"], "y-amd64-1-1": ["x-amd64-1-1"],
      ], needing: store)
    let made = try await store.transaction(making: wanting("less")) { area in try stage("less-amd64-1-1", in: area) }
    #expect(made?.number == 2 && made?.parent == 1)
    let first = try store.generations.generation(1)
    #expect(first.selection.packages.count == 5)
    #expect(first.selection.wants.map(\.description) == ["nano-amd64", "x-amd64", "y-amd64"])
    #expect(
      made?.selection.packages
        == (try ids("less-amd64-1-1", "libc-amd64-1-1", "nano-amd64-7.2-2", "x-amd64-1-1", "y-amd64-1-1")))
  }

  @Test func `the way back is one link, and forth again`() async throws {
    let folder = try TemporaryDirectory()
    let store = try LocalStore(path: folder.path)
    await #expect(throws: StoreError.noGeneration(nil, in: store.path)) { try await store.switchGeneration() }
    for revision in 1...4 {
      try await store.transaction(making: wanting("a")) { area in try stage("a-amd64-1-\(revision)", in: area) }
    }
    let inode = { (name: String) in
      try FileManager.default.attributesOfItem(atPath: store.generations.path.appending(name).string)[.systemFileNumber] as? Int
    }
    let before = try (1...4).map { try inode("\($0)") }
    #expect(try await store.switchGeneration().number == 3)
    #expect(try await store.switchGeneration().number == 2)
    #expect(try await store.switchGeneration(to: 4).selection.packages == ids("a-amd64-1-4"))
    #expect(try await store.switchGeneration(to: 1).number == 1)
    await #expect(throws: StoreError.noGeneration(nil, in: store.path)) { try await store.switchGeneration() }
    await #expect(throws: StoreError.noGeneration(7, in: store.path)) { try await store.switchGeneration(to: 7) }
    #expect(try (1...4).map { try inode("\($0)") } == before)
    // What is made now follows the current one, and has a number of its own.
    let next = try await store.makeGeneration(wanting("a-amd64-1-2"))
    #expect(next?.number == 5 && next?.parent == 1)
    // One that has lost a package cannot be gone back to.
    try await store.remove(ids("a-amd64-1-3"))
    await #expect(throws: StoreError.notFound("a-amd64-1-3")) { try await store.switchGeneration(to: 3) }
    #expect(try store.generations.currentNumber() == 5)
    #expect(try Verifier(store).findings().map(\.subject) == ["generation 3"])
  }

  @Test func `queries, pins and sets decide what is selected`() throws {
    let needs = ["nano-amd64-7-1": "c-amd64-1-1", "nano-amd64-8-2": "c-amd64-1-2", "less-amd64-1-1": "c-amd64-1-1"]
    func metadata(_ package: PackageID) throws(StoreError) -> PackageMetadata {
      guard let needed = needs[package.description] else { return PackageMetadata() }
      return PackageMetadata(runtimeDependencies: [try PackageID(parsing: needed)])
    }
    var selection = Generation.Selection()
    selection.want(try PackageQuery(parsing: "nano"))
    selection.sets = [.init(name: "s", members: [try PackageQuery(parsing: "less")])]
    #expect(throws: StoreError.notFound("nano")) { try selection.resolved(metadata: metadata) }
    let old = try ids("nano-amd64-7-1", "less-amd64-1-1")
    selection = try selection.resolved(with: old, metadata: metadata)
    #expect(selection.packages == (try ids("c-amd64-1-1", "less-amd64-1-1", "nano-amd64-7-1")))
    let new = try selection.resolved(with: ids("nano-amd64-8-2"), metadata: metadata)
    #expect(new.packages == (try ids("c-amd64-1-1", "c-amd64-1-2", "less-amd64-1-1", "nano-amd64-8-2")))
    selection.pins = try ids("nano-amd64-7-1")
    #expect(try selection.resolved(with: ids("nano-amd64-8-2"), metadata: metadata).packages == selection.packages)
    // A query takes the place of another for the same package.
    selection.want(try PackageQuery(parsing: "nano-amd64-8-2"))
    #expect(selection.wants.map(\.description) == ["nano-amd64-8-2"])
    selection.sets = []
    selection.pins = []
    #expect(
      try selection.resolved(with: ids("nano-amd64-8-2"), metadata: metadata).packages == ids("c-amd64-1-2", "nano-amd64-8-2"))
  }

  @Test func `whoever comes next finishes a switch that was decided`() async throws {
    let folder = try TemporaryDirectory()
    let store = try LocalStore(path: folder.path)
    try await store.transaction(making: wanting("a")) { area in try stage("a-amd64-1-1", in: area) }
    let other = try TemporaryDirectory()
    try await add(["a-amd64-1-2": []], needing: try LocalStore(path: other.path))
    var second = try #require(try store.generations.current())
    second.number = 2
    second.parent = 1
    second.selection.packages = try ids("a-amd64-1-2")
    // Killed before anything was moved; after the packages; after the file.
    for stage in 0..<3 {
      try await shell(
        "rm -f .generations/2 && ln -sfn 1 .generations/current && rm -f a-amd64-1-2.* && mkdir .staging/1-1.commit", in: store.path
      )
      try write(Array(second.text.utf8), to: store.path.appending(".staging/1-1.commit/.generation-2"))
      try await shell("ln -s 2 .staging/1-1.commit/.current", in: store.path)
      let place = stage == 0 ? ".staging/1-1.commit" : "."
      try await shell("cp \(other.path)/a-amd64-1-2.* \(place)/", in: store.path)
      if stage == 2 { try await shell("mv .staging/1-1.commit/.generation-2 .generations/2", in: store.path) }
      #expect(try store.generations.currentNumber() == 1)
      try await store.recover()
      #expect(try store.generations.current() == second)
      #expect(try store.packages() == ids("a-amd64-1-1", "a-amd64-1-2"))
      #expect(try names(in: store.path.appending(".staging")) == ["lock"])
    }
  }

  @Test func `links and files that are none are named`() async throws {
    let folder = try TemporaryDirectory()
    let store = try LocalStore(path: folder.path)
    try await store.transaction(making: wanting("a")) { area in try stage("a-amd64-1-1", in: area) }
    for target in ["../../etc/passwd", "0", "01", "x", "-1"] {
      try await shell("ln -sfn -- \(target) current", in: store.generations.path)
      #expect(throws: StoreError.self) { try store.generations.current() }
      #expect(try Verifier(store).findings().contains { $0.subject == "generations" })
      await #expect(throws: StoreError.self) { try await store.makeGeneration(wanting("a")) }
    }
    // Going back repairs it.
    #expect(try await store.switchGeneration(to: 1).number == 1)
    #expect(try store.generations.current()?.number == 1)
    try await shell("ln -sfn 9 current; echo nonsense > 2; cp 1 3", in: store.generations.path)
    let subjects = try Verifier(store).findings().map(\.subject)
    #expect(subjects == ["generation 9", "generation 2", "generation 3"])
  }
}
