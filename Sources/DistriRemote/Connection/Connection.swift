// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

#if RemoteExecution

import GRPCCore
import GRPCNIOTransportHTTP2Posix
import GRPCProtobuf
import SwiftProtobuf

/// Calls the methods of one server. Any number of tasks may.
struct Connection: Sendable {
  typealias Client = GRPCClient<HTTP2ClientTransport.Posix>

  let endpoint: RemoteEndpoint
  var options: RemoteOptions
  private let client: Client
  private let requestMetadata: [UInt8]

  /// The most that one message of a server may have, in bytes. Batches stay below it.
  static let messageLimit = 4 << 20

  /// Connects with the first call, while ``run()`` runs.
  ///
  /// - Throws: ``RemoteError/invalidCredentials(_:reason:)``.
  init(to endpoint: RemoteEndpoint, _ options: RemoteOptions) throws(RemoteError) {
    self.endpoint = endpoint
    self.options = options
    var config = HTTP2ClientTransport.Posix.Config.defaults
    // A server that has vanished is noticed while an action runs there for hours. Most servers hang up on who asks more often than every five minutes.
    config.connection.keepalive = .init(time: .seconds(310), timeout: .seconds(20), allowWithoutCalls: false)
    config.backoff = .init(initial: .milliseconds(100), max: .seconds(5), multiplier: 2, jitter: 0.5)
    config.http2.maxFrameSize = 1 << 20
    let security = try Credentials(options).security(of: endpoint)
    do {
      client = GRPCClient(
        transport: try .http2NIOPosix(
          target: .dns(host: endpoint.host, port: endpoint.port), transportSecurity: security, config: config))
    } catch {
      throw .invalidCredentials(options.certificate ?? options.authorities ?? "", reason: RemoteError.printable("\(error)"))
    }
    var metadata = REAPI_RequestMetadata()
    metadata.toolDetails.toolName = "distri"
    requestMetadata = (try? metadata.serializedBytes()) ?? []
  }

  /// Holds the connection until the task is cancelled.
  func run() async { try? await client.runConnections() }

  /// Asks once, and takes one answer.
  func call<Request, Response>(_ method: RemoteMethod<Request, Response>, _ request: Request, timeout: Duration? = nil)
    async throws -> Response
  {
    try await attempt(method) {
      try await client.unary(
        request: ClientRequest(message: request, metadata: try metadata()), descriptor: method.descriptor,
        serializer: ProtobufSerializer(), deserializer: ProtobufDeserializer(), options: callOptions(timeout)
      ) { try $0.message }
    }
  }

  /// Asks once, and takes a stream of answers. The call ends with the body.
  func receive<Request, Response, R: Sendable>(
    _ method: RemoteMethod<Request, Response>, _ request: Request, timeout: Duration,
    _ body: @escaping @Sendable (RPCAsyncSequence<Response, any Error>) async throws -> R
  ) async throws -> R {
    try await attempt(method) {
      try await client.serverStreaming(
        request: ClientRequest(message: request, metadata: try metadata()), descriptor: method.descriptor,
        serializer: ProtobufSerializer(), deserializer: ProtobufDeserializer(), options: callOptions(timeout)
      ) { try await body($0.messages) }
    }
  }

  /// Sends a stream, and takes one answer, which may come before all is sent.
  func send<Request, Response>(
    _ method: RemoteMethod<Request, Response>, timeout: Duration,
    _ body: @escaping @Sendable (RPCWriter<Request>) async throws -> Void
  ) async throws -> Response {
    try await attempt(method) {
      try await client.clientStreaming(
        request: StreamingClientRequest(metadata: try metadata(), producer: body), descriptor: method.descriptor,
        serializer: ProtobufSerializer(), deserializer: ProtobufDeserializer(), options: callOptions(timeout)
      ) { try $0.message }
    }
  }

  /// Calls again after failures that pass.
  ///
  /// - Throws: ``RemoteError/callFailed(_:call:status:message:)`` with the last failure; `CancellationError`.
  ///
  /// - Parameter progress: where this has changed since the last failure, that one does not count.
  func retrying<R>(progress: () -> UInt64 = { 0 }, _ body: () async throws -> R) async throws -> R {
    let policy = RetryPolicy(limit: options.retryTimeout)
    var start = ContinuousClock.now
    var failures = 0
    var reached = progress()
    while true {
      do {
        return try await body()
      } catch let error as CallError where error.mayPass {
        if progress() != reached { (start, failures, reached) = (.now, 0, progress()) }
        failures += 1
        guard let delay = policy.delay(afterFailures: failures, elapsed: ContinuousClock.now - start) else {
          throw error.remoteError
        }
        try await Task.sleep(for: delay)
      } catch let error as CallError {
        throw error.remoteError
      }
    }
  }

  private func attempt<Request, Response, R>(
    _ method: RemoteMethod<Request, Response>, _ body: () async throws -> R
  ) async throws -> R {
    do {
      return try await body()
    } catch {
      try Task.checkCancellation()
      switch error {
      case let error as RPCError:
        // What a body of ours has thrown comes wrapped at times.
        if let cause = error.cause as? RemoteError { throw cause }
        throw CallError(endpoint: endpoint, call: method.descriptor.method, error)
      case let error as RuntimeError:
        throw CallError(endpoint: endpoint, call: method.descriptor.method, RPCError(code: .unavailable, message: error.message))
      default: throw error
      }
    }
  }

  /// How long a call may take that carries so many bytes: no server is so slow that works.
  func timeout(forBytes count: UInt64) -> Duration { options.callTimeout + .seconds(Int64(clamping: count >> 17)) }

  private func callOptions(_ timeout: Duration?) -> CallOptions {
    var result = CallOptions.defaults
    result.timeout = timeout ?? options.callTimeout
    result.waitForReady = false
    result.maxResponseMessageBytes = Self.messageLimit + (64 << 10)
    return result
  }

  private func metadata() throws(RemoteError) -> Metadata {
    var result: Metadata = [:]
    result.addBinary(requestMetadata, forKey: "build.bazel.remote.execution.v2.requestmetadata-bin")
    if let token = try Credentials(options).token(for: endpoint) { result.addString("Bearer \(token)", forKey: "authorization") }
    return result
  }
}

/// A call that failed, as gRPC says it.
struct CallError: Error {
  let endpoint: RemoteEndpoint
  let call: String
  let code: RPCError.Code
  let message: String

  init(endpoint: RemoteEndpoint, call: String, _ error: RPCError) {
    self.endpoint = endpoint
    self.call = call
    code = error.code
    message = error.message
  }

  /// Whether the same call may succeed a little later: the others say that the call itself is wrong.
  var mayPass: Bool {
    switch code {
    case .cancelled, .unknown, .deadlineExceeded, .resourceExhausted, .aborted, .internalError, .unavailable: true
    default: false
    }
  }

  var remoteError: RemoteError { .callFailed(endpoint, call: call, status: "\(code)", message: message) }
}

#endif
