// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore
import Testing

@testable import DistriFS

@Suite struct PackageSlotsTests {
  private func slot(_ number: UInt32) -> View.Slot {
    View.Slot(package: MountedPackage(number: number, name: IndexBytes(Array("p\(number)".utf8)), identity: nil), isShown: true)
  }

  @Test func areWhatADictionaryIs() {
    var slots = PackageSlots()
    var model: [UInt32: UInt32] = [:]
    var random = SystemRandomNumberGenerator()
    for step in 0..<3000 {
      let number = UInt32.random(in: 0..<700, using: &random)
      if step % 3 == 0 || step > 2500 {
        slots[number] = nil
        model[number] = nil
      } else {
        slots[number] = slot(number)
        model[number] = number
      }
      #expect(slots[number]?.package.number == model[number])
    }
    #expect(slots.map(\.package.number) == model.keys.sorted())
    let half = slots.from(350).map(\.package.number)
    #expect(half == model.keys.filter { $0 >= 350 }.sorted())
    #expect(slots.from(100_000).map(\.package.number) == [])
  }

  @Test func farNumbersCostNothing() {
    var slots = PackageSlots()
    #expect(slots[.max] == nil)
    slots[.max] = nil
    slots[1 << 24] = slot(1 << 24)
    #expect(slots.map(\.package.number) == [1 << 24])
    slots[1 << 24] = nil
    #expect(slots.map(\.package.number) == [])
  }
}
