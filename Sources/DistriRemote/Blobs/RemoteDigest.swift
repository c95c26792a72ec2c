// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

#if RemoteExecution

import DistriBuild

extension REAPI_Digest {
  init(_ digest: ContentDigest) {
    self.init()
    hash = digest.sha256
    sizeBytes = Int64(clamping: digest.byteCount)
  }

  /// The digest that a server names; nil for what is none.
  var contentDigest: ContentDigest? {
    let isDigit = { (byte: UInt8) in (0x30...0x39).contains(byte) || (0x61...0x66).contains(byte) }
    guard hash.utf8.count == 64, hash.utf8.allSatisfy(isDigit), let count = UInt64(exactly: sizeBytes) else { return nil }
    return ContentDigest(sha256: hash, byteCount: count)
  }
}

/// Content, and what names it.
struct Blob: Sendable {
  var digest: ContentDigest
  var content: ActionFile.Content
}

#endif
