// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore
import SystemPackage

/// Brings a file of which size and SHA-256 are known, from the first mirror that has it, and goes on where an earlier attempt was broken off:
/// in this process, at another mirror, or before a power cut.
struct VerifiedDownload: Sendable {
  let transport: any Transport
  let mirrors: MirrorSet
  /// What the file is called in an error.
  let subject: String
  let expected: RepositoryIndex.FileDigest
  /// Where the file is at a mirror.
  let url: @Sendable (_ root: String) -> String
  /// Whether a server may encode it for the way.
  var allowsEncoding = true

  /// Creates the file, whole and verified. What came is kept in `partials` when it throws, and when it does not, until the caller removes it.
  ///
  /// - Throws: as ``Transport/download(_:into:)``; ``RepositoryError/mismatch(subject:url:expected:got:)``;
  ///   ``RepositoryError/system(operation:path:_:)``; `StoreError.system`.
  func run(creating path: FilePath, keepingPartsIn partials: PartialFiles?) async throws {
    while let partial = try partials?.open(expected.sha256, byteCount: expected.byteCount) {
      var received = try await blocking {
        try Files.prefix(of: partial.descriptor, path: partial.path, byteCount: partial.byteCount)
      }
      if received.byteCount == expected.byteCount, received.digest != expected {
        // It may have other names, whatever it is: others are not to see it change.
        try partial.discard()
        continue
      }
      do { try await complete(&received, of: partial.descriptor, at: partial.path) } catch {
        // What filled the disk is not to stay there.
        if received.byteCount == 0 || error.isOfThisMachine { try? partial.discard() }
        throw error
      }
      return try partial.give(path)
    }
    let file = try Files.open(creating: path)
    defer { try? file.close() }
    var received = ReceivedPrefix()
    try await complete(&received, of: file, at: path)
  }

  /// Brings what the file has not yet.
  private func complete(_ received: inout ReceivedPrefix, of file: FileDescriptor, at path: FilePath) async throws {
    if received.digest == expected { return }
    try await mirrors.firstGood { root in
      // What came from elsewhere may be wrong, or this server may not be able to go on with it.
      if received.byteCount > 0, try await receive(from: root, into: file, path, &received) { return }
      received = ReceivedPrefix()
      do { try file.resize(to: 0) } catch {
        throw RepositoryError.system(operation: "truncate", path: path, error as? Errno ?? .ioError)
      }
      guard try await receive(from: root, into: file, path, &received) else {
        let got = received.digest
        received = ReceivedPrefix()
        throw RepositoryError.mismatch(subject: subject, url: url(root), expected: expected, got: got)
      }
    }
  }

  /// Whether the file is the right one in the end.
  private func receive(
    from root: String, into file: FileDescriptor, _ path: FilePath, _ received: inout ReceivedPrefix
  ) async throws -> Bool {
    var request = TransferRequest(url: url(root), maximumByteCount: expected.byteCount)
    request.allowsEncoding = allowsEncoding
    if received.byteCount > 0 { request = .init(url: request.url, range: received.byteCount..<expected.byteCount) }
    do {
      try await transport.receive(request, into: file, path: path, &received)
    } catch RepositoryError.transferFailed(let url, let failure) where request.range != nil {
      switch failure {
      // It may have the whole file.
      case .rangeUnavailable, .malformed: return false
      default: throw RepositoryError.transferFailed(url: url, failure)
      }
    }
    return received.digest == expected
  }
}

extension Error {
  /// Whether it is this machine that failed, such as its disk.
  fileprivate var isOfThisMachine: Bool {
    if let error = self as? RepositoryError, case .system = error { true } else { false }
  }
}
