// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

// read-a-package STORE PACKAGE: what a package says of itself, and its largest files.

import DistriStore
import Glibc
import SystemPackage

guard CommandLine.arguments.count == 3 else {
  print("usage: read-a-package STORE PACKAGE")
  exit(64)
}

// 1. Open the store and choose the newest version of what was asked for.
let store = try LocalStore(path: FilePath(CommandLine.arguments[1]))
let package = try store.resolve(CommandLine.arguments[2])

// 2. Read its metadata: the closure is all there, nothing has to be solved.
let metadata = try store.metadata(of: package)
print("\(package) needs \(metadata.runtimeDependencies.count) packages")
for dependency in metadata.runtimeDependencies { print("  \(dependency)") }

// 3. Open its image; nothing is unpacked.
let image = try store.image(of: package)

// 4. Walk it as a stream of entries.
var tree = ImageTree(image)
var files: [(byteCount: UInt64, path: TreePath)] = []
while let entry = try tree.next() {
  if case .regular(let byteCount) = entry.kind { files.append((byteCount, entry.path)) }
}
print("\(files.count) files, the largest:")
for file in files.sorted(by: { $0.byteCount > $1.byteCount }).prefix(5) { print("  \(file.byteCount)\t\(file.path)") }
