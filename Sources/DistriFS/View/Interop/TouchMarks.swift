// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import Synchronization

/// Marks that are set once and read by many threads, such as «this block has been checked».
///
/// `@unchecked Sendable`: the memory holds atomics only.
@safe final class TouchMarks: @unchecked Sendable {
  private let marks: UnsafeMutablePointer<Atomic<Bool>>
  private let count: Int

  init(count: Int) {
    self.count = count
    unsafe marks = .allocate(capacity: max(count, 1))
    for index in 0..<count { unsafe (marks + index).initialize(to: Atomic(false)) }
  }

  deinit {
    unsafe marks.deinitialize(count: count)
    unsafe marks.deallocate()
  }

  func isMarked(_ index: Int) -> Bool { unsafe index < count && marks[index].load(ordering: .acquiring) }

  func mark(_ index: Int) {
    if index < count { unsafe marks[index].store(true, ordering: .releasing) }
  }
}
