// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import Crypto
import DistriStore

/// A regular file of a package with its digests.
struct PackagedFile: Sendable {
  var path: TreePath
  /// In hexadecimal digits. SPDX wants it of every file; nothing is decided by it.
  var sha1: String
  /// In hexadecimal digits.
  var sha256: String

  /// All regular files of an image, in bytewise order of their paths.
  ///
  /// - Throws: ``StoreError/damagedImage(_:place:reason:)``.
  static func all(in image: PackageImage) throws(StoreError) -> [PackagedFile] {
    var result: [PackagedFile] = []
    var open: [(TreePath, PackageImage.Node)] = [(.root, image.root)]
    var seen: Set<PackageImage.Node> = []
    while let (path, node) = open.popLast() {
      switch try image.attributes(of: node).kind {
      case .directory:
        // A damaged image may have a directory in itself.
        guard seen.insert(node).inserted else { continue }
        for entry in try image.entries(of: node) { open.append((path.appending(entry.name), entry.node)) }
      case .regular: result.append(try PackagedFile(path, node, in: image))
      default: continue
      }
    }
    return result.sorted { $0.path.components.lexicographicallyPrecedes($1.path.components) }
  }

  private init(_ path: TreePath, _ node: PackageImage.Node, in image: PackageImage) throws(StoreError) {
    var sha1 = Insecure.SHA1(), sha256 = SHA256()
    var offset: UInt64 = 0
    while true {
      let bytes = try image.bytes(of: node, at: offset, atMost: 1 << 20)
      if bytes.isEmpty { break }
      sha1.update(data: bytes)
      sha256.update(data: bytes)
      offset += UInt64(bytes.count)
    }
    self.path = path
    self.sha1 = hexadecimal(sha1.finalize())
    self.sha256 = hexadecimal(sha256.finalize())
  }

  /// SPDX's digest over all files of a package: SHA-1 of their sorted SHA-1s.
  static func verificationCode(of files: [PackagedFile]) -> String {
    hexadecimal(Insecure.SHA1.hash(data: Array(files.map(\.sha1).sorted().joined().utf8)))
  }
}
