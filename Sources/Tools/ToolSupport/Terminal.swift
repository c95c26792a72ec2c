// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import FoundationEssentials
import Glibc
import Synchronization
import SystemPackage

/// Standard output or standard error: whole writes, and whether a person is watching.
public final class Terminal: Sendable {
  /// Data: a record a line.
  public static let standardOutput = Terminal(.standardOutput)
  /// Words for people.
  public static let standardError = Terminal(.standardError)

  private let descriptor: FileDescriptor
  private let lock = Mutex(())

  /// Whether this is a terminal that understands cursor movements.
  public let isInteractive: Bool
  /// Whether colours are wanted: interactive and `NO_COLOR` is unset or empty.
  public let hasColor: Bool

  private init(_ descriptor: FileDescriptor) {
    self.descriptor = descriptor
    let environment = ProcessInfo.processInfo.environment
    isInteractive = isatty(descriptor.rawValue) == 1 && environment["TERM"] != "dumb"
    hasColor = isInteractive && (environment["NO_COLOR"] ?? "").isEmpty
  }

  /// Columns of the terminal, 80 where unknown.
  public var width: Int {
    var size = winsize()
    return ioctl(descriptor.rawValue, UInt(TIOCGWINSZ), &size) == 0 && size.ws_col > 0 ? Int(size.ws_col) : 80
  }

  /// Writes all of the text. A reader that is gone ends the process quietly: nobody listens.
  public func write(_ text: String) {
    lock.withLock { _ in
      do {
        try descriptor.writeAll(text.utf8)
      } catch Errno.brokenPipe {
        exit(0)
      } catch {
        // Nothing is left to say it on.
      }
    }
  }
}
