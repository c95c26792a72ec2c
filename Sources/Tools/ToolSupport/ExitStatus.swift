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

  /// The one place that turns an error into an exit status.
  public static func of(_ error: any Error) -> ExitCode {
    switch error {
    case let error as any ExitStatusProviding: error.exitStatus
    case let errno as Errno: of(errno: errno)
    case is CancellationError: ExitCode(130)
    default: software
    }
  }

  /// The status for an error of the operating system.
  public static func of(errno: Errno) -> ExitCode {
    switch errno {
    case .permissionDenied, .notPermitted, .readOnlyFileSystem: permission
    case .noSuchFileOrDirectory: notFound
    default: io
    }
  }
}

/// An error that knows its exit status. The libraries' errors conform in ToolSupport or in the tool that uses the library.
public protocol ExitStatusProviding: Error {
  /// The status with which the tool ends.
  var exitStatus: ExitCode { get }
}

extension StoreError: ExitStatusProviding {
  /// The status with which a tool ends.
  public var exitStatus: ExitCode {
    switch self {
    case .invalidName: ExitStatus.usage
    case .notFound, .noGeneration: ExitStatus.notFound
    case .locked: ExitStatus.tryAgain
    case .unavailable: ExitStatus.unavailable
    case .system(_, _, let errno): ExitStatus.of(errno: errno)
    default: ExitStatus.badData
    }
  }
}
