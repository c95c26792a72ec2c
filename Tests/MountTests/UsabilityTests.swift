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
  /// What people do with files, through the view as on ext4.
  @Suite struct UsabilityTests {
    /// A view of the sample tree and of what the body puts into the store, mounted; the body gets the mount point.
    private func withView(
      privileged: Bool = true, _ prepare: (TestStore) async throws -> Void = { _ in },
      _ body: (FilePath, TestStore) async throws -> Void
    ) async throws {
      let store = try TestStore()
      try await succeed("chmod", ["755", store.mountPoint.removingLastComponent().string])
      try await prepare(store)
      var options = MountOptions()
      options.honorsPrivileges = privileged
      try await withMount(of: try PackageFileSystem(store: store.local), at: store.mountPoint, options: options) { mount in
        try await body(mount.mountPoint, store)
      }
    }

    private func addSample(_ store: TestStore) async throws {
      let tree = store.file("sample")
      try SampleTree.make(at: tree)
      // Long ago: some tools take a time in this second for the same.
      try await succeed("find", [tree.string, "-exec", "touch", "-h", "-d", "@1000000000", "{}", "+"])
      try await store.makeImage("sample-amd64-1-1", of: tree)
      try store.publish("sample-amd64-1-1")
    }

    private func packageOf(_ tree: FilePath, _ name: String, _ store: TestStore) async throws {
      try await store.makeImage(name, of: tree)
      try store.publish(name)
    }

    @Test(arguments: [
      "cp -a \"$1/.\" \"$2\"",
      "rsync -aHX --numeric-ids \"$1/\" \"$2/\"",
      "tar -C \"$1\" -c --xattrs --xattrs-include='*' --numeric-owner . | tar -C \"$2\" -x --xattrs --xattrs-include='*' --numeric-owner -p",
    ])
    func `a copy of a package equals it`(command: String) async throws {
      try await withView(addSample) { root, store in
        let copy = store.file("copy")
        try await succeed("mkdir", [copy.string])
        let package = root.appending("sample-amd64-1-1")
        try await succeed("bash", ["-o", "pipefail", "-ec", command, "sh", package.string, copy.string])
        let outcome = try await Script.run("trees.py", [package.string, copy.string])
        #expect(outcome.status == 0, "after «\(command)»:\n\(outcome.output)\(outcome.errors)")
      }
    }

    @Test func `rsync finds nothing to do in a copy, and diff no difference`() async throws {
      try await withView(addSample) { root, store in
        let package = root.appending("sample-amd64-1-1").string
        let copy = store.file("copy").string
        try await succeed("rsync", ["-aHX", package + "/", copy + "/"])
        #expect(try await succeed("rsync", ["-aHXn", "--itemize-changes", "--checksum", package + "/", copy + "/"]) == "")
        try await succeed("diff", ["-r", "--no-dereference", package + "/etc", copy + "/etc"])
        try await succeed("diff", ["-r", "--no-dereference", package + "/out/lib", copy + "/out/lib"])
      }
    }

    @Test func `ls, find and du say what they say of the kernel's mount`() async throws {
      try await withView(addSample) { root, store in
        let commands = """
          cd "$1" && ls -lan --time-style=+%s out | sed 1d | awk '$1 !~ /^d/' && ls -lanR --time-style=+%s etc out/bin | grep -v ^total | awk '$1 !~ /^d/'
          find . -printf '%P %y %m %n %U %G %T@ %l\\n' | sort
          find . -type f -size +100k | sort; find . -perm -4000; find . -links +1 -type f | sort; find . -empty | sort; find . -newermt 2100-01-01
          find . -type l -o -type p -o -type c -o -type b | sort; find out -name 'file-1*' | sort | sha256sum; wc -c out/odd out/sparse
          """
        let image = store.file("sample-amd64-1-1.image")
        try await succeed("cp", [store.path.appending("sample-amd64-1-1.squashfs").string, image.string])
        let expected = try await withKernelMount(of: image, at: store.file("kernel")) {
          try await succeed("bash", ["-ec", commands, "sh", $0.string])
        }
        let seen = try await succeed("bash", ["-ec", commands, "sh", root.appending("sample-amd64-1-1").string])
        #expect(seen == expected)
        #expect(seen.contains("out/bin/suid f 4754"))
      }
    }

    @Test func `inode numbers and listings are the same after a remount`() async throws {
      let store = try TestStore()
      try await addSample(store)
      try await store.add("other-amd64-1-1", ["bin/other": "o", "out/lib/deep/er/other": "o"])
      var seen: [String] = []
      for _ in 0..<3 {
        try await withMount(of: try PackageFileSystem(store: store.local), at: store.mountPoint) { mount in
          // Twice: from the view, and from the kernel's memory. Unsorted: the order is to be the same, too.
          for _ in 0..<2 { seen.append(try await succeed("find", [mount.mountPoint.string, "-printf", "%i %y %P\n"])) }
        }
      }
      #expect(seen[0].split(separator: "\n").count > 640)
      #expect(Set(seen).count == 1, "the listings of three mounts of one store differ")
      let numbers = seen[0].split(separator: "\n").map { $0.split(separator: " ")[0] }
      // Only hard links share a number: out/bin/hello and out/hard.
      #expect(Set(numbers).count == numbers.count - 1)
    }

    @Test func `git clones, checks and reads a bare repository that lies in a package`() async throws {
      try await withView({ store in
        let tree = store.file("git").string
        let script = """
          export GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_SYSTEM=/dev/null
          mkdir -p "$1/out/share" "$1-work" && cd "$1-work" && git init -q . && git config user.name t && git config user.email t@example.org
          for i in 1 2 3; do mkdir -p d$i && echo $i > d$i/file && ln -sf file d$i/link && git add -A && git commit -q -m "change $i"; done
          git clone -q --bare . "$1/out/share/repo.git"
          """
        try await succeed("bash", ["-ec", script, "sh", tree])
        try await packageOf(store.file("git"), "repo-amd64-1-1", store)
      }) { root, store in
        let script = """
          export GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_SYSTEM=/dev/null
          repo=$1/repo-amd64-1-1/out/share/repo.git
          git --git-dir "$repo" fsck --full --strict 2>&1
          git clone -q "$repo" "$2"; cd "$2"; git status --porcelain; git log --format=%s; cat d3/file d2/link
          """
        let output = try await succeed("bash", ["-ec", script, "sh", root.string, store.file("clone").string])
        #expect(output == "change 3\nchange 2\nchange 1\n3\n2\n")
      }
    }

    @Test func `gcc finds headers through the include directory, and names where they are`() async throws {
      try await withView({ store in
        try await store.add(
          "zlib-amd64-1-1",
          ["out/include/zlib.h": "#include \"zconf.h\"\n#define ANSWER 42\n", "out/include/zconf.h": "typedef int z;\n"])
        try await store.add("sys-amd64-1-1", ["out/include/sys/own.h": "#include <zlib.h>\nstatic z answer = ANSWER;\n"])
      }) { root, store in
        let source = store.file("main.c").string
        try Data("#include <sys/own.h>\nint main(void) { return answer; }\n".utf8).write(to: URL(fileURLWithPath: source))
        let program = store.file("main").string
        let outcome = try await ToolProcess.run(
          "gcc", ["-H", "-nostdinc", "-I", root.appending("include").string, "-o", program, source])
        #expect(outcome.status == 0, "\(outcome.errors)")
        let headers = outcome.errors.split(separator: "\n").filter { $0.hasPrefix(".") }
        #expect(
          headers == [
            ". \(root)/include/sys/own.h", ".. \(root)/include/zlib.h", "... \(root)/include/zconf.h",
          ])
        #expect(try await ToolProcess.run(program).status == 42)
      }
    }

    @Test(arguments: [["-noI", "-noD", "-noF", "-no-fragments"], ["-comp", "zstd"]])
    func `programs and libraries run from the mount, also with their memory mapped from it`(options: [String]) async throws {
      try await withView({ store in
        let tree = store.file("program")
        let script = """
          mkdir -p "$1/bin" "$1/out/lib" && cd "$1"
          echo 'int answer(void) { return 7; }' | gcc -x c -shared -fPIC -o out/lib/libanswer.so -
          echo 'int answer(void); int main(void) { return answer(); }' | gcc -x c -o bin/ask - -Lout/lib -lanswer
          cp /usr/bin/python3 bin/python; printf '#!/bin/sh\\nexit 9\\n' > bin/script; chmod 755 bin/*
          """
        try await succeed("bash", ["-ec", script, "sh", tree.string])
        try await store.makeImage("program-amd64-1-1", of: tree, options: options)
        try store.publish("program-amd64-1-1")
      }) { root, _ in
        let libraries = ["LD_LIBRARY_PATH": root.appending("lib").string]
        #expect(try await ToolProcess.run(root.appending("bin/ask").string, environment: libraries).status == 7)
        #expect(try await ToolProcess.run(root.appending("bin/script").string).status == 9)
        let program = """
          import mmap, sys
          file = open(sys.executable, "rb")
          for flags in (mmap.MAP_PRIVATE, mmap.MAP_SHARED):
            memory = mmap.mmap(file.fileno(), 0, flags=flags, prot=mmap.PROT_READ)
            assert memory[:] == open(sys.executable, "rb").read()
          print(open("/proc/self/maps").read().count("program-amd64-1-1/bin/python") > 2)
          """
        let python = try await ToolProcess.run(root.appending("bin/python").string, ["-c", program])
        #expect(python.output == "True\n", "\(python.errors)")
      }
    }
  }
}
