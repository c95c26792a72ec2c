// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

#if RemoteExecution

import DistriBuild
import GRPCCore

// What a server's answers about contents must be. Each of them may be anything at all.

extension REAPI_FindMissingBlobsResponse {
  /// What is missing of what was asked for.
  ///
  /// - Throws: ``RemoteError/invalidAnswer(_:call:reason:)``.
  func missing(of asked: Set<ContentDigest>, from endpoint: RemoteEndpoint) throws(RemoteError) -> Set<ContentDigest> {
    var result: Set<ContentDigest> = []
    for digest in missingBlobDigests {
      guard let digest = digest.contentDigest, asked.contains(digest) else {
        throw .invalidAnswer(endpoint, call: "FindMissingBlobs", reason: "it names what was not asked for")
      }
      result.insert(digest)
    }
    return result
  }
}

extension REAPI_BatchUpdateBlobsResponse {
  /// Whether the server has taken all that it was sent.
  ///
  /// - Throws: ``RemoteError/invalidAnswer(_:call:reason:)``, ``RemoteError/changedFile(_:)``, `CallError` of what it refused.
  func check(_ blobs: [Blob], from endpoint: RemoteEndpoint) throws {
    let call = RemoteMethods.batchUpdateBlobs.descriptor.method
    var rest = Dictionary(blobs.map { ($0.digest, $0) }) { first, _ in first }
    for response in responses {
      guard let digest = response.digest.contentDigest, let blob = rest.removeValue(forKey: digest) else {
        throw RemoteError.invalidAnswer(endpoint, call: call, reason: "it names what was not sent")
      }
      guard let code = response.status.rpcCode else { continue }
      if code == .invalidArgument, case .file(let path) = blob.content { throw RemoteError.changedFile(path) }
      throw CallError(endpoint: endpoint, call: call, RPCError(code: code, message: response.status.message))
    }
    if let digest = rest.keys.first {
      throw RemoteError.invalidAnswer(endpoint, call: call, reason: "it says nothing of \(digest)")
    }
  }
}

extension REAPI_BatchReadBlobsResponse {
  /// The contents that were asked for, alone.
  ///
  /// - Throws: ``RemoteError/missingContent(_:_:)``, ``RemoteError/invalidAnswer(_:call:reason:)``, `CallError` of what it refused.
  func contents(of digest: ContentDigest, from endpoint: RemoteEndpoint) throws -> [UInt8] {
    let call = RemoteMethods.batchReadBlobs.descriptor.method
    guard responses.count == 1, let response = responses.first, response.digest.contentDigest == digest else {
      throw RemoteError.invalidAnswer(endpoint, call: call, reason: "it is not about \(digest)")
    }
    switch response.status.rpcCode {
    case nil: break
    case .notFound?: throw RemoteError.missingContent(endpoint, digest)
    case let code?: throw CallError(endpoint: endpoint, call: call, RPCError(code: code, message: response.status.message))
    }
    let bytes = [UInt8](response.data)
    guard response.compressor == .identity, ContentDigest(of: bytes) == digest else {
      throw RemoteError.invalidAnswer(endpoint, call: call, reason: "the bytes are not those of \(digest)")
    }
    return bytes
  }
}

extension Google_Rpc_Status {
  /// Nil for success.
  var rpcCode: RPCError.Code? {
    if code == 0 { return nil }
    return Status.Code(rawValue: Int(code)).flatMap { RPCError.Code($0) } ?? .unknown
  }
}

#endif
