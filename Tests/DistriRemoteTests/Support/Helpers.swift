// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

#if RemoteExecution

import DistriStore
import GRPCCore
import SystemPackage

@testable import DistriBuild
@testable import DistriRemote

/// Bytes that look random and are the same in each run.
func noise(_ count: Int, seed: UInt64 = 1) -> [UInt8] {
  var state = seed &* 0x9e37_79b9_7f4a_7c15 | 1
  var words = [UInt64](repeating: 0, count: count / 8 + 1)
  for index in words.indices {
    state ^= state << 13
    state ^= state >> 7
    state ^= state << 17
    words[index] = state
  }
  return words.withUnsafeBytes { Array($0.prefix(count)) }
}

extension Action {
  /// An action whose command makes `out/file` of `in/file`, which a test has.
  static func sample(
    _ contents: [UInt8] = Array("input\n".utf8), files: [ActionFile] = [],
    arguments: [String] = ["tool/copy", "in/file", "out/file"],
    platform: [String: String] = [:]
  ) throws -> Action {
    let package = try PackageID(parsing: "sample-amd64-1-1")
    let input = ActionFile(try TreePath(parsing: "in/file"), bytes: contents)
    return Action(
      packages: [package], dependencies: [],
      order: ActionOrder(definition: "sample", architecture: .amd64, inputDigest: "", choices: [:]),
      inputs: try ActionInputs([input] + files, of: package), arguments: arguments, environment: ["LC_ALL": "C"],
      platform: platform,
      outputs: [ActionOutput(path: try TreePath(parsing: "out/file"), role: .metadata(package))])
  }
}

extension REAPI_ActionResult {
  /// A result with the sample's output.
  static func sample(_ digest: ContentDigest, path: String = "out/file") -> Self {
    .with { $0.outputFiles = [.with { ($0.path, $0.digest) = (path, REAPI_Digest(digest)) }] }
  }
}

extension Google_Longrunning_Operation {
  static func stage(_ stage: REAPI_ExecutionStage.Value, name: String = "operations/1") throws -> Self {
    let metadata = REAPI_ExecuteOperationMetadata.with { $0.stage = stage }
    return .with { operation in
      operation.name = name
      operation.metadata = (try? .init(message: metadata)) ?? .init()
    }
  }

  static func done(_ response: REAPI_ExecuteResponse, name: String = "operations/1") -> Self {
    .with { operation in
      operation.name = name
      operation.done = true
      operation.response = (try? .init(message: response)) ?? .init()
    }
  }
}

#endif
