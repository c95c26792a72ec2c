// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore

extension PackageImage {
  /// Up to so many bytes of a regular file from an offset on, fewer at its end only.
  ///
  /// - Throws: as `read(_:at:into:)`.
  func bytes(of node: Node, at offset: UInt64, atMost count: Int) throws(StoreError) -> [UInt8] {
    var failure: StoreError?
    let result = unsafe [UInt8](unsafeUninitializedCapacity: max(count, 0)) { buffer, filled in
      var output = unsafe OutputRawSpan(buffer: UnsafeMutableRawBufferPointer(buffer), initializedCount: 0)
      do throws(StoreError) { try read(node, at: offset, into: &output) } catch { failure = error }
      filled = unsafe output.finalize(for: UnsafeMutableRawBufferPointer(buffer))
    }
    if let failure { throw failure }
    return result
  }
}
