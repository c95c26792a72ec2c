// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import Foundation
import SystemPackage

/// A folder of a test's own, gone when the value is.
public struct TemporaryDirectory: ~Copyable {
  /// Where it is.
  public let path: FilePath

  /// Makes the folder below `TMPDIR`.
  public init() throws {
    let base = ProcessInfo.processInfo.environment["TMPDIR"] ?? "/tmp"
    path = FilePath(base).appending("distri-test-\(UUID().uuidString)")
    try FileManager.default.createDirectory(atPath: path.string, withIntermediateDirectories: true)
  }

  deinit { try? FileManager.default.removeItem(atPath: path.string) }
}
