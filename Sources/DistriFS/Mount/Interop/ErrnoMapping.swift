// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore
import SystemPackage

extension Errno {
  /// The one place that turns an error of a store or an image into what a system call on the mount returns.
  init(answering error: StoreError) {
    self =
      switch error {
      case .notFound, .noGeneration: .noSuchFileOrDirectory
      case .invalidName(_, .tooLong): .fileNameTooLong
      case .invalidName: .noSuchFileOrDirectory
      case .locked: .resourceTemporarilyUnavailable
      case .system(_, _, let errno) where Self.passedOn.contains(errno): errno
      case .immutable, .invalidMetadata, .damagedImage, .invalidArchive, .unavailable, .system: .ioError
      }
  }

  /// Errors that say something about the question or pass by themselves; all others are a medium that fails.
  private static let passedOn: Set<Errno> = [
    .notDirectory, .isDirectory, .invalidArgument, .noMemory, .tooManyOpenFiles, .tooManyOpenFilesInSystem,
  ]

  /// What a request gets whose wait for ``FileSystemFailure/notReady(_:)`` failed.
  init(answeringWait error: any Error) {
    self =
      switch error {
      case let errno as Errno: errno
      case let error as StoreError: Errno(answering: error)
      case is CancellationError: .interrupted
      default: .ioError
      }
  }
}
