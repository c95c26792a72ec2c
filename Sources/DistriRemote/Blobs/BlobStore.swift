// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

#if RemoteExecution

import DistriBuild
import DistriStore
import GRPCCore
import SystemPackage

/// The content-addressed storage of a server.
struct BlobStore: Sendable {
  let connection: Connection
  let capabilities: Capabilities

  var endpoint: RemoteEndpoint { connection.endpoint }

  /// How many digests go into one question: below a message's limit.
  private static let digestsPerQuestion = 10_000
  /// How many calls with contents are under way at once.
  private static let callsAtOnce = 4

  /// Which of these the server has not.
  ///
  /// - Throws: ``RemoteError``; `CancellationError`.
  func missing(of digests: some Collection<ContentDigest>) async throws -> Set<ContentDigest> {
    let all = Array(Set(digests))
    var result: Set<ContentDigest> = []
    for start in stride(from: 0, to: all.count, by: Self.digestsPerQuestion) {
      let asked = all[start..<min(all.count, start + Self.digestsPerQuestion)]
      let answer = try await connection.retrying {
        try await connection.call(
          RemoteMethods.findMissingBlobs,
          .with {
            $0.instanceName = endpoint.instance
            $0.digestFunction = .sha256
            $0.blobDigests = asked.map { REAPI_Digest($0) }
          })
      }
      result.formUnion(try answer.missing(of: Set(asked), from: endpoint))
    }
    return result
  }

  /// Sends contents that the server has not, small ones together.
  ///
  /// - Throws: ``RemoteError``; `CancellationError`.
  func upload(_ blobs: [Blob]) async throws {
    var batches: [[Blob]] = []
    var size = 0
    var large: [Blob] = []
    for blob in blobs.sorted(by: { $0.digest.byteCount < $1.digest.byteCount }) {
      guard let count = Int(exactly: blob.digest.byteCount), count + Self.overhead <= capabilities.batchLimit else {
        large.append(blob)
        continue
      }
      if batches.isEmpty || size + count + Self.overhead > capabilities.batchLimit {
        batches.append([])
        size = 0
      }
      batches[batches.count - 1].append(blob)
      size += count + Self.overhead
    }
    try await atOnce(Self.callsAtOnce, batches) { try await uploadTogether($0) }
    try await atOnce(Self.callsAtOnce, large) {
      try await BlobUpload(blob: $0, connection: connection, compresses: compresses).run()
    }
  }

  /// What a digest and a length take in a message, in bytes.
  private static let overhead = 96

  private var compresses: Bool {
    switch connection.options.compression {
    case .always: capabilities.hasZstd
    case .automatic: capabilities.hasZstd && !endpoint.isLocal
    case .never: false
    }
  }

  private func uploadTogether(_ blobs: [Blob]) async throws {
    let requests = try blobs.map { blob throws in
      let bytes = try BlobReader(blob).all()
      return REAPI_BatchUpdateBlobsRequest.Request.with {
        $0.digest = REAPI_Digest(blob.digest)
        $0.data = .init(bytes)
      }
    }
    try await connection.retrying {
      let answer = try await connection.call(
        RemoteMethods.batchUpdateBlobs,
        .with {
          $0.instanceName = endpoint.instance
          $0.digestFunction = .sha256
          $0.requests = requests
        })
      try answer.check(blobs, from: endpoint)
    }
  }

  /// Small contents, to memory, verified.
  ///
  /// - Parameter limit: of the bytes of one of them.
  /// - Throws: ``RemoteError/missingContent(_:_:)`` and the others; `CancellationError`.
  func contents(of digest: ContentDigest, limit: Int) async throws -> [UInt8] {
    guard digest.byteCount <= UInt64(limit), Int(digest.byteCount) <= capabilities.batchLimit else {
      throw RemoteError.invalidAnswer(
        endpoint, call: "an action", reason: "\(digest) is larger than \(min(limit, capabilities.batchLimit)) bytes")
    }
    if digest.byteCount == 0 { return [] }
    return try await connection.retrying {
      let answer = try await connection.call(
        RemoteMethods.batchReadBlobs,
        .with {
          $0.instanceName = endpoint.instance
          $0.digestFunction = .sha256
          $0.digests = [REAPI_Digest(digest)]
        })
      return try answer.contents(of: digest, from: endpoint)
    }
  }
}

extension BlobStore: ContentFetcher {
  /// Brings a file, verified; it has its name only when it is whole.
  ///
  /// - Throws: ``RemoteError/missingContent(_:_:)`` and the others; `CancellationError`.
  func fetch(_ digest: ContentDigest, to path: FilePath) async throws {
    if digest.byteCount <= UInt64(Self.directLimit), Int(digest.byteCount) <= capabilities.batchLimit {
      let bytes = try await contents(of: digest, limit: Self.directLimit)
      try DownloadedFile.write(bytes, to: path)
    } else {
      try await BlobDownload(digest: digest, connection: connection, compresses: compresses).run(to: path)
    }
  }

  /// What is small enough to be had without a stream, in bytes.
  private static let directLimit = 1 << 20
}

/// Runs the body for each item, so many at a time; the first error ends it.
func atOnce<Item: Sendable>(_ limit: Int, _ items: [Item], _ body: @escaping @Sendable (Item) async throws -> Void) async throws {
  try await withThrowingTaskGroup(of: Void.self) { group in
    for (index, item) in items.enumerated() {
      if index >= limit { try await group.next() }
      group.addTask { try await body(item) }
    }
    try await group.waitForAll()
  }
}

#endif
