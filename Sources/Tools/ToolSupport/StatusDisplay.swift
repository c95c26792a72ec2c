// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import Synchronization

/// Shows on a terminal what several workers do: a line each, redrawn in place below what scrolls. Elsewhere only ``note(_:)`` is heard.
public final class StatusDisplay: Sendable {
  private struct State {
    var lines: [String] = []
    var shownCount = 0
  }

  private let terminal: Terminal
  private let state = Mutex(State())

  /// Makes a display that shows nothing yet.
  public init(on terminal: Terminal = .standardError) { self.terminal = terminal }

  /// Whether somebody sees the lines.
  public var isLive: Bool { terminal.isInteractive }

  /// Shows these lines instead of those before.
  public func show(_ lines: [String]) {
    guard terminal.isInteractive else { return }
    state.withLock { state in
      state.lines = lines
      terminal.write(Self.erasure(state.shownCount) + drawn(lines))
      state.shownCount = lines.count
    }
  }

  /// Prints a line above; also where there is no terminal.
  public func note(_ line: String) {
    state.withLock { state in
      terminal.write(Self.erasure(state.shownCount) + line + "\n" + drawn(state.shownCount > 0 ? state.lines : []))
    }
  }

  /// Removes the lines.
  public func finish() { show([]) }

  private static func erasure(_ count: Int) -> String { count > 0 ? "\u{1b}[\(count)A\r\u{1b}[J" : "" }

  private func drawn(_ lines: [String]) -> String {
    // A line that wraps would be two.
    let width = max(20, terminal.width - 1)
    return lines.map { String($0.prefix(width)) + "\n" }.joined()
  }
}
