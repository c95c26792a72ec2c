// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

#if RemoteExecution

import DistriBuild
import GRPCCore
import Synchronization
import SystemPackage

/// Takes content as a stream to a file, goes on where a stream breaks off, and believes nothing but the digest.
struct BlobDownload: Sendable {
  let digest: ContentDigest
  let connection: Connection
  let compresses: Bool

  /// Brings the file, which has its name only when it is whole.
  ///
  /// - Throws: ``RemoteError``; `CancellationError`.
  func run(to path: FilePath) async throws {
    let file = try DownloadedFile(for: path, digest: digest)
    defer { file.discard() }
    if compresses {
      let compressed = try DownloadedFile(for: path, digest: nil)
      defer { compressed.discard() }
      try await receive(into: compressed, atMost: digest.byteCount + digest.byteCount / 64 + (1 << 16))
      try await compressed.decompress(into: file)
    } else {
      try await receive(into: file, atMost: digest.byteCount)
    }
    guard try file.finish() else {
      throw RemoteError.invalidAnswer(connection.endpoint, call: "Read", reason: "the bytes are not those of \(digest)")
    }
  }

  private var resourceName: String {
    let instance = connection.endpoint.instance
    return "\(instance)\(instance.isEmpty ? "" : "/")\(compresses ? "compressed-blobs/zstd" : "blobs")/\(digest)"
  }

  /// - Parameter limit: of the bytes that are taken.
  private func receive(into file: DownloadedFile, atMost limit: UInt64) async throws {
    do {
      try await connection.retrying(progress: { file.byteCount }) {
        // Offsets are those of the content, so that nothing can be added to what came compressed.
        if compresses { try file.empty() }
        let start = file.byteCount
        if !compresses, start == limit { return }
        try await connection.receive(
          RemoteMethods.read,
          .with {
            $0.resourceName = resourceName
            $0.readOffset = compresses ? 0 : Int64(clamping: start)
          }, timeout: connection.timeout(forBytes: digest.byteCount - min(start, digest.byteCount))
        ) { answers in
          for try await answer in answers {
            guard UInt64(answer.data.count) <= limit - file.byteCount else {
              throw RemoteError.invalidAnswer(connection.endpoint, call: "Read", reason: "it is longer than \(digest)")
            }
            try file.append([UInt8](answer.data))
          }
        }
        guard compresses || file.byteCount == limit else {
          throw CallError(
            endpoint: connection.endpoint, call: "Read",
            RPCError(code: .aborted, message: "\(digest) ended after \(file.byteCount) bytes"))
        }
      }
    } catch RemoteError.callFailed(_, _, "notFound", _) {
      throw RemoteError.missingContent(connection.endpoint, digest)
    }
  }
}

#endif
