// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import DistriStore
import SystemPackage

/// The exit statuses of all tools, as in sysexits.h.
public enum ExitStatus {
  /// Wrong flags or arguments.
  public static let usage = ExitCode(64)
  /// Input that does not parse or verify.
  public static let badData = ExitCode(65)
  /// A package or file that is not there.
  public static let notFound = ExitCode(66)
  /// A server or device that does not answer.
  public static let unavailable = ExitCode(69)
  /// A bug of ours.
  public static let software = ExitCode(70)
  /// An error of the operating system.
  public static let io = ExitCode(74)
  /// A lock that somebody holds.
  public static let tryAgain = ExitCode(75)
  /// A missing permission.
  public static let permission = ExitCode(77)

  /// The status for an error of the store.
  public static func status(for error: StoreError) -> ExitCode {
    switch error {
    case .invalidName: usage
    case .invalidMetadata, .damagedImage, .invalidArchive: badData
    case .notFound: notFound
    case .locked: tryAgain
    case .system(_, _, let errno): status(for: errno)
    }
  }

  /// The status for an error of the operating system.
  public static func status(for errno: Errno) -> ExitCode {
    switch errno {
    case .permissionDenied, .notPermitted, .readOnlyFileSystem: permission
    case .noSuchFileOrDirectory: notFound
    default: io
    }
  }
}
