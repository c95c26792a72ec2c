// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore
import SystemPackage

/// The right to work in a package's directory: one build at a time, of whatever program.
///
/// It is a `flock` on the directory itself, which the kernel gives up with the builder: one that is killed blocks nobody.
final class WorkspaceLock: Sendable {
  private let descriptor: FileDescriptor

  /// Takes the lock; waits a moment, since the sandbox of a build that was killed may be about to end.
  ///
  /// - Throws: ``BuildError/workspaceInUse(_:)``; ``BuildError/system(operation:path:_:)``.
  init(_ directory: FilePath) async throws {
    do {
      descriptor = try FileDescriptor.open(directory, .readOnly, options: [.directory, .closeOnExec])
    } catch {
      throw BuildError.system(operation: "open", path: directory, error as? Errno ?? .ioError)
    }
    do {
      var pause = Duration.milliseconds(2)
      while !(try descriptor.lockExclusively()) {
        guard pause < .seconds(1) else { throw BuildError.workspaceInUse(directory) }
        try await Task.sleep(for: pause)
        pause *= 2
      }
    } catch {
      try? descriptor.close()
      throw error is Errno ? BuildError.system(operation: "lock", path: directory, error as? Errno ?? .ioError) : error
    }
  }

  deinit {
    descriptor.unlock()
    try? descriptor.close()
  }
}
