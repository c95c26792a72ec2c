// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import CryptoExtras

/// A public key of TUF metadata: Ed25519, ECDSA on P-256, or RSA with SHA-256.
///
/// A key of a kind that is not known is kept, and verifies nothing: other keys of its role may do.
public struct TrustKey: Sendable {
  private enum Material: Sendable {
    case ed25519(Curve25519.Signing.PublicKey)
    case ecdsa(P256.Signing.PublicKey)
    case rsa(_RSA.Signing.PublicKey, _RSA.Signing.Padding)
    case unknown
  }

  /// `ed25519`, `ecdsa` or `rsa`.
  public let keyType: String
  /// `ed25519`, `ecdsa-sha2-nistp256`, `rsassa-pss-sha256`, or (as python-securesystemslib) `rsa-pkcs1v15-sha256`.
  public let scheme: String
  /// As metadata has it, with members that nobody knows.
  let object: JSONObject
  /// The same for the same key, under whatever key id it is listed.
  let identity: [UInt8]
  private let material: Material

  private static let maximumKeyBitCount = 8192

  /// Reads a key as metadata has it.
  init(_ reader: MetadataReader) throws(RepositoryError) {
    object = try reader.object()
    keyType = try reader.member("keytype").string()
    scheme = try reader.member("scheme").string()
    let value = try reader.member("keyval")
    _ = try value.object()
    guard let text = try value.optional("public")?.string(), let material = Self.material(keyType, scheme, text) else {
      material = .unknown
      identity = [0] + reader.value.canonical
      return
    }
    (self.material, identity) = material
  }

  /// A key of its kind and of the public part as metadata has it: hexadecimal digits for Ed25519, PEM for all others.
  init?(keyType: String, scheme: String, publicPart: String) {
    guard let material = Self.material(keyType, scheme, publicPart) else { return nil }
    self.keyType = keyType
    self.scheme = scheme
    object = ["keytype": .string(keyType), "scheme": .string(scheme), "keyval": .object(["public": .string(publicPart)])]
    (self.material, identity) = material
  }

  /// A public key from the text of a PEM file, of the scheme that is usual for its kind.
  ///
  /// - Returns: nil when it holds no key of a known kind.
  public init?(pem text: String) {
    guard let pem = PEM(text), pem.label == "PUBLIC KEY" else { return nil }
    let prefix = Self.ed25519Prefix
    if pem.contents.count == prefix.count + 32, pem.contents.starts(with: prefix) {
      self.init(keyType: "ed25519", scheme: "ed25519", publicPart: Array(pem.contents.dropFirst(prefix.count)).hexadecimal)
      return
    }
    // The usual spelling, whatever the file's: the key id goes by it.
    for (keyType, scheme) in [("ecdsa", "ecdsa-sha2-nistp256"), ("rsa", "rsassa-pss-sha256")] {
      guard let key = TrustKey(keyType: keyType, scheme: scheme, publicPart: pem.text) else { continue }
      self.init(keyType: keyType, scheme: scheme, publicPart: key.pem)
      return
    }
    return nil
  }

  /// The text of a PEM file; empty for a key of an unknown kind.
  public var pem: String {
    let contents: [UInt8] =
      switch material {
      case .ed25519(let key): Self.ed25519Prefix + Array(key.rawRepresentation)
      case .ecdsa(let key): Array(key.derRepresentation)
      case .rsa(let key, _): Array(key.derRepresentation)
      case .unknown: []
      }
    return contents.isEmpty ? "" : PEM(label: "PUBLIC KEY", contents: contents).text
  }

  /// What stands before the 32 bytes of an Ed25519 key in its DER form (RFC 8410).
  private static let ed25519Prefix: [UInt8] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00]

  /// SHA-256 of the canonical form of what makes the key, in hexadecimal digits: the usual key id.
  public var keyID: String {
    let value = object["keyval"].flatMap { if case .object(let value) = $0 { value["public"] } else { nil } }
    let form: JSONObject = [
      "keytype": .string(keyType), "scheme": .string(scheme), "keyval": .object(["public": value ?? .null]),
    ]
    var digester = Digester()
    digester.update(JSONValue.object(form).canonical)
    return digester.finish().hexadecimal
  }

  /// Whether signatures by this key can be checked.
  var isKnown: Bool { if case .unknown = material { false } else { true } }

  private static func material(_ keyType: String, _ scheme: String, _ text: String) -> (Material, [UInt8])? {
    guard text.utf8.count <= PEM.maximumByteCount else { return nil }
    switch (keyType, scheme) {
    case ("ed25519", "ed25519"):
      guard let bytes = [UInt8](hexadecimal: text), let key = try? Curve25519.Signing.PublicKey(rawRepresentation: bytes) else {
        return nil
      }
      return (.ed25519(key), [1] + bytes)
    case ("ecdsa", "ecdsa-sha2-nistp256"), ("ecdsa-sha2-nistp256", "ecdsa-sha2-nistp256"):
      guard let pem = PEM(text), let key = try? P256.Signing.PublicKey(derRepresentation: pem.contents) else { return nil }
      return (.ecdsa(key), [2] + Array(key.x963Representation))
    case ("rsa", "rsassa-pss-sha256"), ("rsa", "rsa-pkcs1v15-sha256"):
      guard let pem = PEM(text), let key = try? _RSA.Signing.PublicKey(derRepresentation: pem.contents),
        key.keySizeInBits <= maximumKeyBitCount
      else { return nil }
      let padding = scheme == "rsassa-pss-sha256" ? _RSA.Signing.Padding.PSS : .insecurePKCS1v1_5
      return (.rsa(key, padding), [3] + Array(key.derRepresentation))
    default: return nil
    }
  }

  /// Whether the key made the signature of these bytes. ECDSA signatures are DER; RSA-PSS ones have a salt as long as the hash.
  public func isValid(_ signature: [UInt8], of bytes: [UInt8]) -> Bool {
    switch material {
    case .ed25519(let key): return key.isValidSignature(signature, for: bytes)
    case .ecdsa(let key):
      guard let signature = try? P256.Signing.ECDSASignature(derRepresentation: signature) else { return false }
      return key.isValidSignature(signature, for: SHA256.hash(data: bytes))
    case .rsa(let key, let padding):
      let signature = _RSA.Signing.RSASignature(rawRepresentation: signature)
      return key.isValidSignature(signature, for: SHA256.hash(data: bytes), padding: padding)
    case .unknown: return false
    }
  }
}
