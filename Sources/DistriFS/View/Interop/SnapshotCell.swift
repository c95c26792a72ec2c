// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import Glibc
import Synchronization

/// A value that many threads read without a lock while one replaces it now and then.
///
/// A reader announces, in a slot of its own, which value it is about to use, and looks whether that is still the current one; who replaces
/// the value waits until no slot announces the old one (M. Michael, «Hazard Pointers», 2004).
///
/// `@unchecked Sendable`: the pointers are only followed while they are announced; the slots are atomics.
@safe final class SnapshotCell<Value: AnyObject & Sendable>: @unchecked Sendable {
  private static var slotCount: Int { 64 }
  /// So many words lie between two slots that no two share a cache line.
  private static var stride: Int { 8 }
  /// In a slot that has been taken, before it announces a value.
  private static var taken: UInt { 1 }

  private let current: Atomic<UInt>
  private let slots: UnsafeMutablePointer<Atomic<UInt>>
  private let replacing = Mutex(())

  init(_ value: Value) {
    current = Atomic(unsafe UInt(bitPattern: Unmanaged.passRetained(value).toOpaque()))
    unsafe slots = .allocate(capacity: Self.slotCount * Self.stride)
    for index in 0..<(Self.slotCount * Self.stride) { unsafe (slots + index).initialize(to: Atomic(0)) }
  }

  deinit {
    unsafe slots.deinitialize(count: Self.slotCount * Self.stride)
    unsafe slots.deallocate()
    unsafe Self.reference(current.load(ordering: .acquiring))?.release()
  }

  private static func reference(_ bits: UInt) -> Unmanaged<Value>? {
    unsafe UnsafeRawPointer(bitPattern: bits).map { unsafe Unmanaged<Value>.fromOpaque($0) }
  }

  /// The value at this moment, retained.
  var value: Value { withValue { $0 } }

  /// Lends the value of this moment. The body must not replace it.
  func withValue<R, E: Error>(_ body: (Value) throws(E) -> R) throws(E) -> R {
    let slot = takeSlot()
    defer { unsafe slots[slot].store(0, ordering: .releasing) }
    var bits = current.load(ordering: .acquiring)
    while true {
      unsafe slots[slot].store(bits, ordering: .sequentiallyConsistent)
      let again = current.load(ordering: .sequentiallyConsistent)
      if again == bits { break }
      bits = again
    }
    // A cell always holds a value.
    return try body(unsafe Self.reference(bits).unsafelyUnwrapped.takeUnretainedValue())
  }

  /// A slot of this thread's own. Threads start to look in different places: at the place of their stacks.
  private func takeSlot() -> Int {
    var marker: UInt8 = 0
    let start = unsafe withUnsafePointer(to: &marker) { UInt(bitPattern: $0) >> 16 &* 31 }
    var index = Int(start % UInt(Self.slotCount))
    while true {
      let slot = index * Self.stride
      let (isTaken, _) = unsafe slots[slot].compareExchange(
        expected: 0, desired: Self.taken, ordering: .acquiringAndReleasing)
      if isTaken { return slot }
      index = (index + 1) % Self.slotCount
    }
  }

  /// Replaces the value, and returns when nobody uses the old one any more.
  func replace(by value: Value) {
    let new = unsafe UInt(bitPattern: Unmanaged.passRetained(value).toOpaque())
    replacing.withLock { _ in
      let old = current.exchange(new, ordering: .sequentiallyConsistent)
      for index in 0..<Self.slotCount {
        while unsafe slots[index * Self.stride].load(ordering: .sequentiallyConsistent) == old { sched_yield() }
      }
      unsafe Self.reference(old)?.release()
    }
  }
}
