// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriFS
import DistriStore
import FSTestSupport
import Foundation
import SystemPackage
import Testing

extension MountTests {
  @Suite struct LoadTests {
    @Test func `a directory of a hundred thousand entries is listed whole`() async throws {
      let fileSystem = MemoryFileSystem()
      let many = try fileSystem.add("many", kind: .directory, permissions: 0o755)
      try fileSystem.addMany(100_000, in: many)
      let store = try TestStore()
      try await withMount(of: fileSystem, at: store.mountPoint) { mount in
        let path = mount.mountPoint.appending("many")
        let names = try await onThread { try TreeRecord.names(in: path) }
        #expect(names.count == 100_000)
        #expect(Set(names).count == 100_000)
        // From the kernel's memory, and still whole.
        #expect(try await onThread { try TreeRecord.names(in: path) } == names)
      }
    }

    @Test func `a big directory of a package is listed whole, and its links in the exchange directory`() async throws {
      let store = try TestStore()
      let tree = store.file("tree/out/share/many")
      try FileManager.default.createDirectory(atPath: tree.string, withIntermediateDirectories: true)
      for index in 0..<20_000 {
        guard FileManager.default.createFile(atPath: tree.appending("file-\(index)").string, contents: nil) else {
          throw Errno.ioError
        }
      }
      try await store.makeImage("many-amd64-1-1", of: store.file("tree"))
      try store.publish("many-amd64-1-1")
      try await withMount(of: try PackageFileSystem(store: store.local), at: store.mountPoint) { mount in
        for directory in ["many-amd64-1-1/out/share/many", "share/many"] {
          let path = mount.mountPoint.appending(directory)
          let names = try await onThread { try TreeRecord.names(in: path) }
          #expect(Set(names) == Set((0..<20_000).map { "file-\($0)" }))
          #expect(names.count == 20_000)
        }
      }
    }

    @Test func `parallel readers all get the right bytes while packages come and go`() async throws {
      let store = try TestStore()
      var expected: [String: [UInt8]] = [:]
      for (index, options) in [["-noI", "-noD", "-noF", "-no-fragments"], ["-comp", "zstd"], ["-comp", "lz4"]].enumerated() {
        let files = (0..<20).reduce(into: [String: String]()) { files, number in
          files["out/lib/f\(number)"] = String(repeating: "\(index)-\(number)-", count: 1000 * number + 1)
        }
        try await store.add("p\(index)-amd64-1-1", files, options: options)
        for (name, contents) in files { expected["p\(index)-amd64-1-1/\(name)"] = Array(contents.utf8) }
      }
      try await store.makeImage("x-amd64-1-1", ["out/lib/x": "x"])
      try await withMount(of: try PackageFileSystem(store: store.local), at: store.mountPoint) { mount in
        let (root, files) = (mount.mountPoint, expected)
        try await withThrowingTaskGroup(of: Int.self) { group in
          for _ in 0..<6 {
            group.addTask {
              try await onThread {
                try (0..<3).reduce(0) { wrong, _ in
                  try files.reduce(wrong) { wrong, file in
                    try TreeRecord.bytes(of: root.pushing(FilePath(file.key))) == file.value ? wrong : wrong + 1
                  }
                }
              }
            }
          }
          group.addTask {
            for _ in 0..<10 {
              try store.publish("x-amd64-1-1")
              guard try await eventually({ try TreeRecord.names(in: root.appending("lib")).contains("x") }) else { return 1000 }
              try FileManager.default.moveItem(
                atPath: store.path.appending("x-amd64-1-1.squashfs").string, toPath: store.file("x-amd64-1-1.image").string)
              guard try await eventually({ try !TreeRecord.names(in: root.appending("lib")).contains("x") }) else { return 2000 }
            }
            return 0
          }
          for try await wrong in group { #expect(wrong == 0) }
        }
      }
    }
  }
}
