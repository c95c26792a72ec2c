// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

// mount-in-process STORE MOUNTPOINT PACKAGE: shows one package and what it needs, for as long as a closure runs.

import DistriFS
import DistriStore
import Glibc
import SystemPackage

guard CommandLine.arguments.count == 4 else {
  print("usage: mount-in-process STORE MOUNTPOINT PACKAGE")
  exit(64)
}

// 1. Choose what to show: a package and its closure.
let store = try LocalStore(path: FilePath(CommandLine.arguments[1]))
let package = try store.resolve(CommandLine.arguments[3])
let closure = try store.metadata(of: package).runtimeDependencies + [package]

// 2. Make the view; images are opened when they are first used.
let view = try PackageFileSystem(store: store, only: closure)

// 3. Mount it. It is gone when the closure returns, however it returns.
let mountPoint = FilePath(CommandLine.arguments[2])
mkdir(mountPoint.string, 0o755)
try await withMount(of: view, at: mountPoint) { mount in
  // 4. Use it like any other directory.
  print("\(closure.count) packages at \(mount.mountPoint)")
  let program = mount.mountPoint.appending("bin").appending(package.name)
  var target = [CChar](repeating: 0, count: 4096)
  let count = readlink(program.string, &target, target.count - 1)
  if count > 0 { print("\(program) → \(String(decoding: target[..<count].map(UInt8.init(bitPattern:)), as: UTF8.self))") }
}
