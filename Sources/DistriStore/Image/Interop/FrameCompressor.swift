// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

/// Makes zstd frames with libsquashfs's compressor, whose blocks are whole frames. Not thread-safe, like that.
package final class FrameCompressor {
  private let compressor: Compressor
  private let output: HeapBlock
  private let byteCount: Int

  /// - Parameter byteCount: the most bytes that a frame may hold; at most 128 KiB, the size of zstd's blocks.
  package init?(level: Int, byteCount: Int) {
    guard
      let compressor = Compressor(ImageWriter.Options(compression: .zstd(level: level), blockSize: UInt32(byteCount)))
    else { return nil }
    self.compressor = compressor
    self.byteCount = byteCount
    output = HeapBlock(capacity: byteCount)
  }

  /// Nil when the library fails, or for too many bytes.
  package func frame(of input: [UInt8]) -> [UInt8]? {
    guard input.count <= byteCount else { return nil }
    let count = compressor.run(Bytes(input), into: output)
    return count < 0 ? nil : count > 0 ? output.bytes(count: count).array : Self.storedFrame(of: input)
  }

  /// What does not get smaller, as RFC 8878, section 3.1.1, has it: the size of the content in four bytes, and one raw block.
  private static func storedFrame(of input: [UInt8]) -> [UInt8] {
    let (size, block) = (UInt32(input.count), UInt32(input.count) << 3 | 1)
    func bytes(_ number: UInt32, _ count: UInt32) -> [UInt8] { (0..<count).map { UInt8(truncatingIfNeeded: number >> (8 * $0)) } }
    return bytes(0xfd2f_b528, 4) + [0xa0] + bytes(size, 4) + bytes(block, 3) + input
  }
}
