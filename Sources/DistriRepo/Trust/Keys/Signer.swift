// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import SystemPackage

/// Signs metadata: with a key in memory, or by asking somebody who has it.
public protocol Signer: Sendable {
  /// The public half of its key.
  var key: TrustKey { get }
  /// The signature of the bytes, in the form that metadata has.
  ///
  /// - Throws: what goes wrong, above all ``RepositoryError/signing(key:reason:)``.
  func signature(of bytes: [UInt8]) async throws -> [UInt8]
}

/// Signs with a private key from a file.
public struct FileSigner: Signer {
  private let privateKey: PrivateKey
  private let path: String

  /// Reads a PKCS #8 file in PEM.
  ///
  /// - Throws: ``RepositoryError/system(operation:path:_:)``; ``RepositoryError/signing(key:reason:)`` for what is no such file.
  public init(path: FilePath) throws(RepositoryError) {
    let bytes = try Files.contents(of: path, limit: PEM.maximumByteCount)
    guard let text = String(validating: bytes, as: UTF8.self), let key = PrivateKey(pem: text) else {
      throw .signing(key: path.string, reason: "not an unencrypted private key (PKCS #8 in PEM) for Ed25519, P-256 or RSA")
    }
    privateKey = key
    self.path = path.string
  }

  /// Signs with a key in memory.
  public init(_ key: PrivateKey) {
    privateKey = key
    path = key.publicKey.keyID
  }

  /// The public half.
  public var key: TrustKey { privateKey.publicKey }

  /// Signs at once.
  public func signature(of bytes: [UInt8]) throws -> [UInt8] {
    guard let signature = privateKey.signature(of: bytes) else {
      throw RepositoryError.signing(key: path, reason: "the key cannot sign")
    }
    return signature
  }
}

/// Lets a command sign, which may ask hardware or another machine: it gets the bytes on its standard input and prints the signature
/// in hexadecimal digits.
public struct CommandSigner: Signer {
  /// The public half of the key that the command uses.
  public let key: TrustKey
  private let command: [String]
  private let environment: [String]
  private let timeLimit: Duration

  /// The longest answer that is accepted, in bytes.
  private static let maximumByteCount = 16 << 10

  /// Plans to run a command for each signature.
  ///
  /// - Parameters:
  ///   - command: the program, looked up in `PATH`, and its arguments.
  ///   - environment: what it finds in its environment, each `NAME=value`.
  ///   - timeLimit: how long it may take, a person's touch included.
  public init(key: TrustKey, command: [String], environment: [String] = [], timeLimit: Duration = .seconds(300)) {
    self.key = key
    self.command = command
    self.environment = environment
    self.timeLimit = timeLimit
  }

  /// Runs the command, and checks what it says with the public key.
  ///
  /// - Throws: ``RepositoryError/signing(key:reason:)``.
  public func signature(of bytes: [UInt8]) async throws -> [UInt8] {
    let name = command.joined(separator: " ")
    let output: [UInt8]
    do {
      output = try await Subprocess.run(
        command, environment: environment, input: bytes, maximumByteCount: Self.maximumByteCount, timeLimit: timeLimit)
    } catch let failure as Subprocess.Failure {
      throw RepositoryError.signing(key: name, reason: failure.description)
    }
    let text = String(decoding: output, as: UTF8.self).filter { !$0.isWhitespace }
    guard let signature = [UInt8](hexadecimal: text), !signature.isEmpty else {
      throw RepositoryError.signing(key: name, reason: "the command did not print a signature in hexadecimal digits")
    }
    guard key.isValid(signature, of: bytes) else {
      throw RepositoryError.signing(key: name, reason: "the command's signature is not by the key \(key.keyID)")
    }
    return signature
  }
}
