// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore

/// Makes the block of an exchange directory; entries are added in the order of their hashes.
struct ExchangeDirectoryWriter {
  /// A claim with its target's bytes at hand.
  struct Claim {
    var package: UInt32
    var number: UInt32
    var kind: ExchangeDirectory.Kind
    var target: [UInt8] = []
  }

  private let number: UInt32
  private let path: [UInt8]
  private let source: [UInt8]
  private let depth: Int
  private var entries: [UInt8] = []
  private var claims: [UInt8] = []
  private var text: [UInt8]
  private var entryCount = 0
  private var claimCount = 0
  private(set) var directoryCount: UInt32 = 0

  init(number: UInt32, path: [UInt8], source: [UInt8]) {
    self.number = number
    self.path = path
    self.source = source
    depth = path.isEmpty ? 0 : path.count { $0 == UInt8(ascii: "/") } + 1
    text = path + source
  }

  var isEmpty: Bool { entryCount == 0 }

  /// Adds an entry; claims in order of precedence.
  ///
  /// - Parameters:
  ///   - detail: the number of a directory or package.
  ///   - winner: the name of the package whose link is shown.
  mutating func add(
    name: [UInt8], hash: UInt64, kind: ExchangeDirectory.Kind, detail: UInt32, winner: IndexBytes = .none, _ own: [Claim]
  ) {
    var detail = detail
    if kind == .link, let first = own.first {
      detail = UInt32(
        first.target.isEmpty
          ? ExchangeDirectory.targetLength(depth: depth, package: winner.count, source: source.count, name: name.count)
          : first.target.count)
    }
    addEntry(name, hash, kind, detail, count: own.count)
    for claim in own {
      let offset = text.count
      text += claim.target
      claims.append(number: claim.package)
      claims.append(number: claim.number)
      claims.append(number: UInt32(offset))
      claims.append(number: UInt16(claim.target.count))
      claims.append(number: UInt16(claim.kind.rawValue))
    }
    claimCount += own.count
  }

  /// Adds an entry as it is in another directory's block.
  mutating func copy(_ entry: ExchangeDirectory.Entry, from directory: ExchangeDirectory) {
    addEntry(directory.name(of: entry), entry.hash, entry.kind, entry.detail, count: entry.claims.count)
    for index in entry.claims {
      let claim = directory.claim(at: index)
      let offset = text.count
      if claim.targetLength > 0 { text += directory.text(claim.targetOffset, claim.targetLength) }
      claims.append(number: claim.package)
      claims.append(number: claim.number)
      claims.append(number: UInt32(offset))
      claims.append(number: UInt16(claim.targetLength))
      claims.append(number: UInt16(claim.kind.rawValue))
    }
    claimCount += entry.claims.count
  }

  private mutating func addEntry(_ name: [UInt8], _ hash: UInt64, _ kind: ExchangeDirectory.Kind, _ detail: UInt32, count: Int) {
    entries.append(number: hash)
    entries.append(number: UInt32(text.count))
    entries.append(number: UInt32(claimCount))
    entries.append(number: UInt32(count))
    entries.append(number: detail)
    entries.append(number: UInt16(name.count))
    entries.append(number: UInt16(kind.rawValue))
    entries.append(number: UInt32(0))
    text += name
    entryCount += 1
    if kind != .link { directoryCount += 1 }
  }

  /// The directory.
  func finish(modificationTime: Int64) -> ExchangeDirectory {
    var block: [UInt8] = []
    block.reserveCapacity(ExchangeDirectory.headerByteCount + entries.count + claims.count + text.count)
    block.append(number: number)
    block.append(number: UInt32(entryCount))
    block.append(number: UInt64(bitPattern: modificationTime))
    block.append(number: directoryCount)
    block.append(number: UInt32(claimCount))
    block.append(number: UInt16(depth))
    block.append(number: UInt16(path.count))
    block.append(number: UInt16(source.count))
    block.append(number: UInt16(0))
    block += entries
    block += claims
    block += text
    return ExchangeDirectory(IndexBytes(block))
  }
}
