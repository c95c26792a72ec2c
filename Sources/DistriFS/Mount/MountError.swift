// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import SystemPackage

/// What can go wrong with a mount. The payload is the subject; the sentence is made in ``description``.
public enum MountError: Error, Sendable, Equatable {
  /// The mount point is missing or no directory.
  case invalidMountPoint(FilePath, Errno)
  /// Something is mounted there already.
  case busy(FilePath)
  /// Nothing of ours is mounted there.
  case notMounted(FilePath)
  /// libfuse or the kernel refused to mount; libfuse's reason.
  case refused(FilePath, reason: String)
  /// A system call failed.
  case system(operation: String, path: FilePath, Errno)
}

extension MountError: CustomStringConvertible {
  /// A sentence for people that says what to do where that is known.
  public var description: String {
    switch self {
    case .invalidMountPoint(let path, .noSuchFileOrDirectory): "\(path) does not exist; make the directory first"
    case .invalidMountPoint(let path, let errno): "\(path) cannot be a mount point: \(errno)"
    case .busy(let path): "something is mounted on \(path) already; «distri-fuse unmount \(path)» if it is an old view"
    case .notMounted(let path): "no view is mounted on \(path)"
    case .refused(let path, let reason): "nothing can be mounted on \(path): \(reason.isEmpty ? "is there a /dev/fuse?" : reason)"
    case .system(let operation, let path, let errno): "\(operation) \(path): \(errno)"
    }
  }
}
