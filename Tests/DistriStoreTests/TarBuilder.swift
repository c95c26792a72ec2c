// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

/// Writes ustar archives that no honest program would.
struct TarBuilder {
  private(set) var bytes: [UInt8] = []

  mutating func file(_ name: String, _ contents: String, mode: Int = 0o644) {
    add(name, type: "0", contents: Array(contents.utf8), mode: mode)
  }
  mutating func directory(_ name: String, mode: Int = 0o755) { add(name, type: "5", mode: mode) }
  mutating func symbolicLink(_ name: String, to target: String) { add(name, type: "2", link: target) }
  mutating func hardLink(_ name: String, to target: String) { add(name, type: "1", link: target) }
  mutating func device(_ name: String) { add(name, type: "3") }
  mutating func fifo(_ name: String) { add(name, type: "6") }

  /// A name longer than a header holds, as GNU tar writes it.
  mutating func longNamedFile(_ name: String, _ contents: String) {
    add("././@LongLink", type: "L", contents: Array(name.utf8) + [0])
    file("short", contents)
  }

  /// - Parameter announced: the size in the header when it is not that of the contents.
  mutating func add(
    _ name: String, type: Character, link: String = "", contents: [UInt8] = [], mode: Int = 0o644, announced: UInt64? = nil
  ) {
    var header = [UInt8](repeating: 0, count: 512)
    func put(_ text: String, at offset: Int, _ length: Int) {
      for (index, byte) in text.utf8.prefix(length).enumerated() { header[offset + index] = byte }
    }
    func octal(_ value: UInt64, _ digits: Int) -> String {
      let text = String(value, radix: 8)
      return String(repeating: "0", count: max(0, digits - text.count)) + text
    }
    put(name, at: 0, 100)
    put(octal(UInt64(mode), 7), at: 100, 7)
    put(octal(0, 7), at: 108, 7)
    put(octal(0, 7), at: 116, 7)
    let size = announced ?? UInt64(contents.count)
    if size >> 33 == 0 {
      put(octal(size, 11), at: 124, 11)
    } else {
      // Base 256, as GNU tar writes large sizes.
      header[124] = 0x80
      for index in 0..<8 { header[128 + index] = UInt8(truncatingIfNeeded: size >> UInt64(56 - 8 * index)) }
    }
    put(octal(1_700_000_000, 11), at: 136, 11)
    put("        ", at: 148, 8)
    put(String(type), at: 156, 1)
    put(link, at: 157, 100)
    put("ustar", at: 257, 5)
    put("00", at: 263, 2)
    put(octal(1, 7), at: 329, 7)
    put(octal(3, 7), at: 337, 7)
    put(octal(header.reduce(0) { $0 + UInt64($1) }, 6), at: 148, 6)
    header[154] = 0
    bytes += header + contents
    bytes += [UInt8](repeating: 0, count: (512 - contents.count % 512) % 512)
  }

  /// The archive with its end marker.
  var finished: [UInt8] { bytes + [UInt8](repeating: 0, count: 1024) }
}
