// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import CLinux
import Glibc
import SystemPackage

/// Protects the process from images that shrink, or whose disk fails, while they are mapped: reading such a page is `SIGBUS`, which ends a process
/// that does not handle it. With the guard, who reads the image gets an error, and all else goes on.
///
/// It is for a program that owns its process, such as a daemon: it takes the process' `SIGBUS` over. Faults outside of our mappings go to the
/// handler that was there before.
///
/// ```swift
/// try FaultGuard.install()
/// let image = try PackageImage(path: "/roimg/nano-amd64-7.2-3.squashfs")
/// ```
public enum FaultGuard {
  /// Protects what is mapped from now on. A second call does nothing.
  ///
  /// - Throws: what `sigaction` says.
  public static func install() throws(Errno) {
    guard clinux_guard_install() == 0 else { throw Errno(rawValue: errno) }
  }
}
