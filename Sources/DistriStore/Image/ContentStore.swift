// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import SystemPackage

/// Puts the content of files into an image.
protocol ContentStore {
  /// Stores the content of one file.
  ///
  /// - Parameters:
  ///   - byteCount: more than 0.
  ///   - descriptor: where the content can also be had, from offset 0.
  ///   - read: appends at least one byte or throws.
  func append(
    node: Int, byteCount: UInt64, descriptor: FileDescriptor?,
    _ read: (inout OutputRawSpan) throws -> Void
  ) throws

  /// Writes what is pending and tells the plan where everything is.
  func finish(into plan: inout ImagePlan) throws
}

/// Stores each content as one run that starts at a page of the image.
final class PlainContents: ContentStore {
  private let output: ImageOutput
  private var starts: [(node: Int, start: UInt64, byteCount: UInt64)] = []

  /// Larger files are left to the kernel to copy.
  private static let copied: UInt64 = 1 << 20

  init(_ output: ImageOutput) { self.output = output }

  func append(
    node: Int, byteCount: UInt64, descriptor: FileDescriptor?,
    _ read: (inout OutputRawSpan) throws -> Void
  ) throws {
    try output.align()
    starts.append((node, output.position, byteCount))
    if let descriptor, byteCount >= PlainContents.copied {
      try output.copy(from: descriptor, byteCount: byteCount)
      return
    }
    var rest = byteCount
    while rest > 0 { rest -= UInt64(try output.append(atMost: Int(clamping: rest), read)) }
  }

  func finish(into plan: inout ImagePlan) throws {
    try output.complete()
    for (node, start, byteCount) in starts {
      plan.nodes[node].content = ImagePlan.StoredContent(start: start, byteCount: byteCount)
    }
  }
}
