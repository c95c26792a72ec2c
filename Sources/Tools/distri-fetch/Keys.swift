// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import DistriRepo
import FoundationEssentials
import SystemPackage
import ToolSupport

struct Keys: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Make keys that sign repositories.",
    discussion: """
        distri-fetch keys generate --out keys
      """,
    subcommands: [GenerateKeys.self])
}

struct GenerateKeys: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "generate",
    abstract: "Make a key for each role of a repository's metadata.",
    discussion: """
      For each role, DIR/<role>.pem (private, PKCS #8, for its owner's eyes only) and DIR/<role>.pub.pem appear; what is there is
      never replaced. Roles and key ids go to standard output. Keep the root's key off the machine that publishes: it is needed
      for the first publication and whenever keys change.

        distri-fetch keys generate --out keys
        distri-fetch keys generate --out new-keys --type ecdsa timestamp snapshot
      """)

  @Argument(help: ArgumentHelp("Roles; without any, root, targets, snapshot and timestamp.", valueName: "role"))
  var roles: [String] = []

  @Option(name: .long, help: ArgumentHelp("The directory of the keys; made if it is missing.", valueName: "dir"))
  var out: String

  @Option(name: .long, help: ArgumentHelp("ed25519, ecdsa (P-256) or rsa (3072 bits).", valueName: "type"))
  var type: PrivateKey.Kind = .ed25519

  func validate() throws {
    for role in roles where role.isEmpty || role.contains("/") || role.hasPrefix(".") {
      throw ValidationError("«\(role)» is no name for a role's key")
    }
  }

  func run() throws {
    let directory = FilePath(out)
    try Files.makeDirectories(directory)
    let roles = roles.isEmpty ? SigningOptions.roles : roles
    for role in roles {
      for suffix in [".pem", ".pub.pem"] {
        let path = directory.appending(role + suffix)
        guard !FileManager.default.fileExists(atPath: path.string) else {
          throw RepositoryError.system(operation: "create", path: path, .fileExists)
        }
      }
    }
    for role in roles {
      guard let key = PrivateKey.generate(type) else { throw RepositoryError.signing(key: role, reason: "no key could be made") }
      try write(key.pem, to: directory.appending("\(role).pem"), [.ownerReadWrite])
      try write(key.publicKey.pem, to: directory.appending("\(role).pub.pem"), [.ownerReadWrite, .groupRead, .otherRead])
      Terminal.standardOutput.write("\(role)\t\(key.publicKey.keyID)\n")
    }
  }

  private func write(_ text: String, to path: FilePath, _ permissions: FilePermissions) throws {
    do {
      let file = try FileDescriptor.open(
        path, .writeOnly, options: [.create, .exclusiveCreate, .closeOnExec, .noFollow], permissions: permissions)
      try file.closeAfter { _ = try file.writeAll(text.utf8) }
    } catch {
      throw RepositoryError.system(operation: "create", path: path, error as? Errno ?? .ioError)
    }
  }
}

extension PrivateKey.Kind: ExpressibleByArgument {}
