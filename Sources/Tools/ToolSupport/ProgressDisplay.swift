// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import FoundationEssentials
import Glibc
import Synchronization

/// Shows on a terminal how far long work has come: one line that is redrawn in place. Elsewhere it is silent.
public final class ProgressDisplay: Sendable {
  private struct State {
    var title: String
    var completed: UInt64 = 0
    var total: UInt64
    var detail = ""
    var lastDrawn: ContinuousClock.Instant?
    var isShown = false
  }

  /// What is counted.
  public enum Unit: Sendable {
    /// Bytes, shown as MB and MB/s.
    case bytes
    /// Things, shown as they are.
    case items
  }

  private let terminal: Terminal
  private let unit: Unit
  private let start = ContinuousClock.now
  private let state: Mutex<State>

  /// Makes a display; `total` may be 0 for «unknown».
  public init(_ title: String, total: UInt64, unit: Unit = .items, on terminal: Terminal = .standardError) {
    self.terminal = terminal
    self.unit = unit
    state = Mutex(State(title: title, total: total))
  }

  /// Adds to what is done, and says what is being worked on.
  public func advance(by count: UInt64 = 1, detail: String? = nil) {
    update {
      $0.completed &+= count
      if let detail { $0.detail = detail }
    }
  }

  /// Sets how much there is to do in all.
  public func setTotal(_ total: UInt64) { update { $0.total = total } }

  /// Prints a line above the progress line; also where there is no terminal.
  public func note(_ line: String) {
    state.withLock { state in
      terminal.write((state.isShown ? "\r\u{1b}[K" : "") + line + "\n")
      state.isShown = false
      state.lastDrawn = nil
    }
  }

  /// Removes the line.
  public func finish() {
    state.withLock { state in
      if state.isShown { terminal.write("\r\u{1b}[K") }
      state.isShown = false
    }
  }

  private func update(_ change: (inout State) -> Void) {
    state.withLock { state in
      change(&state)
      guard terminal.isInteractive else { return }
      let now = ContinuousClock.now
      // Ten times a second is as often as a person can read.
      if let last = state.lastDrawn, now - last < .milliseconds(100) { return }
      state.lastDrawn = now
      state.isShown = true
      terminal.write("\r\u{1b}[K" + line(of: state, after: now - start))
    }
  }

  private func line(of state: State, after elapsed: Duration) -> String {
    let seconds = Double(elapsed.components.seconds) + Double(elapsed.components.attoseconds) * 1e-18
    var text = state.title + " "
    if state.total > 0 {
      let cells = 24
      let done = min(cells, Int(Double(state.completed) / Double(state.total) * Double(cells)))
      text += "[" + String(repeating: "=", count: done) + String(repeating: " ", count: cells - done) + "] "
    }
    switch unit {
    case .items:
      text += state.total > 0 ? "\(state.completed)/\(state.total)" : "\(state.completed)"
    case .bytes:
      text += Self.megabytes(state.completed) + (state.total > 0 ? " of \(Self.megabytes(state.total))" : "")
      if seconds > 0.5 { text += ", \(Self.megabytes(UInt64(Double(state.completed) / seconds)))/s" }
    }
    if !state.detail.isEmpty { text += " " + state.detail }
    return String(text.prefix(max(20, terminal.width - 1)))
  }

  /// Decimal megabytes with one digit, such as `12.3 MB`.
  public static func megabytes(_ bytes: UInt64) -> String {
    let tenths = (bytes + 50_000) / 100_000
    return "\(tenths / 10).\(tenths % 10) MB"
  }
}
