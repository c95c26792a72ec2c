// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

#if RemoteExecution

import DistriBuild
import DistriStore
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
    do {
      if compresses {
        let compressed = try DownloadedFile(for: path, digest: nil)
        defer { compressed.discard() }
        try await receive(into: file, through: compressed)
      } else {
        try await receive(into: file)
      }
    } catch RemoteError.callFailed(_, _, "notFound", _) {
      throw RemoteError.missingContent(connection.endpoint, digest)
    }
  }

  private func receive(into file: DownloadedFile) async throws {
    try await connection.retrying(progress: { file.byteCount }) {
      let start = file.byteCount
      if start < digest.byteCount { try await read(from: start, into: file, atMost: digest.byteCount) }
      try requireWhole(file)
    }
    guard try file.finish() else { throw refuse("the bytes are not those of \(digest)") }
  }

  /// Offsets are those of the content, whether it comes compressed or not: what can be decompressed of a stream that broke off is not asked for again.
  private func receive(into file: DownloadedFile, through compressed: DownloadedFile) async throws {
    var wasResumed = false
    func receive(resumes: Bool) async throws {
      try await connection.retrying(progress: { file.byteCount }) {
        if !resumes { try file.empty() }
        try compressed.empty()
        let start = file.byteCount
        wasResumed = wasResumed || start > 0
        if start < digest.byteCount {
          let rest = digest.byteCount - start
          do {
            try await read(from: start, into: compressed, atMost: rest + rest / 64 + (1 << 16))
          } catch let error as CallError {
            do { try await compressed.decompress(into: file) } catch StoreError.invalidArchive {}
            throw error
          }
          do {
            try await compressed.decompress(into: file)
          } catch StoreError.invalidArchive(_, _, let reason) {
            throw refuse("\(digest) cannot be decompressed: \(reason)")
          }
        }
        try requireWhole(file)
      }
      guard try file.finish() else { throw refuse("the bytes are not those of \(digest)") }
    }
    do {
      try await receive(resumes: true)
    } catch let error as RemoteError where wasResumed && error.isAboutAnAnswer {
      // There are servers that take the offset for one of the compressed bytes, or refuse all but 0.
      try file.empty()
      try await receive(resumes: false)
    }
  }

  private var resourceName: String {
    let instance = connection.endpoint.instance
    return "\(instance)\(instance.isEmpty ? "" : "/")\(compresses ? "compressed-blobs/zstd" : "blobs")/\(digest)"
  }

  /// Appends one stream, as it comes.
  ///
  /// - Parameter limit: of the file's bytes.
  private func read(from start: UInt64, into file: DownloadedFile, atMost limit: UInt64) async throws {
    try await connection.receive(
      RemoteMethods.read,
      .with {
        $0.resourceName = resourceName
        $0.readOffset = Int64(clamping: start)
      }, timeout: connection.timeout(forBytes: digest.byteCount - start)
    ) { answers in
      for try await answer in answers {
        guard UInt64(answer.data.count) <= limit - file.byteCount else { throw refuse("it is longer than \(digest)") }
        try file.append([UInt8](answer.data))
      }
    }
  }

  private func requireWhole(_ file: DownloadedFile) throws(CallError) {
    guard file.byteCount < digest.byteCount else { return }
    throw CallError(
      endpoint: connection.endpoint, call: "Read",
      RPCError(code: .aborted, message: "\(digest) ended after \(file.byteCount) bytes"))
  }

  private func refuse(_ reason: String) -> RemoteError { .invalidAnswer(connection.endpoint, call: "Read", reason: reason) }
}

extension RemoteError {
  /// Whether a server does not do what it was asked for, although it can be reached.
  fileprivate var isAboutAnAnswer: Bool {
    switch self {
    case .invalidAnswer: true
    case .callFailed(_, _, let status, _): status == "invalidArgument" || status == "outOfRange" || status == "unimplemented"
    default: false
    }
  }
}

#endif
