// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

/// Decompression of LZO1X streams: a sequence of literal runs and of copies from what was already written.
///
/// The layout of the instructions is that of the kernel's documentation («LZO stream format as understood by Linux' LZO
/// decompressor»).
enum LZO {
  /// The decompressed bytes, at most `limit`; nil when the input is malformed, does not end properly or gives more.
  static func decompress(_ input: [UInt8], limit: Int) -> [UInt8]? {
    var decoder = Decoder(input: input, limit: limit)
    return decoder.run() ? decoder.output : nil
  }

  private struct Decoder {
    let input: [UInt8]
    let limit: Int
    var position = 0
    var output: [UInt8] = []
    /// How many literals the last instruction copied: 0…3, or 4 for any more. It decides what the next small
    /// instruction means.
    var state = 0

    init(input: [UInt8], limit: Int) {
      self.input = input
      self.limit = limit
      output.reserveCapacity(limit)
    }

    mutating func byte() -> Int? {
      guard position < input.count else { return nil }
      defer { position += 1 }
      return Int(input[position])
    }

    mutating func literals(_ count: Int) -> Bool {
      guard count <= input.count - position, count <= limit - output.count else { return false }
      output += input[position..<position + count]
      position += count
      return true
    }

    mutating func copy(distance: Int, count: Int) -> Bool {
      guard distance > 0, distance <= output.count, count <= limit - output.count else { return false }
      for _ in 0..<count { output.append(output[output.count - distance]) }
      return true
    }

    /// A length whose short form was 0: 255 for each zero byte, then a byte that is not zero.
    mutating func extendedLength(_ base: Int) -> Int? {
      var length = base
      while let next = byte() {
        if next != 0 { return length + next }
        length += 255
        if length > limit { return nil }
      }
      return nil
    }

    /// The 14 bits of distance and 2 bits of literals that follow a long copy.
    mutating func tail() -> (distance: Int, literals: Int)? {
      guard let low = byte(), let high = byte() else { return nil }
      return (low >> 2 | high << 6, low & 3)
    }

    mutating func run() -> Bool {
      guard let first = input.first else { return false }
      if first >= 18 {
        position = 1
        let count = Int(first) - 17
        guard literals(count) else { return false }
        state = min(count, 4)
      }
      while let instruction = byte() {
        switch step(instruction) {
        case .go: continue
        case .end: return position == input.count
        case .malformed: return false
        }
      }
      return false
    }

    enum Outcome { case go, end, malformed }

    mutating func step(_ instruction: Int) -> Outcome {
      var count: Int
      var distance: Int
      var trailing = instruction & 3
      switch instruction {
      case 64...:
        guard let high = byte() else { return .malformed }
        count = instruction >= 128 ? 5 + (instruction >> 5 & 3) : 3 + (instruction >> 5 & 1)
        distance = high << 3 + (instruction >> 2 & 7) + 1
      case 32...:
        count = 2 + (instruction & 31)
        if instruction & 31 == 0 { count = extendedLength(2 + 31) ?? -1 }
        guard count > 0, let tail = tail() else { return .malformed }
        (distance, trailing) = (tail.distance + 1, tail.literals)
      case 16...:
        count = 2 + (instruction & 7)
        if instruction & 7 == 0 { count = extendedLength(2 + 7) ?? -1 }
        guard count > 0, let tail = tail() else { return .malformed }
        (distance, trailing) = (16384 + (instruction & 8) << 11 + tail.distance, tail.literals)
        if distance == 16384 { return count == 3 ? .end : .malformed }
      case _ where state == 0:
        count = 3 + instruction
        if instruction == 0 { count = extendedLength(3 + 15) ?? -1 }
        guard count > 0, literals(count) else { return .malformed }
        state = 4
        return .go
      default:
        guard let high = byte() else { return .malformed }
        (count, distance) =
          state == 4 ? (3, high << 2 + instruction >> 2 + 2049) : (2, high << 2 + instruction >> 2 + 1)
      }
      guard copy(distance: distance, count: count), literals(trailing) else { return .malformed }
      state = trailing
      return .go
    }
  }
}
