// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore
import SystemPackage

/// Room for builds that a worker offers to its actions, where what it stages input roots with is slow to write to: directories with numbers, each of one
/// action at a time. What a killed action has left, the next one removes.
public final class ActionRoom: Sendable {
  /// An empty directory. It is removed with this object.
  public let work: FilePath
  private let lock: FileDescriptor

  /// Where a worker offers room, by there being a directory.
  public static let place: FilePath = "/var/tmp/distri-actions"

  /// More actions than any machine runs at once.
  private static let countLimit = 4096

  /// Takes a directory that no other action has; nil where none is offered.
  public init?(in place: FilePath = place) {
    guard place.exists else { return nil }
    for number in 0..<Self.countLimit {
      let folder = place.appending("\(number)")
      guard (try? folder.makeDirectories()) != nil else { return nil }
      guard let descriptor = try? FileDescriptor.open(folder, .readOnly, options: [.directory, .noFollow, .closeOnExec]) else {
        continue
      }
      // The kernel gives the lock up with the action. Another user's directory cannot be emptied.
      let work = folder.appending("work")
      if (try? descriptor.lockExclusively()) == true, (try? work.removeAll()) != nil, (try? work.makeDirectories()) != nil {
        (self.work, lock) = (work, descriptor)
        return
      }
      descriptor.unlock()
      try? descriptor.close()
    }
    return nil
  }

  deinit {
    try? work.removeAll()
    lock.unlock()
    try? lock.close()
  }
}
