// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import CSupervisor
import Glibc

/// The service manager that has started us, if it wants to be told how we are: `$NOTIFY_SOCKET`, as systemd has it.
package struct ServiceManager {
  private let socket: String?

  /// Takes the address out of the environment: children are none of its business.
  package init() {
    socket = getenv("NOTIFY_SOCKET").map { String(cString: $0) }.flatMap { $0.hasPrefix("/") || $0.hasPrefix("@") ? $0 : nil }
    unsetenv("NOTIFY_SOCKET")
  }

  /// It is a wish: a manager that is gone is none of our errors.
  package func notify(_ lines: String...) {
    if let socket { _ = csupervisor_notify(socket, lines.joined(separator: "\n")) }
  }
}
