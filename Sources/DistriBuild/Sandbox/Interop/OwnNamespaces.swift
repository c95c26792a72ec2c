// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import CSandbox
import SystemPackage

/// Namespaces for the program itself.
public enum OwnNamespaces {
  /// Makes the program user 0 of a user namespace of its own, with mounts of its own: from then on an ordinary user can mount, without
  /// helpers, and what is mounted goes with the program.
  ///
  /// Only while the process has one thread. After an error the program had better end.
  ///
  /// - Throws: ``BuildError/sandbox(operation:_:)``.
  public static func enter() throws(BuildError) {
    var failure = csandbox_report()
    guard unsafe csandbox_enter_namespaces(&failure) != 0 else { return }
    let stage = SandboxStage(rawValue: failure.stage)
    throw .sandbox(operation: stage?.description ?? "stage \(failure.stage)", Errno(rawValue: failure.value))
  }
}
