// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

#if RemoteExecution

import DistriBuild
import GRPCCore
import GRPCNIOTransportHTTP2Posix
import GRPCProtobuf
import Synchronization

@testable import DistriRemote

/// A server of the Remote Execution API on the loopback device: a storage in memory that does as it should, and whatever a test has it do otherwise.
///
/// Actions are executed by nobody; ``Behaviour/execute`` says what comes of them.
final class TestServer: Sendable {
  typealias Updates = RPCWriter<Google_Longrunning_Operation>

  /// What the server does; nil for what it should.
  struct Behaviour: Sendable {
    var capabilities = REAPI_ServerCapabilities.usual
    var findMissing: (@Sendable (REAPI_FindMissingBlobsRequest) throws -> REAPI_FindMissingBlobsResponse)?
    var update: (@Sendable (REAPI_BatchUpdateBlobsRequest) throws -> REAPI_BatchUpdateBlobsResponse)?
    var batchRead: (@Sendable (REAPI_BatchReadBlobsRequest) throws -> REAPI_BatchReadBlobsResponse)?
    var read: (@Sendable (Google_Bytestream_ReadRequest, RPCWriter<Google_Bytestream_ReadResponse>) async throws -> Void)?
    /// After so many messages of the first upload, the call fails.
    var breaksWriteAfter: Int?
    var result: (@Sendable (REAPI_GetActionResultRequest) throws -> REAPI_ActionResult)?
    var execute: @Sendable (REAPI_ExecuteRequest, Updates) async throws -> Void = { _, _ in
      throw RPCError(code: .unimplemented, message: "")
    }
    var wait: @Sendable (String, Updates) async throws -> Void = { _, _ in throw RPCError(code: .notFound, message: "") }

    static let usual = Behaviour()
  }

  struct State {
    var blobs: [String: [UInt8]] = [:]
    var partial: [String: [UInt8]] = [:]
    var calls: [String] = []
    var authorization: [String] = []
    var cancelled: [String] = []
    var results: [String: REAPI_ActionResult] = [:]
    var hasBrokenWrite = false
  }

  let behaviour: Behaviour
  let state = Mutex(State())

  init(_ behaviour: Behaviour = .usual) { self.behaviour = behaviour }

  /// Runs the body while the server listens.
  func with<R: Sendable>(
    tls: HTTP2ServerTransport.Posix.TransportSecurity? = nil, _ body: (RemoteEndpoint) async throws -> R
  ) async throws -> R {
    let transport = HTTP2ServerTransport.Posix(address: .ipv4(host: "127.0.0.1", port: 0), transportSecurity: tls ?? .plaintext)
    let server = GRPCServer(transport: transport, services: [self])
    // Not in a task group: a test that is cancelled still has its server. Nor is the server cancelled in the end: SwiftNIO stops the process for a stream
    // that a client opens in that moment.
    Task { try await server.serve() }
    defer { server.beginGracefulShutdown() }
    let port = try await transport.listeningAddress.ipv4?.port ?? 0
    return try await body(try RemoteEndpoint(parsing: tls != nil ? "grpcs://localhost:\(port)" : "grpc://127.0.0.1:\(port)/main"))
  }

  /// Connects a client to the server, and runs the body with its storage.
  func withBlobs(_ options: RemoteOptions = .impatient, _ body: (BlobStore) async throws -> Void) async throws {
    try await with { endpoint in
      let connection = try Connection(to: endpoint, options)
      try await withThrowingTaskGroup(of: Void.self) { group in
        group.addTask { await connection.run() }
        defer { group.cancelAll() }
        try await body(BlobStore(connection: connection, capabilities: try await Capabilities(of: connection)))
      }
    }
  }

  /// As if somebody had sent it.
  func put(_ bytes: [UInt8]) -> ContentDigest {
    let digest = ContentDigest(of: bytes)
    state.withLock { $0.blobs[digest.sha256] = bytes }
    return digest
  }

  func calls(_ name: String) -> Int { state.withLock { $0.calls.count { $0 == name } } }
}

extension RemoteOptions {
  /// Gives up soon.
  static var impatient: Self {
    var options = Self()
    options.retryTimeout = .seconds(2)
    options.callTimeout = .seconds(10)
    return options
  }
}

extension REAPI_ServerCapabilities {
  static var usual: Self {
    .with {
      $0.cacheCapabilities.digestFunctions = [.sha1, .sha256]
      $0.cacheCapabilities.maxBatchTotalSizeBytes = 100_000
      $0.cacheCapabilities.supportedCompressors = [.zstd]
      $0.cacheCapabilities.actionCacheUpdateCapabilities.updateEnabled = true
      $0.executionCapabilities.digestFunction = .sha256
      $0.executionCapabilities.execEnabled = true
      $0.lowApiVersion.major = 2
      $0.highApiVersion.major = 2
    }
  }
}

extension TestServer: RegistrableRPCService {
  func registerMethods<Transport: ServerTransport>(with router: inout RPCRouter<Transport>) {
    unary(RemoteMethods.getCapabilities, &router) { [behaviour] _ in behaviour.capabilities }
    unary(RemoteMethods.findMissingBlobs, &router) { [self] request in
      if let answer = behaviour.findMissing { return try answer(request) }
      return .with { answer in
        answer.missingBlobDigests = request.blobDigests.filter { blob in state.withLock { $0.blobs[blob.hash] == nil } }
      }
    }
    unary(RemoteMethods.batchUpdateBlobs, &router) { [self] request in
      if let answer = behaviour.update { return try answer(request) }
      return .with { answer in
        answer.responses = request.requests.map { item in
          let bytes = [UInt8](item.data)
          guard ContentDigest(of: bytes) == item.digest.contentDigest else {
            return .with { ($0.digest, $0.status.code) = (item.digest, 3) }
          }
          _ = put(bytes)
          return .with { $0.digest = item.digest }
        }
      }
    }
    unary(RemoteMethods.batchReadBlobs, &router) { [self] request in
      if let answer = behaviour.batchRead { return try answer(request) }
      return .with { answer in
        answer.responses = request.digests.map { digest in
          let bytes = state.withLock { $0.blobs[digest.hash] }
          return .with {
            $0.digest = digest
            if let bytes { $0.data = .init(bytes) } else { $0.status.code = 5 }
          }
        }
      }
    }
    unary(RemoteMethods.getActionResult, &router) { [self] request in
      if let answer = behaviour.result { return try answer(request) }
      guard let result = state.withLock({ $0.results[request.actionDigest.hash] }) else {
        throw RPCError(code: .notFound, message: "")
      }
      return result
    }
    unary(RemoteMethods.updateActionResult, &router) { [self] request in
      state.withLock { $0.results[request.actionDigest.hash] = request.actionResult }
      return request.actionResult
    }
    unary(RemoteMethods.cancelOperation, &router) { [self] request in
      state.withLock { $0.cancelled.append(request.name) }
      return .init()
    }
    unary(RemoteMethods.queryWriteStatus, &router) { [self] request in
      guard let bytes = state.withLock({ $0.partial[request.resourceName] }) else { throw RPCError(code: .notFound, message: "") }
      return .with { $0.committedSize = Int64(bytes.count) }
    }
    streaming(RemoteMethods.read, &router) { [self] request, writer in
      if let answer = behaviour.read { return try await answer(request, writer) }
      try await read(request, writer)
    }
    streaming(RemoteMethods.execute, &router) { [behaviour] request, writer in try await behaviour.execute(request, writer) }
    streaming(RemoteMethods.waitExecution, &router) { [behaviour] request, writer in
      try await behaviour.wait(request.name, writer)
    }
    router.registerHandler(
      forMethod: RemoteMethods.write.descriptor, deserializer: ProtobufDeserializer<Google_Bytestream_WriteRequest>(),
      serializer: ProtobufSerializer<Google_Bytestream_WriteResponse>()
    ) { [self] request, _ in
      state.withLock { $0.calls.append("Write") }
      let answer = try await take(request.messages)
      return StreamingServerResponse { writer in
        try await writer.write(answer)
        return [:]
      }
    }
  }

  private func read(_ request: Google_Bytestream_ReadRequest, _ writer: RPCWriter<Google_Bytestream_ReadResponse>) async throws {
    let parts = request.resourceName.split(separator: "/")
    guard let bytes = state.withLock({ $0.blobs[String(parts[parts.count - 2])] }) else {
      throw RPCError(code: .notFound, message: "")
    }
    var rest = bytes.dropFirst(Int(request.readOffset))
    while !rest.isEmpty {
      try await writer.write(.with { $0.data = .init(rest.prefix(100_000)) })
      rest = rest.dropFirst(100_000)
    }
  }

  /// An upload, from the offset that the server knows.
  private func take(_ messages: RPCAsyncSequence<Google_Bytestream_WriteRequest, any Error>) async throws
    -> Google_Bytestream_WriteResponse
  {
    var name = ""
    var count = 0
    for try await message in messages {
      if name.isEmpty { name = message.resourceName }
      let parts = name.split(separator: "/")
      let hash = String(parts[parts.count - 2])
      if state.withLock({ $0.blobs[hash] != nil }) { return .with { $0.committedSize = Int64(parts[parts.count - 1]) ?? 0 } }
      let bytes = try state.withLock { state in
        var bytes = state.partial[name] ?? []
        guard message.writeOffset == Int64(bytes.count) else { throw RPCError(code: .invalidArgument, message: "offset") }
        bytes += [UInt8](message.data)
        state.partial[name] = bytes
        return bytes
      }
      count += 1
      if count == behaviour.breaksWriteAfter, !state.withLock({ $0.hasBrokenWrite }) {
        state.withLock { $0.hasBrokenWrite = true }
        throw RPCError(code: .unavailable, message: "for a moment")
      }
      if message.finishWrite {
        if !name.contains("compressed-blobs") { precondition(ContentDigest(of: bytes).sha256 == hash) }
        state.withLock { $0.blobs[hash] = bytes }
        return .with { $0.committedSize = Int64(bytes.count) }
      }
    }
    throw RPCError(code: .invalidArgument, message: "no end")
  }

  private func unary<Request, Response, Transport>(
    _ method: RemoteMethod<Request, Response>, _ router: inout RPCRouter<Transport>,
    _ body: @escaping @Sendable (Request) async throws -> Response
  ) {
    streaming(method, &router) { request, writer in try await writer.write(try await body(request)) }
  }

  private func streaming<Request, Response, Transport>(
    _ method: RemoteMethod<Request, Response>, _ router: inout RPCRouter<Transport>,
    _ body: @escaping @Sendable (Request, RPCWriter<Response>) async throws -> Void
  ) {
    router.registerHandler(
      forMethod: method.descriptor, deserializer: ProtobufDeserializer<Request>(), serializer: ProtobufSerializer<Response>()
    ) { [self] request, _ in
      state.withLock { state in
        state.calls.append(method.descriptor.method)
        state.authorization += request.metadata[stringValues: "authorization"].map { String($0) }
      }
      var messages = request.messages.makeAsyncIterator()
      guard let message = try await messages.next() else { throw RPCError(code: .invalidArgument, message: "") }
      return StreamingServerResponse { writer in
        try await body(message, writer)
        return [:]
      }
    }
  }
}

#endif
