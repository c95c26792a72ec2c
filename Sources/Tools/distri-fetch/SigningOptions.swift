// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import DistriRepo
import FoundationEssentials
import SystemPackage
import ToolSupport

/// The options that say who signs a repository, and for how long.
struct SigningOptions: ParsableArguments {
  /// The roles that every repository has.
  static let roles = ["root", "targets", "snapshot", "timestamp"]

  @Option(
    name: .long,
    help: ArgumentHelp("A directory of keys as «keys generate» makes it: <role>.pem for each role that signs.", valueName: "dir"))
  var keys: String?

  @Option(
    name: .long, help: ArgumentHelp("A role's private key, instead of that of --keys. May be repeated.", valueName: "role=file"))
  var key: [String] = []

  @Option(
    name: .long,
    help: ArgumentHelp(
      "Let a shell command sign for a role: it gets the bytes on its standard input and prints the signature in hexadecimal digits.",
      valueName: "role=public.pem:command"))
  var keyCommand: [String] = []

  @Option(name: .long, help: ArgumentHelp("How many of a role's keys must sign, for a new root.", valueName: "role=number"))
  var threshold: [String] = []

  @Option(
    name: .long, help: ArgumentHelp("For how long a role's signatures are valid, such as timestamp=7d.", valueName: "role=days"))
  var expire: [String] = []

  @Flag(help: "Make another root, in which the roles whose keys are given have these keys.")
  var rotateRoot = false

  @Option(
    name: .long,
    help: ArgumentHelp("With --rotate-root: a key that signed for the root until now. May be repeated.", valueName: "file"))
  var formerRootKey: [String] = []

  @Option(name: .long, help: ArgumentHelp("Sign as of this time instead of now, such as 2026-11-26T00:00:00Z.", valueName: "time"))
  var time: String?

  @Option(name: .long, help: ArgumentHelp("How many snapshots stay for readers of an older one.", valueName: "number"))
  var keepSnapshots = 10

  func validate() throws {
    _ = try threshold.map { try Self.split($0) { Int($0).flatMap { $0 > 0 ? $0 : nil } } }
    _ = try expire.map { try Self.split($0, Self.seconds) }
    _ = try key.map { try Self.split($0) { $0 } }
    _ = try keyCommand.map { try Self.split($0, Self.command) }
    if let time, UTCTime(time) == nil { throw ValidationError("«\(time)» is no time; write 2026-11-26T00:00:00Z") }
    if keepSnapshots < 1 { throw ValidationError("--keep-snapshots starts at 1") }
    if !formerRootKey.isEmpty && !rotateRoot { throw ValidationError("--former-root-key goes with --rotate-root") }
  }

  /// Nil when nothing says who signs.
  func signing() throws -> RepositorySigning? {
    guard keys != nil || !key.isEmpty || !keyCommand.isEmpty else {
      if rotateRoot { throw ValidationError("--rotate-root needs keys: give --keys, --key or --key-command") }
      return nil
    }
    var signing = RepositorySigning(now: time.flatMap { UTCTime($0) } ?? .now)
    for (role, path) in try key.map({ try Self.split($0) { $0 } }) {
      signing.signers[role, default: []].append(try FileSigner(path: FilePath(path)))
    }
    for (role, value) in try keyCommand.map({ try Self.split($0, Self.command) }) {
      signing.signers[role, default: []].append(try Self.commandSigner(value.publicKey, value.command))
    }
    try addKeys(to: &signing)
    for (role, number) in try threshold.map({ try Self.split($0) { Int($0) } }) { signing.thresholds[role] = number }
    for (role, seconds) in try expire.map({ try Self.split($0, Self.seconds) }) { signing.lifetimes[role] = seconds }
    signing.rotatesRoot = rotateRoot
    signing.formerRootSigners = try formerRootKey.map { try FileSigner(path: FilePath($0)) }
    signing.keptSnapshotCount = keepSnapshots
    return signing
  }

  private func addKeys(to signing: inout RepositorySigning) throws {
    guard let keys else { return }
    let directory = FilePath(keys)
    var isEmpty = true
    for role in Self.roles + ["pkg", "debug", "src"] where signing.signers[role] == nil {
      let path = directory.appending("\(role).pem")
      guard FileManager.default.fileExists(atPath: path.string) else { continue }
      isEmpty = false
      signing.signers[role] = [try FileSigner(path: path)]
    }
    if isEmpty {
      throw RepositoryError.signing(key: keys, reason: "no <role>.pem is there; make keys with «distri-fetch keys generate»")
    }
  }

  private static func commandSigner(_ path: String, _ command: String) throws -> CommandSigner {
    guard let bytes = FileManager.default.contents(atPath: path) else {
      throw RepositoryError.system(operation: "read", path: FilePath(path), .noSuchFileOrDirectory)
    }
    guard let key = TrustKey(pem: String(decoding: bytes, as: UTF8.self)) else {
      throw RepositoryError.signing(key: path, reason: "not a public key in PEM for Ed25519, P-256 or RSA")
    }
    let environment = ProcessInfo.processInfo.environment.map { "\($0.key)=\($0.value)" }
    return CommandSigner(key: key, command: ["/bin/sh", "-c", command], environment: environment)
  }

  private static func split<Value>(_ text: String, _ value: (String) -> Value?) throws -> (role: String, value: Value) {
    let parts = text.split(separator: "=", maxSplits: 1).map(String.init)
    guard parts.count == 2, let value = value(parts[1]) else {
      throw ValidationError("«\(text)» is not of the form that --help shows")
    }
    return (parts[0], value)
  }

  private static func command(_ text: String) -> (publicKey: String, command: String)? {
    let parts = text.split(separator: ":", maxSplits: 1).map(String.init)
    return parts.count == 2 ? (parts[0], parts[1]) : nil
  }

  /// `7d`, `12h`, `30m`, or plain days.
  private static func seconds(_ text: String) -> Int64? {
    let units: [(suffix: String, seconds: Int64)] = [("d", 86_400), ("h", 3600), ("m", 60)]
    let unit = units.first { text.hasSuffix($0.suffix) }
    guard let number = Int64(unit == nil ? text[...] : text.dropLast()), 1...1_000_000 ~= number else { return nil }
    return number * (unit?.seconds ?? 86_400)
  }
}
