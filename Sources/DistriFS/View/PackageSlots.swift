// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

/// The packages of a view, by ``NodeCodec``'s package number.
///
/// A number is never given out twice, so that most of those of a store that changes all the time are of packages that have gone: pages
/// without any take no room but for their place in a list.
struct PackageSlots: Sendable, Sequence {
  private static let pageSize: UInt32 = 64

  private var pages: [[View.Slot?]] = []

  /// None for a number that nobody has.
  subscript(number: UInt32) -> View.Slot? {
    get {
      let page = Int(number / Self.pageSize)
      guard page < pages.count, !pages[page].isEmpty else { return nil }
      return pages[page][Int(number % Self.pageSize)]
    }
    set {
      let (page, place) = (Int(number / Self.pageSize), Int(number % Self.pageSize))
      if newValue == nil, page >= pages.count || pages[page].isEmpty { return }
      if page >= pages.count { pages.append(contentsOf: repeatElement([], count: page + 1 - pages.count)) }
      if pages[page].isEmpty { pages[page] = [View.Slot?](repeating: nil, count: Int(Self.pageSize)) }
      pages[page][place] = newValue
      if newValue == nil, pages[page].allSatisfy({ $0 == nil }) { pages[page] = [] }
    }
  }

  /// In the order of their numbers.
  func makeIterator() -> Iterator { from(0) }

  /// Those of numbers from `number` on.
  func from(_ number: UInt32) -> Iterator { Iterator(pages: pages, number: number) }

  struct Iterator: IteratorProtocol, Sequence {
    fileprivate let pages: [[View.Slot?]]
    fileprivate var number: UInt32

    mutating func next() -> View.Slot? {
      while Int(number / PackageSlots.pageSize) < pages.count {
        let page = pages[Int(number / PackageSlots.pageSize)]
        let place = number % PackageSlots.pageSize
        if page.isEmpty {
          number += PackageSlots.pageSize - place
          continue
        }
        number += 1
        if let slot = page[Int(place)] { return slot }
      }
      return nil
    }
  }
}
