// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore
import Glibc
import SystemPackage
import TestSupport

/// Installs, removes, rolls back and collects at random until it is killed, or so many times.
struct GenerationWorker {
  let store: LocalStore
  var random: UInt64

  mutating func next(_ limit: UInt64) -> UInt64 {
    random = random &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
    return (random >> 33) % limit
  }

  mutating func run(count: Int) async throws {
    let parent = getppid()
    for _ in 0..<count {
      // A test that was ended from outside cannot end this program any more.
      guard getppid() == parent else { return }
      do {
        switch next(10) {
        case 0...4: try await install()
        case 5: try await removeOne()
        case 6: try await update()
        case 7: try await rollBack()
        default: try await collect()
        }
      } catch StoreError.locked {
        // Others were busy for long.
      }
    }
  }

  /// Closures overlap: libraries come from what other installations have brought, or are brought along.
  private mutating func install() async throws {
    let program = try PackageID(name: "p\(next(5))", architecture: .amd64, upstream: "1", revision: next(60) + 1)
    // What a package needs follows from its name.
    let needs = try Self.needs(of: program)
    try await store.transaction(making: { context in
      var selection = context.selection
      selection.want(try PackageQuery(parsing: program.name))
      selection = try selection.resolved(with: [program]) { package throws(StoreError) in try context.metadata(of: package) }
      return GenerationChange(selection: selection, time: 1, command: "install \(program)")
    }) { [store] area in
      for package in try await store.reserve([program] + needs, in: area) {
        var tree = SampleTree(of: package)
        try area.stage(&tree, of: package)
        try area.stage(
          PackageMetadata(runtimeDependencies: try Self.needs(of: package), version: package.version), of: package)
      }
    }
  }

  private static func needs(of package: PackageID) throws -> [PackageID] {
    guard package.name.hasPrefix("p") else { return [] }
    return try (0..<3).map {
      try PackageID(name: "lib\($0)", architecture: .amd64, upstream: "1", revision: package.revision / 7 + 1)
    }
  }

  private mutating func removeOne() async throws {
    let choice = Int(next(8))
    try await store.makeGeneration { context in
      var selection = context.selection
      guard selection.wants.count > choice else { return nil }
      selection.wants.remove(at: choice)
      selection = try selection.resolved { package throws(StoreError) in try context.metadata(of: package) }
      return GenerationChange(selection: selection, time: 1, command: "remove")
    }
  }

  private func update() async throws {
    try await store.makeGeneration { context in
      // To what happens to be there: whole closures only.
      let candidates = try context.packages.filter { $0.name.hasPrefix("p") }.filter {
        try context.metadata(of: $0).runtimeDependencies.allSatisfy(context.packages.contains)
      }
      let selection = try context.selection.resolved(with: candidates.sorted()) { package throws(StoreError) in
        try context.metadata(of: package)
      }
      return GenerationChange(selection: selection, time: 1, command: "update")
    }
  }

  private mutating func collect() async throws {
    do {
      _ = try await Collector(store, keeping: .init(count: Int(next(4)) + 1)).collect()
    } catch StoreError.noGeneration(nil, _) {
      // Nothing has been installed yet.
    }
  }

  private mutating func rollBack() async throws {
    let numbers = try store.generations.numbers()
    guard !numbers.isEmpty else { return }
    do {
      try await store.switchGeneration(to: numbers[Int(next(UInt64(numbers.count)))])
    } catch StoreError.noGeneration {
      // Collected meanwhile. Nothing else may fail.
    }
  }
}
