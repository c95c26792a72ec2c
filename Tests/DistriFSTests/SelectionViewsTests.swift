// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriStore
import FSTestSupport
import Foundation
import SystemPackage
import Testing

@testable import DistriFS

/// Views that begin with the view of another selection.
@Suite struct SelectionViewsTests {
  private func slots(_ store: TestStore) -> [String] {
    let names = (try? FileManager.default.contentsOfDirectory(atPath: store.path.appending(".index").string)) ?? []
    return names.filter { $0.hasPrefix("view-") }
  }

  @Test(arguments: 0..<3 as Range<UInt64>) func `what a selection shows does not depend on those before`(seed: UInt64) async throws
  {
    var random = SplitMix(seed)
    let store = try TestStore()
    let fresh = try TestStore()
    // Where this is a file, nothing can be kept.
    try Data().write(to: URL(fileURLWithPath: fresh.path.appending(".index").string))
    var all: [PackageID] = []
    for number in 0..<14 {
      let name = "p\(number % 9)-amd64-\(number / 9 + 1)-1"
      var files: [String: String] = ["bin/p\(number)": "", "bin/common": "\(number)", "out/share/d\(number % 3)/f\(number)": ""]
      files["out/lib/\(["x", "x/y", "x/y/z"][number % 3])"] = ""
      for store in [store, fresh] { try await store.add(name, files) }
      all.append(try PackageID(parsing: name))
    }
    let own = try PackageID(parsing: "own-amd64-1-1")
    for _ in 0..<12 {
      let only = all.filter { _ in random.next() % 3 > 0 } + [own]
      let first = try PackageFileSystem(store: store.local, only: only, reserving: own)
      let second = try PackageFileSystem(store: fresh.local, only: only, reserving: own)
      #expect(try contents(first) == contents(second))
      #expect(first.view.packages == second.view.packages)
      #expect(first.conflicts == second.conflicts)
    }
    #expect(!slots(store).isEmpty && slots(store).count <= Int(SelectionViews.count) + 1)
    // An image that was replaced is shown as it is now, and one that has gone is missed.
    let last = try #require(all.last)
    _ = try PackageFileSystem(store: store.local, only: all)
    try store.remove(last.description)
    #expect(throws: StoreError.notFound(last.description)) { try PackageFileSystem(store: store.local, only: all) }
    try FileManager.default.removeItem(atPath: store.file("tree-\(last)").string)
    try await store.add(last.description, ["bin/new": "new"])
    let again = try contents(try PackageFileSystem(store: store.local, only: all))
    #expect(again["/bin/new"] != nil && again["/bin/p13"] == nil)
  }

  @Test func `the same selection begins with its own view, another with the nearest`() async throws {
    let store = try TestStore()
    let all = try (0..<6).map { try PackageID(parsing: "p\($0)-amd64-1-1") }
    for package in all { try await store.add(package.description, ["bin/\(package.name)": ""]) }
    let views = SelectionViews(try store.local, ExchangeSource.packages)
    #expect(views.nearest(to: Set(all)) == nil)
    for few in [all[0..<4], all[1..<6]] {
      _ = try PackageFileSystem(store: store.local, only: Array(few))
    }
    func nearest(_ packages: ArraySlice<PackageID>) -> [String]? {
      views.nearest(to: Set(packages))?.view().shown.map(\.description)
    }
    #expect(nearest(all[0..<4]) == all[0..<4].map(\.description))
    #expect(nearest(all[1..<5]) == all[1..<6].map(\.description))
    // Nothing in common.
    #expect(views.nearest(to: [try PackageID(parsing: "q-amd64-1-1")]) == nil)
    #expect(try PackageFileSystem(store: store.local, only: Array(all[1..<6])).view.changed.isEmpty)
    // One that was damaged is not used.
    for name in slots(store) {
      let url = URL(fileURLWithPath: store.path.appending(".index/\(name)").string)
      var bytes = try Data(contentsOf: url)
      bytes[bytes.count - 9] ^= 1
      try bytes.write(to: url)
    }
    let shown = try PackageFileSystem(store: store.local, only: Array(all[1..<6]))
    #expect(shown.view.file == nil && shown.view.packages == Array(all[1..<6]))
  }
}
