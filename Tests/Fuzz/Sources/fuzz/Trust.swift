// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriRepo

/// The bytes as JSON, as a time, as keys, and as all kinds of signed metadata.
func readTrust(_ bytes: [UInt8]) {
  if let value = try? JSONValue(parsing: bytes) {
    // What is written is read as it was, whatever came in.
    let again = try? JSONValue(parsing: value.serialized)
    precondition(again?.canonical == value.canonical && again?.serialized == value.serialized)
    precondition(value.canonical.count <= 6 * bytes.count)
  }
  for role in ["root", "timestamp", "snapshot", "targets"] { MetadataCheck.read(bytes, as: role) }
  let text = String(decoding: bytes.prefix(4096), as: UTF8.self)
  if let time = UTCTime(text) { precondition(time.description == text) }
  if let key = TrustKey(pem: text) { precondition(TrustKey(pem: key.pem)?.keyID == key.keyID) }
  if let key = PrivateKey(pem: text) { precondition(PrivateKey(pem: key.pem)?.publicKey.keyID == key.publicKey.keyID) }
  precondition(!text.trustName.contains("/") && text.trustName.utf8.count <= 255)
}

/// The bytes as the tree of a file of the size that they say.
func readTree(_ bytes: [UInt8]) {
  let size = bytes.dropFirst(16).prefix(8).reversed().reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
  do {
    _ = try BlockTree(bytes, byteCount: size, root: [], file: "fuzz")
    preconditionFailure("nothing has no root")
  } catch RepositoryError.untrusted(_, .mismatch(_, let root)) {
    // Only the root is wrong: with the right one it is read, and written as it was.
    let digits = Array(root.utf8)
    let hash = stride(from: 0, to: digits.count, by: 2).map {
      UInt8(String(decoding: digits[$0...($0 + 1)], as: UTF8.self), radix: 16) ?? 0
    }
    let tree = try? BlockTree(bytes, byteCount: size, root: hash, file: "fuzz")
    precondition(tree?.serialized == bytes && tree?.root == hash)
  } catch {}
}
