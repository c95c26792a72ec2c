// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

/// How a file system is mounted. It is always read-only, and the kernel checks permissions.
public struct MountOptions: Sendable, Hashable {
  /// Whether other users than the one who mounts see it. For an ordinary user, `/etc/fuse.conf` has to allow that.
  public var allowsOtherUsers = true
  /// Whether setuid bits and device nodes count. Needs root; the default is no.
  public var honorsPrivileges = false
  /// What `/proc/self/mountinfo` shows as the source, by custom the store's path.
  public var source = "distri"
  /// How far the kernel reads ahead, in KiB. Needs root; without it the kernel's 128 stay.
  public var readAheadKilobytes = 1024
  /// How many threads answer at most. They are started when all others are busy.
  public var maximumThreadCount = 8

  /// Makes the default options.
  public init() {}

  /// The third field of a mount's type, `fuse.distri`: how we recognise a mount of our own.
  static let subtype = "distri"
}
