// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import SystemPackage

/// Holds open files for the process that serves the mount after this one, as systemd's file-descriptor store does.
///
/// A supervisor is one; a mount that lives and dies with its process needs none. All methods may be called from any thread, and none of them
/// waits for the other side.
public protocol DescriptorKeeper: Sendable {
  /// What the process before has left, by name. The descriptors belong to the keeper, which leaves them open.
  var inherited: [String: FileDescriptor] { get }
  /// Keeps a duplicate of the descriptor under the name, in place of what was kept there before.
  func keep(_ descriptor: FileDescriptor, as name: String)
  /// Lets go of what is kept under the name.
  func release(_ name: String)
}
