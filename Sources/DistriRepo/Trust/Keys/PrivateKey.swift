// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import CryptoExtras

/// A private key: a PKCS #8 file in PEM, as openssl writes and reads it.
public struct PrivateKey: Sendable {
  /// The kinds that can be made.
  public enum Kind: String, Sendable, CaseIterable {
    /// Small, fast, and the same signature for the same bytes.
    case ed25519
    /// On the curve P-256; what most hardware has.
    case ecdsa
    /// 3072 bits.
    case rsa
  }

  private enum Material: Sendable {
    case ed25519(Curve25519.Signing.PrivateKey)
    case ecdsa(P256.Signing.PrivateKey)
    case rsa(_RSA.Signing.PrivateKey)
  }

  private let material: Material
  /// Its public half.
  public let publicKey: TrustKey

  /// What stands before the 32 bytes of an Ed25519 key in its PKCS #8 form (RFC 8410).
  private static let ed25519Prefix: [UInt8] = [
    0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20,
  ]

  private init?(_ material: Material) {
    let key =
      switch material {
      case .ed25519(let key):
        TrustKey(keyType: "ed25519", scheme: "ed25519", publicPart: Array(key.publicKey.rawRepresentation).hexadecimal)
      case .ecdsa(let key):
        TrustKey(
          keyType: "ecdsa", scheme: "ecdsa-sha2-nistp256",
          publicPart: PEM(label: "PUBLIC KEY", contents: Array(key.publicKey.derRepresentation)).text)
      case .rsa(let key):
        TrustKey(
          keyType: "rsa", scheme: "rsassa-pss-sha256",
          publicPart: PEM(label: "PUBLIC KEY", contents: Array(key.publicKey.derRepresentation)).text)
      }
    guard let key else { return nil }
    publicKey = key
    self.material = material
  }

  /// Makes a new one.
  ///
  /// - Returns: nil when the system has no randomness to give.
  public static func generate(_ kind: Kind) -> PrivateKey? {
    switch kind {
    case .ed25519: PrivateKey(.ed25519(Curve25519.Signing.PrivateKey()))
    case .ecdsa: PrivateKey(.ecdsa(P256.Signing.PrivateKey()))
    case .rsa: (try? _RSA.Signing.PrivateKey(keySize: .bits3072)).flatMap { PrivateKey(.rsa($0)) }
    }
  }

  /// Reads the text of a file.
  ///
  /// - Returns: nil when it holds no unencrypted private key of a known kind.
  public init?(pem text: String) {
    guard let pem = PEM(text), pem.label == "PRIVATE KEY" else { return nil }
    if pem.contents.count == Self.ed25519Prefix.count + 32, pem.contents.starts(with: Self.ed25519Prefix) {
      let seed = Array(pem.contents.dropFirst(Self.ed25519Prefix.count))
      guard let key = try? Curve25519.Signing.PrivateKey(rawRepresentation: seed) else { return nil }
      self.init(.ed25519(key))
    } else if let key = try? P256.Signing.PrivateKey(derRepresentation: pem.contents) {
      self.init(.ecdsa(key))
    } else if let key = try? _RSA.Signing.PrivateKey(derRepresentation: pem.contents) {
      self.init(.rsa(key))
    } else {
      return nil
    }
  }

  /// The text of a file.
  public var pem: String {
    let contents =
      switch material {
      case .ed25519(let key): Self.ed25519Prefix + Array(key.rawRepresentation)
      case .ecdsa(let key): Array(key.derRepresentation)
      case .rsa(let key): Array(key.pkcs8DERRepresentation)
      }
    return PEM(label: "PRIVATE KEY", contents: contents).text
  }

  /// Signs the bytes, in the form that metadata has. Nil when the key cannot.
  func signature(of bytes: [UInt8]) -> [UInt8]? {
    switch material {
    case .ed25519(let key): (try? key.signature(for: bytes)).map { Array($0) }
    case .ecdsa(let key): (try? key.signature(for: SHA256.hash(data: bytes))).map { Array($0.derRepresentation) }
    case .rsa(let key): (try? key.signature(for: SHA256.hash(data: bytes), padding: .PSS)).map { Array($0.rawRepresentation) }
    }
  }
}
