// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import DistriFS

@Suite struct RequestRecordTests {
  /// The bit that the kernel sets in a request that it sends again.
  private let resent: UInt64 = 1 << 63

  @Test func `a request in flight in three deaths is refused, once`() throws {
    let record = try RequestRecord()
    #expect(record.begin(40, on: 0))
    record.countDeath()
    for _ in 0..<2 {
      #expect(record.begin(40 | resent, on: 3))
      record.countDeath()
    }
    #expect(!record.begin(40 | resent, on: 1))
    #expect(record.refusedCount == 1)
    record.countDeath()
    #expect(record.begin(40, on: 1), "it has had its answer: this is another one")
  }

  @Test func `a request that is answered after deaths is no suspect any more`() throws {
    let record = try RequestRecord()
    for _ in 0..<5 {
      for _ in 0..<2 {
        #expect(record.begin(6 | resent, on: 0))
        record.countDeath()
      }
      #expect(record.begin(6 | resent, on: 0))
      record.end(6 | resent, on: 0)
      record.countDeath()
    }
    #expect(record.refusedCount == 0)
  }

  @Test func `requests that were not being answered are not counted`() throws {
    let record = try RequestRecord()
    for _ in 0..<10 {
      #expect(record.begin(8, on: 0))
      record.end(8, on: 0)
      #expect(record.begin(9, on: 1))
      record.end(9, on: 1)
      record.countDeath()
    }
    #expect(record.begin(8, on: 0))
  }

  @Test func `more suspects than there is room for push the oldest out`() throws {
    let record = try RequestRecord()
    for round in 0..<8 {
      for slot in 0..<200 { #expect(record.begin(UInt64(2 + 2 * (round * 200 + slot)), on: UInt32(slot))) }
      record.countDeath()
    }
    for _ in 0..<3 {
      #expect(record.begin(1_000_000, on: 0))
      record.countDeath()
    }
    #expect(!record.begin(1_000_000, on: 0))
  }
}
