// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import Foundation
import Synchronization
import SystemPackage
import TestSupport
import Testing

@testable import DistriRepo

/// A server whose files a test changes at will, and which remembers what it was asked for.
final class SimulatedServer: Transport {
  private struct State {
    var files: [String: [UInt8]] = [:]
    var requests: [String] = []
  }

  private let state = Mutex(State())

  /// By path, such as `tuf/timestamp.json`.
  subscript(path: String) -> [UInt8]? {
    get { state.withLock { $0.files[path] } }
    set { state.withLock { $0.files[path] = newValue } }
  }

  /// What was asked for since the last time.
  func takeRequests() -> [String] {
    state.withLock { state in
      defer { state.requests = [] }
      return state.requests
    }
  }

  func download(_ request: TransferRequest, into sink: any TransferSink) async throws -> TransferResponse {
    let path = String(request.url.dropFirst("http://test/".count))
    let bytes = state.withLock { state in
      state.requests.append(path)
      return state.files[path]
    }
    guard let bytes else { throw RepositoryError.notFound(url: request.url) }
    guard UInt64(bytes.count) <= request.maximumByteCount else {
      throw RepositoryError.tooLarge(url: request.url, limit: request.maximumByteCount)
    }
    _ = try sink.consume(bytes.span.bytes)
    return TransferResponse(url: request.url, byteCount: UInt64(bytes.count))
  }
}

/// A repository, its keys, and a machine that trusts its first root.
final class Simulation {
  let server = SimulatedServer()
  let now = UTCTime(seconds: 1_800_000_000)
  var signers: [String: [any Signer]] = [:]
  var root: RootMetadata
  var targets: [String: TargetsMetadata] = [:]
  /// What the next snapshot says.
  var listed: [String: MetadataFileInfo] = [:]
  var snapshotHead: MetadataHead
  var timestampHead: MetadataHead
  /// What the next timestamp says.
  var snapshotInfo: MetadataFileInfo
  var clientOptions = TUFClient.Options()
  let directory: TemporaryDirectory
  let store: TrustStore

  init(kind: PrivateKey.Kind = .ed25519) async throws {
    directory = try TemporaryDirectory()
    store = TrustStore(path: directory.path.appending("trust/example"))
    let head = MetadataHead(version: 1, expires: now.advanced(by: 86_400))
    root = RootMetadata(head: head)
    (snapshotHead, timestampHead) = (head, head)
    snapshotInfo = MetadataFileInfo(version: 1, bytes: [])
    targets["targets"] = TargetsMetadata(head: head, targets: [])
    for role in RootMetadata.roleNames { try rotate(role, kind: kind) }
    let now = now
    clientOptions.now = { now }
    try await publishRoot()
    try await publishAll()
    try FileManager.default.createDirectory(
      atPath: directory.path.appending("trust").string, withIntermediateDirectories: true)
    try await store.initialize(root: try #require(server["tuf/1.root.json"]), file: "initial root")
  }

  static func signer(_ kind: PrivateKey.Kind = .ed25519) throws -> FileSigner {
    FileSigner(try #require(PrivateKey.generate(kind)))
  }

  /// Gives a role new keys.
  func rotate(_ role: String, count: Int = 1, threshold: Int = 1, kind: PrivateKey.Kind = .ed25519) throws {
    let new = try (0..<count).map { _ in try Self.signer(kind) }
    signers[role] = new
    root.delegate(role, to: new.map(\.key), threshold: threshold)
  }

  /// Signs and serves `<version>.root.json`; further roots need those who signed before, too.
  func publishRoot(signedBy former: [any Signer] = []) async throws {
    let all = (signers["root"] ?? []) + former
    server["tuf/\(root.head.version).root.json"] = try await SignedMetadata.bytes(of: root.signed, signedBy: all)
  }

  /// The next root, after a change of it.
  func publishNextRoot(_ change: (inout RootMetadata) throws -> Void = { _ in }) async throws {
    var next = root
    next.head.version += 1
    try change(&next)
    root = next
    try await publishRoot()
  }

  /// The next root, after new keys; those who signed before sign it, too.
  func publishNextRoot(_ rotate: () throws -> Void) async throws {
    root.head.version += 1
    let former = signers["root"] ?? []
    try rotate()
    try await publishRoot(signedBy: former)
  }

  func publishTargets(_ role: String = "targets", list: Bool = true) async throws {
    let metadata = try #require(targets[role])
    let bytes = try await SignedMetadata.bytes(of: metadata.signed, signedBy: signers[role] ?? [])
    server["tuf/\(metadata.head.version).\(role.quoted).json"] = bytes
    if list { listed[role] = MetadataFileInfo(version: metadata.head.version, bytes: bytes) }
  }

  func publishSnapshot(list: Bool = true) async throws {
    let metadata = SnapshotMetadata(head: snapshotHead, files: listed)
    let bytes = try await SignedMetadata.bytes(of: metadata.signed, signedBy: signers["snapshot"] ?? [])
    server["tuf/\(snapshotHead.version).snapshot.json"] = bytes
    if list { snapshotInfo = MetadataFileInfo(version: snapshotHead.version, bytes: bytes) }
  }

  func publishTimestamp() async throws {
    let metadata = TimestampMetadata(head: timestampHead, snapshot: snapshotInfo)
    server["tuf/timestamp.json"] = try await SignedMetadata.bytes(of: metadata.signed, signedBy: signers["timestamp"] ?? [])
  }

  func publishAll() async throws {
    for role in targets.keys { try await publishTargets(role) }
    try await publishSnapshot()
    try await publishTimestamp()
  }

  /// A whole new version of everything below the root.
  func publishNext() async throws {
    for role in targets.keys { targets[role]?.head.version += 1 }
    snapshotHead.version += 1
    timestampHead.version += 1
    try await publishAll()
  }

  var client: TUFClient {
    TUFClient(store: store, metadata: "http://test/tuf/", transport: server, options: clientOptions)
  }

  /// Refreshes, and forgets what that asked for.
  @discardableResult
  func refresh() async throws -> TrustedRepository {
    _ = server.takeRequests()
    return try await client.refresh()
  }

  /// Why the refresh failed, and of which file.
  func refusal() async throws -> (file: String, failure: TrustFailure) {
    guard case .untrusted(let file, let failure) = try await DistriRepoTests.failure(of: { try await refresh() }) else {
      throw NothingThrown()
    }
    return (file.replacing("http://test/tuf/", with: ""), failure)
  }

  /// The version of a role that the machine has stored.
  func stored(_ role: String) throws -> Int64? {
    guard let bytes = store.bytes(of: role, limit: 1 << 20) else { return nil }
    guard case .object(let file) = try JSONValue(parsing: bytes), case .object(let signed)? = file["signed"],
      case .integer(let version)? = signed["version"]
    else { return nil }
    return version
  }

  /// Changes a served file without signing it anew.
  func tamper(_ path: String, _ change: (inout JSONObject) -> Void) throws {
    guard case .object(var file) = try JSONValue(parsing: try #require(server[path])), case .object(var signed)? = file["signed"]
    else { throw NothingThrown() }
    change(&signed)
    file["signed"] = .object(signed)
    server[path] = JSONValue.object(file).serialized
  }

  /// Serves a file with any content, signed as it is.
  func serve(_ path: String, _ signed: JSONObject, signedBy signers: [any Signer]) async throws {
    server[path] = try await SignedMetadata.bytes(of: signed, signedBy: signers)
  }
}
