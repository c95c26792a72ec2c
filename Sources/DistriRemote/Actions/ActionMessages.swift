// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

#if RemoteExecution

import DistriBuild
import DistriStore
import SwiftProtobuf

/// An action as servers have it: messages that name each other by digest. The same action gives the same bytes.
struct ActionMessages: Sendable {
  /// What names the action.
  let digest: ContentDigest
  /// All that the action is made of: the messages and the files, each once.
  let blobs: [ContentDigest: Blob]

  /// No tree is deeper, and no server need take one that is.
  private static let depthLimit = 128

  /// - Throws: ``RemoteError/invalidAction(_:reason:)``.
  init(_ action: Action) throws(RemoteError) {
    var collector = Collector(subject: action.packages.first)
    let root = try collector.addDirectory(action.inputs.files[...], depth: 0)
    let platform = REAPI_Platform.with {
      $0.properties = action.platform.sorted { $0.key < $1.key }.map { name, value in
        .with { ($0.name, $0.value) = (name, value) }
      }
    }
    let command = REAPI_Command.with {
      $0.arguments = action.arguments
      $0.environmentVariables = action.environment.sorted { $0.key < $1.key }.map { name, value in
        .with { ($0.name, $0.value) = (name, value) }
      }
      $0.outputPaths = action.outputs.map(\.path.description).sorted()
      // Older servers look here, newer ones at the action's.
      $0.platform = platform
    }
    let commandDigest = try collector.add(command)
    digest = try collector.add(
      REAPI_Action.with {
        $0.commandDigest = REAPI_Digest(commandDigest)
        $0.inputRootDigest = REAPI_Digest(root)
        $0.platform = platform
      })
    blobs = collector.blobs
  }

  private struct Collector {
    let subject: PackageID?
    private(set) var blobs: [ContentDigest: Blob] = [:]

    init(subject: PackageID?) { self.subject = subject }

    mutating func add(_ message: some Message) throws(RemoteError) -> ContentDigest {
      guard let bytes: [UInt8] = try? message.serializedBytes() else { throw refuse("it cannot be encoded") }
      let digest = ContentDigest(of: bytes)
      blobs[digest] = Blob(digest: digest, content: .bytes(bytes))
      return digest
    }

    /// Adds the files of a directory, which are sorted, and the directory.
    mutating func addDirectory(_ files: ArraySlice<ActionFile>, depth: Int) throws(RemoteError) -> ContentDigest {
      guard depth <= ActionMessages.depthLimit else {
        throw refuse("its directories are nested more than \(ActionMessages.depthLimit) deep")
      }
      var directory = REAPI_Directory()
      var rest = files
      while let file = rest.first {
        let component = file.path.components[depth]
        guard let name = String(validating: component.bytes, as: UTF8.self) else { throw refuse("\(file.path) is not UTF-8") }
        if file.path.components.count == depth + 1 {
          directory.files.append(
            .with {
              $0.name = name
              $0.digest = REAPI_Digest(file.digest)
              $0.isExecutable = file.isExecutable
            })
          blobs[file.digest] = Blob(digest: file.digest, content: file.content)
          rest = rest.dropFirst()
        } else {
          let end = rest.firstIndex { $0.path.components[depth] != component } ?? rest.endIndex
          let digest = try addDirectory(rest[rest.startIndex..<end], depth: depth + 1)
          directory.directories.append(
            .with {
              $0.name = name
              $0.digest = REAPI_Digest(digest)
            })
          rest = rest[end...]
        }
      }
      return try add(directory)
    }

    private func refuse(_ reason: String) -> RemoteError {
      .invalidAction(subject, reason: reason)
    }
  }
}

#endif
