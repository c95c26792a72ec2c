// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriFS
import DistriStore
import FSTestSupport
import Foundation
import SystemPackage
import TestSupport
import Testing

extension MountTests {
  /// What the kernel remembers, and what makes it forget: counted by a file system between the mount and the view.
  @Suite struct KernelMemoryTests {
    private func walkAndRead(_ root: FilePath) throws { _ = try TreeRecord.tree(at: root) }

    private func exists(_ path: FilePath) -> Bool { access(path.string, F_OK) == 0 }

    private func makeStore() async throws -> TestStore {
      let store = try TestStore()
      for name in ["a", "b"] {
        try await store.add(
          "\(name)-amd64-1-1", ["bin/\(name)": name, "out/lib/\(name).so": name, "out/share/doc/\(name)/copyright": "free"])
      }
      return store
    }

    @Test func `a second walk, with all reads and links, reaches the view for attributes of files at most`() async throws {
      let store = try await makeStore()
      let view = CountingFileSystem(try PackageFileSystem(store: store.local))
      try await withMount(of: view, at: store.mountPoint) { mount in
        let root = mount.mountPoint
        // Lists, then resolves, so that the kernel has seen everything.
        for _ in 0..<2 { try await onThread { try walkAndRead(root) } }
        _ = view.takeQuestions()
        try await onThread { try walkAndRead(root) }
        let asked = view.takeQuestions().filter { question in
          // The kernel keeps no extended attributes.
          if case .extendedAttributes = question { return false }
          return true
        }
        #expect(asked == [], "the kernel asks again for what it has been told to keep")
      }
    }

    @Test func `a name that does not exist reaches the view once`() async throws {
      let store = try await makeStore()
      let view = CountingFileSystem(try PackageFileSystem(store: store.local))
      try await withMount(of: view, at: store.mountPoint) { mount in
        let root = mount.mountPoint
        let absent = ["absent", "bin/absent", "lib/absent.so", "a-amd64-1-1/absent", "a-amd64-1-1/out/lib/absent", "c-amd64-1-1"]
        for round in 0..<3 {
          for path in absent {
            let isThere = try await onThread { exists(root.pushing(FilePath(path))) }
            #expect(!isThere)
            let asked = view.takeQuestions().filter { question in
              if case .lookUp(let name, _) = question { return name.contains("absent") || name == "c-amd64-1-1" }
              return false
            }
            #expect(asked.count == (round == 0 ? 1 : 0), "\(path), asked for the \(round + 1). time: \(asked)")
          }
        }
      }
    }

    @Test func `after a package arrives, only the names that changed are asked for again`() async throws {
      let store = try await makeStore()
      try await store.makeImage("c-amd64-1-1", ["bin/c": "c", "out/share/doc/c/copyright": "free", "out/lib/a.so": "loses"])
      let view = CountingFileSystem(try PackageFileSystem(store: store.local))
      try await withMount(of: view, at: store.mountPoint) { mount in
        let root = mount.mountPoint
        let unrelated = ["bin/a", "bin/b", "lib/a.so", "share/doc/a/copyright", "a-amd64-1-1/bin/a", "b-amd64-1-1/out/lib/b.so"]
        let absent = ["bin/none", "lib/none.so", "share/doc/none", "b-amd64-1-1/none", "none-amd64-1-1"]
        let known = unrelated + absent
        for _ in 0..<2 {
          for path in known { _ = try await onThread { exists(root.pushing(FilePath(path))) } }
          try await onThread { try walkAndRead(root) }
        }
        #expect(try await onThread { !exists(root.appending("bin/c")) })
        for isThere in [true, false] {
          _ = (view.takeQuestions(), view.takeChanges())
          if isThere {
            try store.publish("c-amd64-1-1")
          } else {
            try store.remove("c-amd64-1-1")
          }
          let last = root.appending("share/doc/c")
          #expect(try await eventually { exists(last) == isThere && exists(root.appending("c-amd64-1-1")) == isThere })
          _ = view.takeQuestions()
          for path in known { _ = try await onThread { exists(root.pushing(FilePath(path))) } }
          let names = view.takeQuestions().compactMap { question -> String? in
            if case .lookUp(let name, _) = question { return name }
            return nil
          }
          #expect(names == [], "a package that \(isThere ? "arrives" : "goes") makes the kernel ask for names that did not change")
          let changed = Set(
            view.takeChanges().compactMap { change -> String? in
              if case .entry(let name, _) = change { return name.description }
              return nil
            })
          // lib/a.so is a's before and after.
          #expect(changed == ["c", "c-amd64-1-1"])
        }
      }
    }

    @Test func `a change of the store that shows nothing new tells the kernel nothing`() async throws {
      let store = try await makeStore()
      try await store.makeImage("z-amd64-1-1", ["bin/z": "z"])
      let view = CountingFileSystem(try PackageFileSystem(store: store.local))
      try await withMount(of: view, at: store.mountPoint) { mount in
        let root = mount.mountPoint
        try await onThread { try walkAndRead(root) }
        for name in ["README", ".hidden", "x-amd64-1-1.meta.textproto", "a-amd64-1-1.meta.textproto"] {
          try Data("version: \"1\"\n".utf8).write(to: URL(fileURLWithPath: store.path.appending(name).string))
        }
        try await succeed("mkdir", ["-p", store.path.appending(".index").string, store.path.appending("debug").string])
        // What comes afterwards is seen, so that all before it has been looked at.
        try store.publish("z-amd64-1-1")
        #expect(try await eventually { exists(root.appending("bin/z")) })
        let names = Set(
          view.takeChanges().compactMap { change -> String? in
            if case .entry(let name, _) = change { return name.description }
            return nil
          })
        #expect(names == ["z", "z-amd64-1-1"])
      }
    }
  }
}
