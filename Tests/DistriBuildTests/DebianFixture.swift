// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriBuild
import DistriStore
import Foundation
import SystemPackage
import TestSupport
import Testing

/// An archive of small Debian packages, made with Debian's own tools and read by apt.
final class DebianFixture {
  let directory: TemporaryDirectory
  private let libraries = "usr/lib/x86_64-linux-gnu"

  init() throws {
    directory = try TemporaryDirectory()
    for folder in ["archive", "build", "ro", "lists/partial", "store", "debs"] {
      try FileManager.default.createDirectory(atPath: path(folder), withIntermediateDirectories: true)
    }
    try write(Array("deb [trusted=yes] file:\(path("archive")) ./\n".utf8), to: FilePath(path("sources.list")))
  }

  func path(_ name: String) -> String { directory.path.appending(name).string }

  /// apt, of this archive alone.
  var aptOptions: [String] {
    ["Dir::Etc::sourcelist=\(path("sources.list"))", "Dir::Etc::sourceparts=/dev/null", "Dir::State::lists=\(path("lists"))"]
  }

  /// Runs a shell script in the directory where packages are built.
  func shell(_ script: String) throws {
    let process = Process()
    process.executableURL = URL(filePath: "/bin/bash")
    process.arguments = ["-euc", script]
    process.currentDirectoryURL = URL(filePath: path("build"))
    process.standardOutput = FileHandle.nullDevice
    let errors = Pipe()
    process.standardError = errors
    try process.run()
    let words = String(decoding: errors.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
    process.waitUntilExit()
    try #require(process.terminationStatus == 0, "\(script)\n\(words)")
  }

  /// Makes a package of what the script puts into `$root`.
  func package(_ name: String, _ version: String, control: String = "", postinst: String = "", _ script: String) throws {
    try shell(
      """
      root=$PWD/\(name); rm -rf $root; mkdir -p $root/DEBIAN
      printf 'Package: %s\\nVersion: %s\\nArchitecture: amd64\\nMaintainer: Nobody <n@example>\\nDescription: The %s \\n' \
        \(name) '\(version)' \(name) > $root/DEBIAN/control
      cat >> $root/DEBIAN/control <<'END'
      \(control)
      END
      sed -i '/^$/d' $root/DEBIAN/control
      \(script)
      if [ -n '\(postinst.isEmpty ? "" : "x")' ]; then cat > $root/DEBIAN/postinst <<'END'
      #!/bin/sh
      \(postinst)
      END
      chmod 755 $root/DEBIAN/postinst; fi
      find $root -exec touch -h -d @1700000000 {} +
      rm -f ../archive/\(name)_*.deb
      dpkg-deb --build -Znone $root ../archive/\(name)_1.deb
      """)
  }

  /// The C library of this machine as a package: what the other packages' programs need to run.
  func packageLibC(_ version: String = "2.36-9") throws {
    try package(
      "libc6", version,
      """
      mkdir -p $root/lib64 $root/\(libraries)
      cp -L /lib64/ld-linux-x86-64.so.2 /lib/x86_64-linux-gnu/libc.so.6 $root/\(libraries)/
      ln -s /\(libraries)/ld-linux-x86-64.so.2 $root/lib64/ld-linux-x86-64.so.2
      """)
  }

  func packageLibrary(_ version: String = "1:1.0-2", answer: Int = 42) throws {
    try package(
      "libanswer1", version, control: "Depends: libc6 (>= 2.1)\nProvides: answer-abi (= 1)",
      """
      mkdir -p $root/\(libraries)/private
      echo 'int hidden(void) { return 1; }' | gcc -shared -fPIC -x c - -Wl,-soname,libhidden.so -o $root/\(libraries)/private/libhidden.so
      echo 'int hidden(void); int answer(void) { return \(answer - 1) + hidden(); }' | gcc -shared -fPIC -x c - -Wl,-soname,libanswer.so.1 \
        -Wl,-rpath,/\(libraries)/private -L $root/\(libraries)/private -lhidden -o $root/\(libraries)/libanswer.so.1.0
      ln -s libanswer.so.1.0 $root/\(libraries)/libanswer.so.1
      """)
  }

  func packageTool(_ version: String = "3.4~rc1+b1-1", postinst: String = "") throws {
    try package(
      "tool", version, control: "Depends: libanswer1 (>= 1:1.0) | no-such-package, answer-abi\nHomepage: https://tool.example",
      postinst: postinst,
      #"""
      mkdir -p $root/bin $root/sbin $root/usr/bin $root/usr/sbin $root/usr/share/tool $root/usr/lib/tool $root/etc/tool \
        $root/var/lib/tool/plain $root/var/cache $root/run $root/opt/tool $root/usr/lib/x86_64-linux-gnu/pkgconfig
      echo '#include <unistd.h>
      int answer(void); int main(int c, char **v) { return write(1, v[0], 0) < 0 || (c > 1 && v[1][0] == 0) ? 1 : answer(); }' |
        gcc -x c - -L ../build/libanswer1/usr/lib/x86_64-linux-gnu -l:libanswer.so.1.0 \
          -Wl,-rpath-link,../build/libanswer1/usr/lib/x86_64-linux-gnu/private -o $root/usr/bin/tool
      ln $root/usr/bin/tool $root/usr/bin/tool-again
      ln -s tool $root/usr/bin/tool-link
      ln -s /usr/bin/tool $root/bin/tool
      ln -s /bin/tool $root/sbin/tool-admin
      cp $root/usr/bin/tool $root/usr/bin/powerful; chmod 4755 $root/usr/bin/powerful; chown 0:33 $root/usr/bin/powerful; chmod 4755 $root/usr/bin/powerful
      printf '#!/bin/sh\necho hello\n' > $root/usr/bin/shell-script
      printf '#! /usr/bin/tool -x\nbody\n' > $root/usr/bin/tool-script
      printf '#!/usr/bin/env tool\nbody\n' > $root/usr/sbin/env-script
      chmod 755 $root/usr/bin/*script $root/usr/sbin/*
      echo data > $root/usr/share/tool/data
      ln -s /usr/share/tool/data $root/usr/lib/tool/absolute
      ln -s ../../share/tool/data $root/usr/lib/tool/relative
      ln -s /usr/lib/x86_64-linux-gnu/libanswer.so.1 $root/usr/lib/tool/other
      ln -s /var/lib/tool $root/usr/lib/tool/state
      ln -s ../../etc/tool/conf $root/usr/share/conf
      ln -s /usr/lib/nobody/has/this $root/usr/lib/tool/nowhere
      echo setting > $root/etc/tool/conf
      ln -s ../../usr/share/tool/data $root/etc/tool/data
      ln -s conf $root/etc/tool/same
      chmod 750 $root/var/lib/tool; chown 33:33 $root/var/lib/tool
      echo 'seed' > "$root/var/lib/tool/a seed 100%"; ln -s /run/lock $root/var/lock; mkfifo $root/var/lib/tool/pipe
      echo optional > $root/opt/tool/file
      echo '/* GNU ld script */ GROUP ( /usr/lib/x86_64-linux-gnu/libanswer.so.1 AS_NEEDED ( /lib64/ld-linux-x86-64.so.2 ) -lm )' \
        > $root/usr/lib/x86_64-linux-gnu/libtool.so
      printf 'prefix=/usr\nlibdir=${prefix}/lib\nCflags: -I/usr/include/tool -I/usrx\n' > $root/usr/lib/x86_64-linux-gnu/pkgconfig/tool.pc
      """#)
  }

  /// Makes index files and has apt read them.
  func publish() throws {
    try shell("cd ../archive; dpkg-scanpackages -m . > Packages 2>/dev/null")
    let options = aptOptions.map { "-o '\($0)'" }.joined(separator: " ")
    try shell("apt-get \(options) -o APT::Sandbox::User= -qq update")
  }

  var store: LocalStore {
    get throws { try LocalStore(path: FilePath(path("store"))) }
  }

  func importer(
    _ definition: String = "", lock: ImportLock? = nil, updatesLock: Bool = false, store: String = "store"
  ) throws -> Importer {
    Importer(
      store: try LocalStore(path: FilePath(path(store))),
      definition: try ImportDefinition(bytes: Array(definition.utf8), path: "test.import.textproto"), lock: lock,
      updatesLock: updatesLock, debs: FilePath(path("debs")), workDirectory: FilePath(path("work-\(UUID().uuidString)")),
      aptOptions: aptOptions)
  }
}

extension PackageImage {
  /// Every path with what `lstat` would say, links with their targets.
  func listing() throws -> [String: String] {
    var result: [String: String] = [:]
    func walk(_ directory: Node, _ path: String) throws {
      for entry in try entries(of: directory) {
        let name = path + entry.name.description
        let attributes = try attributes(of: entry.node)
        switch attributes.kind {
        case .directory: try walk(entry.node, name + "/")
        case .symbolicLink: result[name] = "→ " + String(decoding: try symbolicLinkTarget(of: entry.node), as: UTF8.self)
        default:
          result[name] = "\(attributes.kind) \(String(attributes.permissions, radix: 8)) \(attributes.userID):\(attributes.groupID)"
        }
      }
    }
    try walk(root, "")
    return result
  }

  func text(_ path: String) throws -> String {
    let node = try #require(try node(at: try TreePath(parsing: path)))
    return String(decoding: try contents(of: node, limit: 1 << 24), as: UTF8.self)
  }

  func elf(_ path: String) throws -> ELFFile {
    let node = try #require(try node(at: try TreePath(parsing: path)))
    return try #require(try ELFFile(try contents(of: node, limit: 1 << 24), named: path))
  }
}
