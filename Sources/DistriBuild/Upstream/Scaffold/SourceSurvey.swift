// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriArchive
import DistriStore
import SystemPackage

/// What lies in an archive, and the contents of a few of its files.
struct SourceSurvey: Sendable {
  /// Names at the top, behind what wraps all.
  private(set) var topNames: Set<String> = []
  /// Whether there is something that a C compiler compiles.
  private(set) var hasCode = false
  /// Contents, by path.
  private(set) var files: [String: [UInt8]] = [:]

  private static let endingsOfCode = [".c", ".cc", ".cpp", ".xs"]

  /// Bytes that are kept altogether.
  private static let maximumByteCount = 64 << 20

  /// - Parameters:
  ///   - wrapping: how many components wrap all.
  ///   - isWanted: whether a file's contents are kept; larger ones than a file of metadata are not.
  /// - Throws: ``StoreError/invalidArchive(_:entry:reason:)``.
  init(_ archive: FilePath, wrapping: Int = 1, keeping isWanted: ([String]) -> Bool) throws {
    var tree = try ArchiveTree(path: archive, strippingComponents: wrapping)
    var total = 0
    while let entry = try tree.next() {
      let components = entry.path.components.map(\.description)
      if components.count == 1 { topNames.insert(components[0]) }
      if let name = components.last, Self.endingsOfCode.contains(where: name.hasSuffix) { hasCode = true }
      guard case .regular(let byteCount) = entry.kind, byteCount <= UpstreamLimits.metadata, isWanted(components) else { continue }
      total += Int(byteCount)
      guard total <= Self.maximumByteCount else { break }
      files[components.joined(separator: "/")] = try tree.readContents(limit: UpstreamLimits.metadata)
    }
  }

  /// A file's text; empty where there is none.
  func text(_ path: String) -> String { files[path].map { String(decoding: $0, as: UTF8.self) } ?? "" }
}
