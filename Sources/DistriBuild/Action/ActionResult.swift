// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore
import SystemPackage

/// What an action has made, by digest; the bytes may be anywhere.
public struct ActionResult: Sendable, Hashable {
  /// By the path of the action's ``Action/outputs``.
  public var files: [TreePath: ContentDigest]

  /// Makes a result.
  public init(files: [TreePath: ContentDigest]) { self.files = files }
}

/// Brings what actions have made from where it lies.
public protocol ContentFetcher: Sendable {
  /// Makes a file of these bytes at a path where nothing is. Whoever calls looks at size and digest once more.
  func fetch(_ digest: ContentDigest, to path: FilePath) async throws
}

extension ActionResult {
  /// What a build on this machine has made, as if the action had been executed: for others to take.
  ///
  /// - Parameters:
  ///   - packages: the store that the packages are in.
  ///   - work: where the build's log is; its bills of materials are written beside it.
  /// - Returns: the result, and where its files are.
  /// - Throws: ``StoreError/notFound(_:)``; ``BuildError/invalidPackage(_:pass:reason:)`` for a package of the store that was made of other
  ///   inputs; ``BuildError/system(operation:path:_:)``.
  public static func local(
    of action: Action, in packages: ActionPackages, work: FilePath
  ) async throws -> (result: ActionResult, contents: [TreePath: FilePath]) {
    var contents: [TreePath: FilePath] = [:]
    for output in action.outputs {
      switch output.role {
      case .image(let package, let section):
        let store = try LocalStore(path: packages.store.path, section: section)
        if !output.isRequired, !(try store.contains(package)) { continue }
        contents[output.path] = store.path.appending(package.imageFileName)
      case .metadata(let package):
        guard try packages.store.metadata(of: package).inputDigest == action.order.inputDigest else {
          throw BuildError.invalidPackage(
            package.description, pass: "result of the action", reason: "the package of the store was made of other inputs")
        }
        contents[output.path] = packages.store.path.appending(package.metadataFileName)
      case .billOfMaterials(let package):
        let path = work.appending(action.packages[0].name).appending("\(package).spdx.json")
        try path.write(Array(try await BillOfMaterials(of: package, in: packages.store).json.utf8))
        contents[output.path] = path
      case .log: contents[output.path] = Workspace.log(of: action.packages[0], below: work)
      }
    }
    let files = try await onThread { [contents] in try contents.mapValues { try packages.digests.digest(of: $0) } }
    return (ActionResult(files: files), contents)
  }
}
