// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriRepo
import DistriStore
import SystemPackage
import TestSupport
import Testing

@Suite struct RepositoryTests {
  private func repository(
    _ packages: [RepositoryIndex.Package], at root: String = "mem", files: [String: [UInt8]] = [:]
  ) async throws -> Repository {
    var files = files
    files["\(root)/pkg/meta.binaryproto"] = try RepositoryIndex(packages: packages).serialized()
    return try await Repository(at: root, transport: MemoryTransport(files: files), options: .unsigned)
  }

  private func repository(_ names: [String], at root: String = "mem", metadata: [String: String] = [:]) async throws -> Repository {
    var files: [String: [UInt8]] = ["\(root)/pkg/meta.binaryproto": []]
    files["\(root)/pkg/meta.binaryproto"] = try RepositoryIndex(
      packages: names.map { .init(id: try PackageID(parsing: $0)) }
    ).serialized()
    for (name, text) in metadata { files["\(root)/pkg/\(name).meta.textproto"] = Array(text.utf8) }
    var options = Repository.Options.unsigned
    options.allowsUnverifiedPackages = true
    return try await Repository(at: root, transport: MemoryTransport(files: files), options: options)
  }

  @Test func `the newest is found over all repositories, by number`() async throws {
    let metadata = ["nano-amd64-1.0-10": "", "nano-amd64-2.0-9": "", "nano-amd64-0.9-10": ""]
    let old = try await repository(["nano-amd64-2.0-9"], at: "old", metadata: metadata)
    let new = try await repository(["nano-amd64-1.0-10"], at: "new", metadata: metadata)
    for repositories in [[old, new], [new, old]] {
      let resolution = try await Resolver(repositories).resolve([try PackageQuery(parsing: "nano")], architecture: .amd64)
      #expect(resolution.requested.map(\.description) == ["nano-amd64-1.0-10"])
    }
    let exact = try await Resolver([old, new]).resolve([try PackageQuery(parsing: "nano-amd64-2.0-9")])
    #expect(exact.closure.map(\.description) == ["nano-amd64-2.0-9"])
  }

  @Test func `a closure may span repositories and the store`() async throws {
    let needs = "runtime_dep: \"b-amd64-1-1\"\nruntime_dep: \"c-amd64-1-1\"\n"
    let first = try await repository(["a-amd64-1-1"], at: "first", metadata: ["a-amd64-1-1": needs])
    let second = try await repository(["b-amd64-1-1"], at: "second")
    let query = try PackageQuery(parsing: "a-amd64")
    let error = try await failure { try await Resolver([first, second]).resolve([query]) }
    let a = try PackageID(parsing: "a-amd64-1-1")
    #expect(error == .unresolved("c-amd64-1-1", neededBy: a, repositories: ["first", "second"]))
    let installed = [try PackageID(parsing: "c-amd64-1-1")]
    let resolution = try await Resolver([first, second], installed: installed).resolve([query, query])
    #expect(resolution.requested == [a])
    #expect(resolution.closure.map(\.description) == ["a-amd64-1-1", "b-amd64-1-1", "c-amd64-1-1"])
  }

  @Test func `what nobody has is a typed error`() async throws {
    let only = try await repository(["nano-i686-1-1"])
    let error = try await failure {
      try await Resolver([only]).resolve([try PackageQuery(parsing: "nano")], architecture: .amd64)
    }
    #expect(error == .unresolved("nano", neededBy: nil, repositories: ["mem"]))
    let id = try PackageID(parsing: "vim-amd64-1-1")
    #expect(try await failure(StoreError.self) { try await only.metadata(of: id) } == .notFound("vim-amd64-1-1"))
  }

  @Test func `a repository of the original is refused unless that is allowed`() async throws {
    let scene = try await Scene([try PackageFixture("a-amd64-1-1")])
    let path = scene.repository.appending("pkg/meta.binaryproto")
    var index = try RepositoryIndex(serialized: try contents(of: path), subject: "index")
    for position in index.packages.indices {
      index.packages[position].image = nil
      index.packages[position].metadata = nil
    }
    try write(try index.serialized(), to: path)
    let id = try PackageID(parsing: "a-amd64-1-1")
    let error = try await failure { try await scene.install("a", from: [scene.repository.string]) }
    #expect(error == .unverifiable(id, repository: scene.repository.string))
    var options = Repository.Options.unsigned
    options.allowsUnverifiedPackages = true
    #expect(try await scene.install("a", from: [scene.repository.string], options: options).files() == scene.store.files())
  }

  @Test func `an unverified file that is no image is refused`() async throws {
    let directory = try TemporaryDirectory()
    var options = Repository.Options.unsigned
    options.allowsUnverifiedPackages = true
    let id = try PackageID(parsing: "a-amd64-1-1")
    let files = [
      "mem/pkg/meta.binaryproto": try RepositoryIndex(packages: [.init(id: id)]).serialized(),
      "mem/pkg/a-amd64-1-1.squashfs": Array("<html>not here</html>".utf8), "mem/pkg/a-amd64-1-1.meta.textproto": [],
    ]
    let repository = try await Repository(at: "mem", transport: MemoryTransport(files: files), options: options)
    let staged = StagedFiles(image: directory.path.appending("i"), metadata: directory.path.appending("m"))
    let error = try await failure(StoreError.self) { try await repository.fetch(id, to: staged) }
    guard case .damagedImage = error else { throw error }
  }

  @Test(arguments: [
    Array("<html><body>Welcome</body></html>".utf8), [0x0a, 0x7f], [0x0a, 0x06, 0x0a, 0x04] + Array("../x".utf8),
    [0x0a, 0x14, 0x0a, 0x12] + Array("../../x-amd64-1-1".utf8) + [0], [0x0a, 0x00],
    [0x0a, 0x0d, 0x0a, 0x0b] + Array("a-amd64-1-1".utf8) + [0x0a, 0x0d, 0x0a, 0x0b] + Array("a-amd64-1-1".utf8),
    Array(repeating: 0xff, count: 1000),
  ])
  func `a hostile index is a typed error`(index: [UInt8]) async throws {
    let transport = MemoryTransport(files: ["http://x/pkg/meta.binaryproto": index])
    let error = try await failure(StoreError.self) {
      try await Repository(at: "http://x/", transport: transport, options: .unsigned)
    }
    guard case .invalidMetadata("http://x/pkg/meta.binaryproto", _, _) = error else { throw error }
  }

  @Test func `a mutated index either parses or is a typed error`() async throws {
    let packages = try (1...40).map { number in
      RepositoryIndex.Package(
        id: try PackageID(parsing: "p\(number)-amd64-1-\(number)"), wellKnownPaths: ["bin/p\(number)", "out/lib/p"],
        image: .init(byteCount: 4096, sha256: noise(32, seed: UInt64(number))),
        metadata: .init(byteCount: 10, sha256: noise(32)))
    }
    let good = try RepositoryIndex(packages: packages).serialized()
    var refused = 0
    for round in 0..<2000 {
      var bytes = good
      let dice = noise(16, seed: UInt64(round + 1)).map(Int.init)
      for change in stride(from: 0, to: 4 * (1 + dice[0] % 3), by: 4) {
        let place = (dice[change] << 8 | dice[change + 1]) % bytes.count
        switch dice[change + 2] % 3 {
        case 0: bytes[place] = UInt8(dice[change + 3])
        case 1: bytes.removeSubrange(place..<min(bytes.count, place + dice[change + 3]))
        default: bytes.insert(contentsOf: noise(dice[change + 3], seed: UInt64(round)), at: place)
        }
        if bytes.isEmpty { bytes = [0] }
      }
      let transport = MemoryTransport(files: ["m/pkg/meta.binaryproto": bytes])
      do {
        let repository = try await Repository(at: "m", transport: transport, options: .unsigned)
        for package in repository.packages() { #expect(!package.description.contains("/")) }
      } catch is StoreError {
        refused += 1
      }
    }
    #expect(refused > 100)
  }

  @Test func `names are escaped in URLs and not in paths`() async throws {
    let id = try PackageID(parsing: "a%2f#?-amd64-1-1")
    for (root, url) in [("http://h/r", "http://h/r/pkg/a%252f%23%3f-amd64-1-1"), ("/r", "/r/pkg/a%2f#?-amd64-1-1")] {
      let text = Array("version: \"1-1\"\n".utf8)
      let files = [
        "\(root)/pkg/meta.binaryproto": try RepositoryIndex(packages: [.init(id: id)]).serialized(), "\(url).meta.textproto": text,
      ]
      var options = Repository.Options.unsigned
      options.allowsUnverifiedPackages = true
      let repository = try await Repository(at: root, transport: MemoryTransport(files: files), options: options)
      #expect(try await repository.metadata(of: id).version == "1-1")
    }
  }

  @Test func `configured repositories are read in the order of the files`() throws {
    let directory = try TemporaryDirectory()
    #expect(try RepositoryConfiguration(directory: directory.path).roots == [])
    try run("mkdir", [directory.path.appending("repos.d").string])
    try write(
      Array("# ours\nhttps://b.example/x  reserved words\n\n/srv/repo\n".utf8), to: directory.path.appending("repos.d/20.repo"))
    try write(Array("  http://a.example\n/srv/repo\n".utf8), to: directory.path.appending("repos.d/10.repo"))
    try write(Array("https://ignored.example\n".utf8), to: directory.path.appending("repos.d/05.repo.bak"))
    #expect(
      try RepositoryConfiguration(directory: directory.path).roots == ["http://a.example", "/srv/repo", "https://b.example/x"])
    #expect(throws: RepositoryError.invalidURL("ftp://x")) { try RepositoryConfiguration(parsing: "ftp://x\n") }
  }
}
