// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

// mirror-a-repository URL TRUST STORE PACKAGE…: brings packages and what they need from a repository into a store.

import DistriRepo
import DistriStore
import Glibc
import SystemPackage

guard CommandLine.arguments.count > 4 else {
  print("usage: mirror-a-repository URL TRUST STORE PACKAGE…")
  exit(64)
}
let (url, trust, store) = (CommandLine.arguments[1], CommandLine.arguments[2], CommandLine.arguments[3])
let transport = try StandardTransport()

// 1. Bring what is trusted of the repository up to date; TRUST holds its root.json.
let client = TUFClient(store: TrustStore(path: FilePath(trust)), metadata: "\(url)/tuf", transport: transport)
let trusted = try await client.refresh()

// 2. Open the repository: one file, its index, is read and verified.
let repository = try await Repository(at: url, trust: trusted, transport: transport)

// 3. Say where packages go, and find out what is missing; nothing has changed yet.
let installer = Installer(repositories: [repository], store: try LocalStore(path: FilePath(store)))
let plan = try await installer.plan(CommandLine.arguments.dropFirst(4).map { try PackageQuery(parsing: $0) })
print("\(plan.missing.count) packages are missing, \(plan.byteCount) bytes")

// 4. Bring it, verified, in one transaction.
try await installer.install(plan, onFetched: { print("fetched \($0)") })
