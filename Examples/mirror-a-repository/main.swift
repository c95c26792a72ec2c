// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

// mirror-a-repository URL STORE PACKAGE…: brings packages and what they need from a repository into a store.

import DistriRepo
import DistriStore
import Glibc
import SystemPackage

guard CommandLine.arguments.count > 3 else {
  print("usage: mirror-a-repository URL STORE PACKAGE…")
  exit(64)
}

// 1. Open the repository: one file, its index, is read.
let repository = try await Repository(at: CommandLine.arguments[1], transport: StandardTransport())

// 2. Say where packages go.
let store = try LocalStore(path: FilePath(CommandLine.arguments[2]))
let installer = Installer(repositories: [repository], store: store)

// 3. Find out what is missing; nothing has changed yet.
let plan = try await installer.plan(CommandLine.arguments.dropFirst(3).map { try PackageQuery(parsing: $0) })
print("\(plan.missing.count) packages are missing, \(plan.byteCount) bytes")

// 4. Bring it, verified, in one transaction.
try await installer.install(plan) { print("fetched \($0)") }
