// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

// readme STORE: the README's uses of the four libraries, as an outside program compiles them; the one that changes nothing is run.

import DistriBuild
import DistriFS
import DistriRepo
import DistriStore
import Glibc
import SystemPackage

func readPackage(in path: FilePath) throws {
  let store = try LocalStore(path: path)
  let package = try store.resolve("nano")
  print(try store.metadata(of: package).runtimeDependencies)
  var tree = ImageTree(try store.image(of: package))
  while let entry = try tree.next() { print(entry.path) }
}

func mountStore() async throws {
  let view = try PackageFileSystem(store: LocalStore(path: "/roimg"))
  try await withMount(of: view, at: "/ro") { mount in
    await mount.waitUntilUnmounted()
  }
}

func build(_ view: some DependencyRoot, _ archives: some SourceFetcher) async throws {
  let builder = Builder(store: try LocalStore(path: "/roimg"), dependencyRoot: view, fetcher: archives, work: "/var/tmp/build")
  let packages = try await builder.build(DefinitionFile(directory: "pkgs/hello"))
  print("made", packages)
}

func install(from url: String) async throws {
  let transport = try StandardTransport()
  let trust = TrustStore(path: "/var/lib/distri/trust/example")
  let trusted = try await TUFClient(store: trust, metadata: "\(url)/tuf", transport: transport).refresh()
  let repository = try await Repository(at: url, trust: trusted, transport: transport)
  let installer = Installer(repositories: [repository], store: try LocalStore(path: "/roimg"))
  let plan = try await installer.plan([PackageQuery(parsing: "nano")])
  try await installer.install(plan)
}

guard CommandLine.arguments.count == 2 else {
  print("usage: readme STORE")
  exit(64)
}
try readPackage(in: FilePath(CommandLine.arguments[1]))
