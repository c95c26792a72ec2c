// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

/// What the person at the console reads.
enum Console {
  /// One line, marked as ours: the kernel and the programs write there, too.
  static func say(_ text: String) {
    System.write(Array("distri-init: \(text)\n".utf8), to: 2)
  }

  /// A failure with what to look at.
  static func explain(_ failure: BootFailure) {
    say("cannot start: \(failure)")
    for hint in failure.hints { say("  \(hint)") }
  }
}
