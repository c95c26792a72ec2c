// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

/// Why the machine cannot start: a sentence for the person at the console, and what to look at.
struct BootFailure: Error, Equatable, CustomStringConvertible {
  /// What happened.
  let description: String
  /// Lines that help: what was found instead, what to try.
  let hints: [String]

  init(_ description: String, hints: [String] = []) {
    self.description = description
    self.hints = hints
  }
}
