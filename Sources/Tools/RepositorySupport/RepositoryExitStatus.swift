// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import DistriRepo
import ToolSupport

extension RepositoryError: ExitStatusProviding {
  /// The status with which a tool ends.
  public var exitStatus: ExitCode {
    switch self {
    case .notFound, .unresolved: ExitStatus.notFound
    case .transferFailed, .declaration, .units: ExitStatus.unavailable
    case .tooLarge, .mismatch, .unverifiable, .untrusted, .unsigned: ExitStatus.badData
    case .invalidURL, .signing: ExitStatus.usage
    case .system(_, _, let errno): ExitStatus.of(errno: errno)
    }
  }
}
