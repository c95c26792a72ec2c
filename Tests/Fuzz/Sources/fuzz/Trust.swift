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
