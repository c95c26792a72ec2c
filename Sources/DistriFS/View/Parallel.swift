// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import Dispatch

/// Work of the start on all processors.
enum Parallel {
  /// Calls the body for each element, in any order, and returns when all are done.
  static func forEach<Element: Sendable>(_ elements: [Element], _ body: @Sendable (Element) -> Void) {
    if elements.count < 2 { return elements.forEach(body) }
    DispatchQueue.concurrentPerform(iterations: elements.count) { body(elements[$0]) }
  }
}
