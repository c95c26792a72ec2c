// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriFS
import Glibc
import SystemPackage
import ViewSupervisor

/// The process that holds the view `/ro`: what `distri-fuse mount` is elsewhere, without all that a machine's own view does not need.
enum ViewDaemon {
  /// Serves the view until it is unmounted. Writes a byte to ``readiness`` when the view answers.
  static func run() -> Never {
    let ready = FileDescriptor(rawValue: readiness)
    do {
      // A reader that goes away is an error of that write.
      signal(SIGPIPE, SIG_IGN)
      let recipe = Recipe(store: FilePath(View.store))
      let manager = ServiceManager()
      let supervisor = try Supervisor(recipe: recipe, isDetached: true, manager: manager, end: end)
      var options = MountOptions()
      options.allowsOtherUsers = true
      options.honorsPrivileges = true
      options.readAheadKilobytes = 1024
      options.source = recipe.source
      try supervisor.start(at: FilePath(View.mountPoint), options: options)
      try supervisor.run {
        ProcessCalls.leaveDirectory()
        ProcessCalls.detach([.standardError])
        try ready.writeAll("r".utf8)
        try ready.close()
      }
      exit(0)
    } catch {
      end(error)
    }
  }

  /// The descriptor on which the first process waits.
  private static let readiness: Int32 = 3

  @Sendable private static func end(_ error: any Error) -> Never {
    Console.say("\(error)")
    exit(1)
  }
}
