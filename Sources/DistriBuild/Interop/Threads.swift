// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import Glibc

/// Runs a body that may block or compute for long on a thread of its own, so that the cooperative pool stays free.
package func onThread<Result: Sendable>(_ body: @escaping @Sendable () throws -> Result) async throws -> Result {
  try await withCheckedThrowingContinuation { continuation in
    let work = unsafe Unmanaged.passRetained(Work { continuation.resume(with: Swift.Result(catching: body)) })
    var thread = pthread_t()
    let status = unsafe pthread_create(
      &thread, nil,
      { argument in
        if let argument = unsafe argument { unsafe Unmanaged<Work>.fromOpaque(argument).takeRetainedValue().run() }
        return nil
      }, work.toOpaque())
    if status == 0 {
      pthread_detach(thread)
    } else {
      // No thread to be had: better late than never.
      unsafe work.takeRetainedValue().run()
    }
  }
}

private final class Work: Sendable {
  let run: @Sendable () -> Void
  init(_ run: @escaping @Sendable () -> Void) { self.run = run }
}

/// Maps items on at most `width` threads at once; the results keep the items' order.
///
/// - Throws: the first error; items not yet started are then left alone.
func onThreads<Item: Sendable, Result: Sendable>(
  _ items: [Item], width: Int, _ body: @escaping @Sendable (Item) throws -> Result
) async throws -> [Result] {
  try await withThrowingTaskGroup(of: (Int, Result).self) { group in
    var results: [Result?] = Array(repeating: nil, count: items.count)
    var next = 0
    func start() {
      let index = next, item = items[next]
      next += 1
      group.addTask { (index, try await onThread { try body(item) }) }
    }
    while next < min(width, items.count) { start() }
    while let (index, result) = try await group.next() {
      results[index] = result
      if next < items.count { start() }
    }
    return results.compactMap { $0 }
  }
}

/// How many processors this process may use, at least 1.
var processorCount: Int { max(1, Int(sysconf(Int32(_SC_NPROCESSORS_ONLN)))) }
