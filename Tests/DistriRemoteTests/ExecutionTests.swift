// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

#if RemoteExecution

import DistriBuild
import DistriStore
import GRPCCore
import Synchronization
import SystemPackage
import TestSupport
import Testing

@testable import DistriRemote

struct ExecutionTests {
  private static let output = ContentDigest(of: Array("output".utf8))
  private static let success = REAPI_ExecuteResponse.with { $0.result = .sample(output) }

  /// Executes the sample on servers of such behaviours.
  @discardableResult
  private func execute(
    on servers: [TestServer], _ options: RemoteOptions = .impatient, action: Action? = nil,
    report: @escaping @Sendable (RemoteCluster.Event) -> Void = { _ in }
  ) async throws -> RemoteCluster.Execution {
    func nested(_ rest: ArraySlice<TestServer>, _ endpoints: [RemoteEndpoint]) async throws -> RemoteCluster.Execution {
      guard let server = rest.first else {
        let action = try action ?? .sample()
        return try await RemoteCluster.with(endpoints, options) { try await $0.execute(action, report: report) }
      }
      return try await server.with { try await nested(rest.dropFirst(), endpoints + [$0]) }
    }
    return try await nested(servers[...], [])
  }

  private func server(
    _ execute: @escaping @Sendable (REAPI_ExecuteRequest, TestServer.Updates) async throws -> Void,
    wait: @escaping @Sendable (String, TestServer.Updates) async throws -> Void = { _, _ in
      throw RPCError(code: .notFound, message: "")
    }
  ) -> TestServer {
    var behaviour = TestServer.Behaviour.usual
    behaviour.execute = execute
    behaviour.wait = wait
    return TestServer(behaviour)
  }

  @Test func `inputs are sent, stages are told, and outputs are named`() async throws {
    let events = Mutex<[RemoteCluster.Event]>([])
    let server = server { request, updates in
      #expect(request.instanceName == "main")
      for stage in [REAPI_ExecutionStage.Value.queued, .queued, .executing] { try await updates.write(.stage(stage)) }
      try await updates.write(.done(Self.success))
    }
    let action = try Action.sample()
    let execution = try await execute(on: [server], action: action) { event in events.withLock { $0.append(event) } }
    #expect(execution.status == 0)
    #expect(execution.result.files == [try TreePath(parsing: "out/file"): Self.output])
    let endpoint = execution.endpoint
    let size = try ActionMessages(action).blobs.values.reduce(0) { $0 + $1.digest.byteCount }
    #expect(events.withLock { $0 } == [.uploading(size, endpoint), .queued(endpoint), .executing(endpoint)])
    #expect(server.state.withLock { $0.blobs.keys.contains(ContentDigest(of: Array("input\n".utf8)).sha256) })
  }

  @Test func `the same action has the same digest, and another one another`() throws {
    let tool = ActionFile(try TreePath(parsing: "in/z"), bytes: [1], isExecutable: true)
    let other = ActionFile(try TreePath(parsing: "in/a/b"), bytes: [2])
    func digest(_ action: Action) throws -> ContentDigest { try ActionMessages(action).digest }
    let action = try Action.sample(files: [tool, other], platform: ["a": "1", "b": "2"])
    #expect(try digest(action) == digest(.sample(files: [other, tool], platform: ["b": "2", "a": "1"])))
    // Computed with protoc --encode and sha256sum.
    #expect(try digest(action).description == "e697d11f39a8f85fa3451f68bb773cf676c8eaebd5d790c0e31938465e929612/158")
    #expect(try digest(action) != digest(.sample(files: [tool, other])))
    #expect(try digest(action) != digest(.sample(files: [tool])))
  }

  @Test func `a stream that breaks off is taken up again`() async throws {
    let server = server { _, updates in
      try await updates.write(.stage(.executing))
      throw RPCError(code: .unavailable, message: "for a moment")
    } wait: { name, updates in
      #expect(name == "operations/1")
      try await updates.write(.done(Self.success))
    }
    #expect(try await execute(on: [server]).status == 0)
    #expect(server.calls("Execute") == 1)
    #expect(server.calls("WaitExecution") == 1)
  }

  @Test func `a stream that ends without an end is taken up again`() async throws {
    let server = server { _, updates in
      try await updates.write(.stage(.queued))
    } wait: { _, updates in
      try await updates.write(.done(Self.success))
    }
    #expect(try await execute(on: [server]).status == 0)
  }

  @Test func `what a restarted server has forgotten is executed again`() async throws {
    let count = Atomic<Int>(0)
    let server = server { _, updates in
      try await updates.write(.stage(.executing))
      if count.add(1, ordering: .relaxed).newValue == 3 { return try await updates.write(.done(Self.success)) }
      throw RPCError(code: .unavailable, message: "for a moment")
    }
    #expect(try await execute(on: [server]).status == 0)
    #expect(server.calls("WaitExecution") == 2)
  }

  @Test func `a server that forgets for ever is given up`() async throws {
    let server = server { _, updates in
      try await updates.write(.stage(.executing))
      throw RPCError(code: .unavailable, message: "for a moment")
    }
    await #expect(throws: RemoteError.self) { try await execute(on: [server]) }
    #expect(server.calls("Execute") < 50)
  }

  @Test func `a server that fails is replaced by another`() async throws {
    let broken = server { _, _ in throw RPCError(code: .unavailable, message: "no") }
    let sound = server { _, updates in try await updates.write(.done(Self.success)) }
    var options = RemoteOptions.impatient
    options.retryTimeout = .milliseconds(200)
    let lost = Atomic<Int>(0)
    let execution = try await execute(on: [broken, sound], options) { event in
      if case .lost = event { lost.add(1, ordering: .relaxed) }
    }
    #expect(execution.status == 0)
    #expect(lost.load(ordering: .relaxed) == 1)
    #expect(broken.calls("Execute") > 0)
  }

  @Test(arguments: [RPCError.Code.invalidArgument, .permissionDenied, .unauthenticated])
  func `what would fail anywhere is not tried elsewhere`(code: RPCError.Code) async throws {
    let broken = server { _, _ in throw RPCError(code: code, message: "\u{1b}[2Jno") }
    let other = server { _, updates in try await updates.write(.done(Self.success)) }
    let error = await #expect(throws: RemoteError.self) { try await execute(on: [broken, other]) }
    #expect(other.calls("Execute") == 0)
    #expect(broken.calls("Execute") == 1)
    #expect(error.map { "\($0)".contains("\u{1b}") } == false)
  }

  @Test func `inputs that are gone are sent again`() async throws {
    let count = Atomic<Int>(0)
    var behaviour = TestServer.Behaviour.usual
    behaviour.findMissing = { request in .with { $0.missingBlobDigests = request.blobDigests } }
    behaviour.execute = { _, updates in
      guard count.add(1, ordering: .relaxed).newValue == 2 else { throw RPCError(code: .failedPrecondition, message: "MISSING") }
      try await updates.write(.done(Self.success))
    }
    let server = TestServer(behaviour)
    #expect(try await execute(on: [server]).status == 0)
    #expect(server.calls("BatchUpdateBlobs") == 2)
  }

  @Test func `an exit status is told apart from a failure of the server`() async throws {
    let server = server { _, updates in
      try await updates.write(
        .done(
          .with {
            $0.result.exitCode = 3
            $0.result.stdoutRaw = .init(Array("out".utf8))
            $0.result.stderrRaw = .init(Array("err".utf8))
          }))
    }
    let execution = try await execute(on: [server])
    #expect((execution.status, String(decoding: execution.output, as: UTF8.self)) == (3, "outerr"))
    #expect(server.calls("Execute") == 1)
  }

  @Test func `a failure from the cache is executed again`() async throws {
    let server = server { request, updates in
      if request.skipCacheLookup { return try await updates.write(.done(Self.success)) }
      try await updates.write(
        .done(
          .with {
            $0.cachedResult = true
            $0.result.exitCode = 1
          }))
    }
    #expect(try await execute(on: [server]).status == 0)
  }

  @Test(arguments: [
    "unknown path", "path that moves the cursor", "path outside", "no digest", "twice", "missing", "directory", "link",
    "negative size", "nothing",
  ])
  func `a result that is not the action's is refused`(lie: String) async throws {
    let server = server { _, updates in
      var response = Self.success
      switch lie {
      case "unknown path": response.result = .sample(Self.output, path: "out/other")
      case "path that moves the cursor":
        response.result = .sample(Self.output, path: "\u{1b}[2J\u{9b}" + String(repeating: "a", count: 1_000_000))
      case "path outside": response.result = .sample(Self.output, path: "../../etc/passwd")
      case "no digest": response.result.outputFiles[0].digest.hash = "../x"
      case "twice": response.result.outputFiles.append(response.result.outputFiles[0])
      case "missing": response.result.outputFiles = []
      case "directory": response.result.outputDirectories = [.with { $0.path = "out/file" }]
      case "link": response.result.outputSymlinks = [.with { ($0.path, $0.target) = ("out/file", "/etc/passwd") }]
      case "negative size": response.result.outputFiles[0].digest.sizeBytes = -1
      default: response = .init()
      }
      try await updates.write(.done(response))
    }
    let error = await #expect(throws: RemoteError.self) { try await execute(on: [server]) }
    #expect(error.map { if case .invalidAnswer = $0 { true } else { false } } == true)
    let text = error.map { "\($0)" } ?? ""
    #expect(text.utf8.count < 5000 && !text.unicodeScalars.contains { $0.properties.generalCategory == .control })
  }

  @Test func `an operation that is done without a result is refused`() async throws {
    let server = server { _, updates in try await updates.write(.with { $0.done = true }) }
    await #expect(throws: RemoteError.self) { try await execute(on: [server]) }
  }

  @Test func `who cancels has the server cancel`() async throws {
    let started = AsyncStream<Void>.makeStream()
    let server = server { _, updates in
      try await updates.write(.stage(.executing))
      try await Task.sleep(for: .seconds(60))
    }
    let task = Task {
      try await execute(on: [server]) { event in
        if case .executing = event { started.continuation.yield() }
      }
    }
    for await _ in started.stream { break }
    let start = ContinuousClock.now
    task.cancel()
    await #expect(throws: CancellationError.self) { try await task.value }
    #expect(ContinuousClock.now - start < .seconds(5))
    #expect(server.state.withLock { $0.cancelled } == ["operations/1"])
  }

  @Test func `the same action, asked for twice at a time, is executed once`() async throws {
    let (asked, gate) = (AsyncStream<Void>.makeStream(), AsyncStream<Void>.makeStream())
    let server = server { _, updates in
      try await updates.write(.stage(.executing))
      asked.continuation.yield()
      for await _ in gate.stream { break }
      try await updates.write(.done(Self.success))
    }
    try await server.with { endpoint in
      try await RemoteCluster.with([endpoint], .impatient) { cluster in
        let action = try Action.sample()
        async let first = cluster.execute(action)
        for await _ in asked.stream { break }
        async let second = cluster.execute(action)
        while cluster.executions.waiterCount(of: try cluster.digest(of: action)) < 2 { await Task.yield() }
        gate.continuation.yield()
        #expect(try await [first.status, second.status] == [0, 0])
      }
    }
    #expect(server.calls("Execute") == 1)
  }

  @Test func `servers get as many actions as they may at once, each`() async throws {
    let running = Mutex((now: 0, most: 0))
    let server = server { _, updates in
      running.withLock { $0 = ($0.now + 1, max($0.most, $0.now + 1)) }
      try await updates.write(.stage(.executing))
      for _ in 0..<100 { await Task.yield() }
      running.withLock { $0.now -= 1 }
      try await updates.write(.done(Self.success))
    }
    var options = RemoteOptions.impatient
    options.actionsPerEndpoint = 2
    try await server.with { endpoint in
      try await RemoteCluster.with([endpoint], options) { cluster in
        try await withThrowingTaskGroup(of: Int.self) { group in
          for number in 0..<8 {
            group.addTask { try await cluster.execute(.sample([UInt8(number)])).status }
          }
          for try await status in group { #expect(status == 0) }
        }
      }
    }
    #expect(server.calls("Execute") == 8)
    #expect(running.withLock { $0.most } <= 2)
  }

  @Test func `a cluster without servers is refused`() async throws {
    await #expect(throws: RemoteError.self) { try await RemoteCluster.with([]) { _ in } }
  }

  @Test func `a file comes from the server that has it`() async throws {
    let (empty, full) = (TestServer(), TestServer())
    let directory = try TemporaryDirectory()
    let digest = full.put(noise(200_000))
    let path = directory.path.appending("file")
    try await empty.with { first in
      try await full.with { second in
        try await RemoteCluster.with([first, second], .impatient) { try await $0.fetch(digest, to: path) }
      }
    }
    #expect(try ContentDigest(of: path) == digest)
    #expect(empty.calls("Read") == 1)
  }

  // MARK: Action cache

  @Test func `a result is known once somebody has added it`() async throws {
    let server = TestServer()
    let directory = try TemporaryDirectory()
    let path = try TreePath(parsing: "out/file")
    let file = directory.path.appending("file")
    try await server.with { endpoint in
      try await RemoteCluster.with([endpoint], .impatient) { cluster in
        let action = try Action.sample()
        #expect(try await cluster.result(of: action) == nil)
        let result = ActionResult(files: [path: server.put(Array("output".utf8))])
        try await cluster.fetch(Self.output, to: file)
        server.state.withLock { $0.blobs = [:] }
        try await cluster.add(result, of: action, contents: [path: file])
        #expect(try await cluster.result(of: action) == result)
      }
    }
    #expect(server.state.withLock { $0.blobs[Self.output.sha256] } == Array("output".utf8))
  }

  @Test func `a failure in the cache is no result`() async throws {
    var behaviour = TestServer.Behaviour.usual
    behaviour.result = { _ in .with { $0.exitCode = 1 } }
    try await TestServer(behaviour).with { endpoint in
      try await RemoteCluster.with([endpoint], .impatient) { cluster in
        let result = try await cluster.result(of: .sample())
        #expect(result == nil)
      }
    }
  }
}

#endif
