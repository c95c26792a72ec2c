// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import Foundation
import SystemPackage
import TestSupport
import Testing

@testable import DistriRepo

/// Keys, and who signs with them.
@Suite struct KeyTests {
  private static let message = Array("what is to be signed".utf8)

  private func file(_ text: String, in directory: borrowing TemporaryDirectory, _ name: String = "key.pem") throws -> FilePath {
    let path = directory.path.appending(name)
    try write(Array(text.utf8), to: path)
    return path
  }

  @Test(arguments: PrivateKey.Kind.allCases) func `a key signs, and only what was signed verifies`(kind: PrivateKey.Kind) throws {
    let key = try #require(PrivateKey.generate(kind))
    let again = try #require(PrivateKey(pem: key.pem))
    #expect(again.publicKey.keyID == key.publicKey.keyID)
    let signature = try #require(again.signature(of: Self.message))
    #expect(key.publicKey.isValid(signature, of: Self.message))
    #expect(!key.publicKey.isValid(signature, of: Self.message + [0]))
    for position in [0, signature.count / 2, signature.count - 1] {
      var damaged = signature
      damaged[position] ^= 1
      #expect(!key.publicKey.isValid(damaged, of: Self.message))
    }
    #expect(!key.publicKey.isValid([], of: Self.message))
    #expect(!key.publicKey.isValid(Array(signature.dropLast()), of: Self.message))
    let other = try #require(PrivateKey.generate(kind))
    #expect(!other.publicKey.isValid(signature, of: Self.message))
    #expect(other.publicKey.keyID != key.publicKey.keyID)
  }

  @Test func `Ed25519 signs the same bytes the same way`() throws {
    let key = try #require(PrivateKey.generate(.ed25519))
    #expect(key.signature(of: Self.message) == key.signature(of: Self.message))
  }

  /// With a seed from the first test of RFC 8032, section 7.1.
  @Test func `a key of RFC 8032 has its public half and its signature`() throws {
    let seed = try #require(
      [UInt8](hexadecimal: "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60"))
    let prefix = try #require([UInt8](hexadecimal: "302e020100300506032b657004220420"))
    let key = try #require(PrivateKey(pem: PEM(label: "PRIVATE KEY", contents: prefix + seed).text))
    let publicPart = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
    #expect(key.publicKey.object["keyval"].map { $0.canonical } == Array(#"{"public":"\#(publicPart)"}"#.utf8))
    #expect(
      key.signature(of: [])?.hexadecimal
        == "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b"
    )
  }

  @Test(arguments: [
    ["-algorithm", "ed25519"], ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"],
    ["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"],
  ])
  func `openssl's keys are read, and openssl reads ours`(arguments: [String]) async throws {
    let directory = try TemporaryDirectory()
    let theirs = directory.path.appending("theirs.pem")
    let made = try await ToolProcess.run("openssl", ["genpkey", "-out", theirs.string] + arguments)
    #expect(made.status == 0, "\(made.errors)")
    let signer = try FileSigner(path: theirs)
    let publicKey = try await ToolProcess.run("openssl", ["pkey", "-in", theirs.string, "-pubout"])
    let key = try #require(TrustKey(pem: publicKey.output))
    #expect(key.keyID == signer.key.keyID)
    #expect(key.isValid(try signer.signature(of: Self.message), of: Self.message))
    let kind = try #require(PrivateKey.Kind(rawValue: key.keyType))
    let ours = try file(try #require(PrivateKey.generate(kind)).pem, in: directory)
    let check = try await ToolProcess.run("openssl", ["pkey", "-in", ours.string, "-check", "-noout"])
    #expect(check.status == 0, "\(check.errors)")
  }

  @Test(arguments: [
    "", "-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----\n", "-----BEGIN PRIVATE KEY-----\nAAAA\n",
    "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
    "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n",
  ])
  func `a file that holds no key is refused by name`(text: String) async throws {
    let directory = try TemporaryDirectory()
    let path = try file(text, in: directory)
    let error = try await failure { try FileSigner(path: path) }
    guard case .signing(path.string, _) = error else {
      Issue.record("\(error)")
      return
    }
  }

  @Test func `weak and strange keys verify nothing`() async throws {
    let weak = try await ToolProcess.run("openssl", ["genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:1024"])
    #expect(PrivateKey(pem: weak.output) == nil)
    #expect(TrustKey(keyType: "ed25519", scheme: "ed25519", publicPart: "00") == nil)
    #expect(TrustKey(keyType: "ecdsa", scheme: "ecdsa-sha2-nistp384", publicPart: "") == nil)
    #expect(TrustKey(keyType: "rsa", scheme: "rsassa-pss-sha256", publicPart: String(repeating: "A", count: 1 << 20)) == nil)
  }

  private func commandSigner(_ script: String, key: TrustKey, timeLimit: Duration = .seconds(60)) -> CommandSigner {
    CommandSigner(key: key, command: ["/bin/sh", "-c", script], environment: ["PATH=/usr/bin:/bin"], timeLimit: timeLimit)
  }

  @Test func `a command signs what it gets on its standard input`() async throws {
    let directory = try TemporaryDirectory()
    let key = try #require(PrivateKey.generate(.ecdsa))
    let path = try file(key.pem, in: directory)
    let signer = commandSigner("openssl dgst -sha256 -sign \(path) | od -An -v -tx1", key: key.publicKey)
    // More than a pipe holds.
    let message = noise(300_000)
    #expect(key.publicKey.isValid(try await signer.signature(of: message), of: message))
  }

  @Test(arguments: [
    ("exit 3", "the command ended with status 3"), ("kill -9 $$", "the command ended with status 137"), ("echo zz", "hexadecimal"),
    ("true", "hexadecimal"), ("echo 00", "not by the key"), ("yes", "printed too much"), ("sleep 100", "took too long"),
    ("exec 0<&-; echo 00", "not by the key"),
  ])
  func `a command that does not sign is an error that says why`(script: String, reason: String) async throws {
    let key = try #require(PrivateKey.generate(.ed25519)).publicKey
    let signer = commandSigner(script, key: key, timeLimit: script == "sleep 100" ? .seconds(1) : .seconds(60))
    let error = try await failure { try await signer.signature(of: noise(1_000_000)) }
    #expect(error.description.contains(reason), "\(error)")
  }

  @Test func `a command that does not exist is an error that says so`() async throws {
    let key = try #require(PrivateKey.generate(.ed25519)).publicKey
    let error = try await failure {
      try await CommandSigner(key: key, command: ["/nowhere/signer"]).signature(of: Self.message)
    }
    #expect(error.description.contains("cannot be started"))
  }
}
