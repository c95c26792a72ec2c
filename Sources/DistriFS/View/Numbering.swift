// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore
import SystemPackage

/// Gives packages and exchange directories their numbers: each once.
///
/// What it gives out after the view's file was written is noted in a journal, which the keeper holds, before the kernel hears of it: so a
/// server that follows gives the same numbers to the same things.
struct Numbering: Sendable {
  /// The next package gets at least this.
  private(set) var nextPackage: UInt32 = 1
  /// The next directory gets at least this.
  private(set) var nextDirectory: UInt32 = NodeCodec.rootDirectory + 1
  private var known: [[UInt8]: UInt32] = [:]
  private var notes: [UInt8] = []

  private enum Kind: UInt8 { case package = 1, directory = 2 }

  /// Goes on after a view, and with the journal of a server before.
  init(after view: View? = nil, journal: [UInt8] = []) {
    if let view { skip(to: view) }
    let bytes = IndexBytes(journal)
    var offset = 0
    // A record: its length in bytes (2), kind (1), number (4), key. One that was cut off has never been used.
    while offset + 2 <= bytes.count, case let length = Int(bytes.u16(offset)), length >= 5, offset + 2 + length <= bytes.count {
      let key = bytes.array(offset + 2, 1) + bytes.array(offset + 7, length - 5)
      let number = bytes.u32(offset + 3)
      known[key] = number
      if key.first == Kind.package.rawValue { nextPackage = max(nextPackage, number &+ 1) }
      if key.first == Kind.directory.rawValue { nextDirectory = max(nextDirectory, number &+ 1) }
      offset += 2 + length
    }
  }

  /// Leaves out all numbers that a view has.
  mutating func skip(to view: View) {
    nextPackage = max(nextPackage, view.nextPackage)
    nextDirectory = max(nextDirectory, view.nextDirectory)
  }

  /// The number of a package; nil when there are none left.
  mutating func package(_ name: [UInt8], _ identity: ImageIdentity?) -> UInt32? {
    var key = name
    for word in identity?.binding ?? [] { key.append(number: word) }
    let number = number(.package, key, \.nextPackage)
    return number < NodeCodec.packageLimit ? number : nil
  }

  /// The number of an exchange directory.
  mutating func directory(_ path: [UInt8]) -> UInt32 { number(.directory, path, \.nextDirectory) }

  private mutating func number(_ kind: Kind, _ key: [UInt8], _ next: WritableKeyPath<Numbering, UInt32>) -> UInt32 {
    if let number = known.removeValue(forKey: [kind.rawValue] + key) { return number }
    let number = self[keyPath: next]
    self[keyPath: next] &+= 1
    notes.append(number: UInt16(truncatingIfNeeded: key.count + 5))
    notes.append(kind.rawValue)
    notes.append(number: number)
    notes += key
    return number
  }

  /// What has to be noted before the kernel hears of the numbers.
  mutating func takeNotes() -> [UInt8] {
    defer { notes = [] }
    return notes
  }
}
