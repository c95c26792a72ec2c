// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import Glibc
import SystemPackage

/// System calls on paths that swift-system has not. Each throws ``RepositoryError/system(operation:path:_:)``.
enum Files {
  static func rename(_ from: FilePath, to path: FilePath) throws(RepositoryError) {
    try check("rename", path) { unsafe from.withPlatformString { from in unsafe path.withPlatformString { unsafe Glibc.rename(from, $0) } } }
  }

  static func remove(_ path: FilePath) throws(RepositoryError) {
    try check("remove", path) { unsafe path.withPlatformString { unsafe unlink($0) } }
  }

  private static func check(_ operation: String, _ path: FilePath, _ call: () -> Int32) throws(RepositoryError) {
    guard call() == 0 else { throw .system(operation: operation, path: path, Errno(rawValue: errno)) }
  }
}
