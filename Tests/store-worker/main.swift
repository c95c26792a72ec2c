// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

// What the tests of DistriStore do in a process of its own, because it is killed, or must not exceed a limit.
//   store-worker write STORE PREFIX             commits and removes packages until it is killed
//   store-worker write STORE PREFIX COUNT       so many revisions
//   store-worker extract DIRECTORY ARCHIVE…     extracts each archive below the directory, says how it ended and the peak memory
//   store-worker generations STORE SEED COUNT   so many installations, removals, ways back and collections at random
//   store-worker collect STORE KEEP             a collection that keeps so many generations
//   store-worker reserve STORE PACKAGE…         keeps packages until it is killed
//   store-worker idle DIRECTORY FILE…           has files below a directory open until it is killed, its own directory being the first one

import DistriArchive
import DistriStore
import Foundation
import Glibc
import SystemPackage
import TestSupport

func write(store: LocalStore, prefix: String, count: UInt64) async throws {
  let own = try store.packages().filter { $0.name.hasPrefix(prefix) }
  let first = (own.map(\.revision).max() ?? 0) + 1
  let parent = getppid()
  for revision in first..<(first + count) {
    // A test that was ended from outside cannot end this program any more.
    guard getppid() == parent else { return }
    let packages = try ["a", "b", "c"].map {
      try PackageID(name: prefix + $0, architecture: .amd64, upstream: "1", revision: revision)
    }
    try await store.transaction { area in
      for package in packages {
        var tree = SampleTree(of: package)
        let byteCount = try area.stage(&tree, of: package).contentByteCount
        try area.stage(PackageMetadata(version: package.version, summary: "\(byteCount)"), of: package)
      }
    }
    let old = try store.packages().filter { $0.name.hasPrefix(prefix) && $0.revision + 3 < revision }
    if count == .max >> 1, !old.isEmpty { try await store.remove(old) }
  }
}

func extract(_ archive: String, into directory: FilePath) -> String {
  do {
    var limits = ArchiveTree.Limits()
    limits.byteCount = 64 << 20
    if archive.hasSuffix(".deb") {
      var data = try DebianArchive(path: FilePath(archive)).data(limits: limits)
      try TreeExtractor.extract(&data, into: directory, options: .init(devices: .skip))
    } else {
      var tree = try ArchiveTree(path: FilePath(archive), limits: limits)
      try TreeExtractor.extract(&tree, into: directory, options: .init(devices: .skip))
    }
    return "whole"
  } catch let error as StoreError {
    return "error: \(error)"
  } catch {
    return "untyped error: \(error)"
  }
}

/// It is killed, or its parent was.
func untilParentEnds() async {
  let parent = getppid()
  while getppid() == parent { try? await Task.sleep(for: .milliseconds(100)) }
}

let arguments = CommandLine.arguments
switch arguments.dropFirst().first {
case "write" where arguments.count >= 4:
  let count = arguments.count > 4 ? UInt64(arguments[4]) ?? 1 : .max >> 1
  try await write(store: LocalStore(path: FilePath(arguments[2])), prefix: arguments[3], count: count)
case "extract" where arguments.count >= 4:
  for (index, archive) in arguments.dropFirst(3).enumerated() {
    print(extract(archive, into: FilePath(arguments[2]).appending("\(index)")))
  }
  // Not getrusage's: that counts what the program had that started this one.
  let status = try String(contentsOfFile: "/proc/self/status", encoding: .utf8)
  let peak = status.split(separator: "\n").first { $0.hasPrefix("VmHWM:") }?.split(separator: " ")
  print("peak \(peak?.dropFirst().first ?? "") KiB")
case "generations" where arguments.count == 5:
  var worker = GenerationWorker(
    store: try LocalStore(path: FilePath(arguments[2]), patience: .seconds(300)), random: UInt64(arguments[3]) ?? 0)
  try await worker.run(count: Int(arguments[4]) ?? 0)
case "collect" where arguments.count == 4:
  let store = try LocalStore(path: FilePath(arguments[2]))
  _ = try await Collector(store, keeping: .init(count: Int(arguments[3]) ?? 1)).collect()
case "reserve" where arguments.count >= 4:
  let packages = try arguments.dropFirst(3).map { try PackageID(parsing: $0) }
  let held = try await LocalStore(path: FilePath(arguments[2])).reserve(packages)
  await untilParentEnds()
  withExtendedLifetime(held) {}
case "idle" where arguments.count >= 4:
  let root = FilePath(arguments[2])
  guard chdir(root.appending(arguments[3]).string) == 0 else { exit(1) }
  for name in arguments.dropFirst(4) { _ = try FileDescriptor.open(root.appending(name), .readOnly) }
  if let last = arguments.last { unlink(root.appending(last).string) }
  await untilParentEnds()
default:
  exit(64)
}
