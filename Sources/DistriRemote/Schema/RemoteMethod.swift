// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

#if RemoteExecution

import GRPCCore
import SwiftProtobuf

/// A method of a server, with what it takes and gives: once, or as a stream.
struct RemoteMethod<Request: Message, Response: Message>: Sendable {
  let descriptor: MethodDescriptor

  fileprivate init(_ service: String, _ name: String) {
    descriptor = MethodDescriptor(fullyQualifiedService: service, method: name)
  }
}

/// What of the Remote Execution API, of `google.bytestream` and of `google.longrunning` is used.
enum RemoteMethods {
  private static let reapi = "build.bazel.remote.execution.v2"
  private static let bytes = "google.bytestream.ByteStream"

  static let getCapabilities = RemoteMethod<REAPI_GetCapabilitiesRequest, REAPI_ServerCapabilities>(
    "\(reapi).Capabilities", "GetCapabilities")

  static let findMissingBlobs = RemoteMethod<REAPI_FindMissingBlobsRequest, REAPI_FindMissingBlobsResponse>(
    "\(reapi).ContentAddressableStorage", "FindMissingBlobs")
  static let batchUpdateBlobs = RemoteMethod<REAPI_BatchUpdateBlobsRequest, REAPI_BatchUpdateBlobsResponse>(
    "\(reapi).ContentAddressableStorage", "BatchUpdateBlobs")
  static let batchReadBlobs = RemoteMethod<REAPI_BatchReadBlobsRequest, REAPI_BatchReadBlobsResponse>(
    "\(reapi).ContentAddressableStorage", "BatchReadBlobs")

  static let getActionResult = RemoteMethod<REAPI_GetActionResultRequest, REAPI_ActionResult>(
    "\(reapi).ActionCache", "GetActionResult")
  static let updateActionResult = RemoteMethod<REAPI_UpdateActionResultRequest, REAPI_ActionResult>(
    "\(reapi).ActionCache", "UpdateActionResult")

  static let execute = RemoteMethod<REAPI_ExecuteRequest, Google_Longrunning_Operation>("\(reapi).Execution", "Execute")
  static let waitExecution = RemoteMethod<REAPI_WaitExecutionRequest, Google_Longrunning_Operation>(
    "\(reapi).Execution", "WaitExecution")
  static let cancelOperation = RemoteMethod<Google_Longrunning_CancelOperationRequest, Google_Protobuf_Empty>(
    "google.longrunning.Operations", "CancelOperation")

  static let read = RemoteMethod<Google_Bytestream_ReadRequest, Google_Bytestream_ReadResponse>(bytes, "Read")
  static let write = RemoteMethod<Google_Bytestream_WriteRequest, Google_Bytestream_WriteResponse>(bytes, "Write")
  static let queryWriteStatus = RemoteMethod<
    Google_Bytestream_QueryWriteStatusRequest, Google_Bytestream_QueryWriteStatusResponse
  >(
    bytes, "QueryWriteStatus")
}

#endif
