// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriFS
import FSTestSupport
import Foundation
import SystemPackage
import TestSupport
import Testing

extension MountTests {
  /// How `distri-fuse mount` fits into a system: fstab, service managers, ordinary users.
  @Suite struct MountToolTests {
    private func makeStore() async throws -> TestStore {
      let store = try TestStore()
      try await store.add("nano-amd64-7.2-1", ["bin/nano": "nano", "out/lib/libnano": "lib", "out/share/nano": "share"])
      return store
    }

    private var program: FilePath { ToolProcess.binaries.appending("distri-fuse") }

    private func shell(_ script: String, _ words: [String], environment: [String: String] = [:]) async throws -> ToolProcess.Outcome
    {
      try await ToolProcess.run("sh", ["-c", script, "sh"] + words, environment: environment)
    }

    @Test func `the helper of mount understands a line of fstab`() async throws {
      let store = try await makeStore()
      let helper = store.file("mount.fuse.distri").string
      try FileManager.default.createSymbolicLink(atPath: helper, withDestinationPath: program.string)
      let point = store.mountPoint.string
      let mounted = try await ToolProcess.run(
        helper,
        [
          store.path.string, point, "-n", "-v", "-o",
          "rw,nofail,_netdev,x-systemd.automount,nosuid,exchange=bin:lib,packages=nano,readahead=256",
        ])
      #expect(mounted.status == 0, "\(mounted.errors)")
      let names = try await onThread { try TreeRecord.names(in: store.mountPoint) }
      #expect(Set(names) == ["nano-amd64-7.2-1", "bin", "lib"])
      #expect(try MountTable.current().entry(at: Mount.canonical(store.mountPoint))?.source == Mount.canonical(store.path).string)
      #expect(try await ToolProcess.run("umount", [point]).status == 0)
      let unknown = try await ToolProcess.run(helper, [store.path.string, point, "-o", "ro,quickly"])
      #expect(unknown.status == 64)
      #expect(unknown.errors.contains("quickly"))
      // Sloppy, and only to try.
      #expect(try await ToolProcess.run(helper, [store.path.string, point, "-sf", "-o", "ro,quickly"]).status == 0)
      #expect(try await ToolProcess.run(helper, [store.path.string]).status == 64)
      #expect(try MountTable.current().entry(at: Mount.canonical(store.mountPoint)) == nil)
    }

    @Test func `exchange directories can be chosen, and unknown ones are named`() async throws {
      let store = try await makeStore()
      let wrong = try await ToolProcess.run(
        "distri-fuse", ["mount", "--exchange", "bin,etc", store.path.string, store.mountPoint.string])
      #expect(wrong.status == 64)
      #expect(wrong.errors.contains("no exchange directory etc; there are bin"))
      let one = try await ToolProcess.run(
        "distri-fuse", ["mount", "--exchange", "share", store.path.string, store.mountPoint.string])
      #expect(one.status == 0)
      let names = try await onThread { try TreeRecord.names(in: store.mountPoint) }
      #expect(Set(names) == ["nano-amd64-7.2-1", "share"])
      try Mount.unmount(store.mountPoint)
    }

    @Test(arguments: [false, true]) func `a service manager is told of the start and the end`(isAbstract: Bool) async throws {
      let store = try await makeStore()
      let name = isAbstract ? "@\(store.path)" : store.file("notify").string
      let socket = try NotifySocket(name)
      let process = Process()
      process.executableURL = URL(fileURLWithPath: program.string)
      process.arguments = ["mount", "--foreground", store.path.string, store.mountPoint.string]
      process.environment = ProcessInfo.processInfo.environment.merging(["NOTIFY_SOCKET": name]) { $1 }
      try process.run()
      #expect(try await onThread { try socket.receive() } == "READY=1\nMAINPID=\(process.processIdentifier)")
      #expect(try await onThread { try TreeRecord.bytes(of: store.mountPoint.appending("bin/nano")) } == Array("nano".utf8))
      kill(process.processIdentifier, SIGTERM)
      #expect(try await onThread { try socket.receive() } == "STOPPING=1")
      try await onThread { process.waitUntilExit() }
      #expect(process.terminationStatus == 0)
      #expect(try MountTable.current().entry(at: Mount.canonical(store.mountPoint)) == nil)
    }

    @Test(arguments: ["--readiness", "--readiness-fd", "--ready-fd"])
    func `readiness is written to a descriptor`(option: String) async throws {
      let store = try await makeStore()
      let outcome = try await shell(
        "exec \"$1\" mount \(option) 7 \"$2\" \"$3\" 7>\"$4\"",
        [program.string, store.path.string, store.mountPoint.string, store.file("ready").string])
      #expect(outcome.status == 0, "\(outcome.errors)")
      #expect(try TreeRecord.bytes(of: store.file("ready")) == Array("ready\n".utf8))
      try Mount.unmount(store.mountPoint)
    }

    @Test(arguments: ["", "--foreground"])
    func `the end of a readiness pipe is seen, though the daemon lives on`(option: String) async throws {
      let store = try await makeStore()
      let seen = try await shell(
        "{ \"$1\" mount \(option) --readiness 7 \"$2\" \"$3\" 7>&1 >/dev/null & } | timeout 20 cat",
        [program.string, store.path.string, store.mountPoint.string])
      #expect(seen.output == "ready\n")
      #expect(seen.status == 0, "\(seen.errors)")
      try Mount.unmount(store.mountPoint)
    }

    @Test func `a view looks at its store when it is told to`() async throws {
      let store = try await makeStore()
      let outcome = try await ToolProcess.run("distri-fuse", ["mount", store.path.string, store.mountPoint.string])
      #expect(outcome.status == 0, "\(outcome.errors)")
      try await store.add("bash-amd64-5.2-1", ["bin/bash": "bash"])
      let rescan = try await ToolProcess.run("distri-fuse", ["rescan", store.mountPoint.string])
      #expect(rescan.status == 0, "\(rescan.errors)")
      #expect(try await onThread { try TreeRecord.names(in: store.mountPoint.appending("bin")) }.contains("bash"))
      #expect(try await ToolProcess.run("distri-fuse", ["rescan", store.path.string]).status == 66)
      try Mount.unmount(store.mountPoint)
    }

    @Test func `SIGUSR1 ends neither the supervisor nor the server`() async throws {
      let mount = try await SupervisedMount()
      let before = try await mount.supervision()
      for process in [before.supervisor, before.server] { #expect(kill(process, SIGUSR1) == 0) }
      #expect(try await mount.distriFuse("rescan", mount.root.string).status == 0)
      let after = try await mount.supervision()
      #expect(after == before)
      try await mount.unmount()
    }

    @Test func `the daemon keeps nothing of its caller`() async throws {
      let mount = try await SupervisedMount()
      let supervision = try await mount.supervision()
      for process in [supervision.supervisor, supervision.server] {
        let folder = "/proc/\(process)/"
        #expect(try FileManager.default.destinationOfSymbolicLink(atPath: folder + "cwd") == "/")
        for number in 0...2 {
          #expect(try FileManager.default.destinationOfSymbolicLink(atPath: folder + "fd/\(number)") == "/dev/null")
        }
      }
      #expect(try String(contentsOfFile: "/proc/\(supervision.supervisor)/status", encoding: .utf8).contains("Threads:\t1\n"))
      try await mount.unmount()
    }

    /// As somebody who is not root, directly through fusermount3 and in a user namespace.
    @Test(arguments: ["", "unshare -Urm"]) func `an ordinary user can mount`(prefix: String) async throws {
      let store = try await makeStore()
      var device = stat()
      try #require(stat("/dev/fuse", &device) == 0)
      // Closed on this machine.
      chmod("/dev/fuse", 0o666)
      defer { chmod("/dev/fuse", device.st_mode & 0o7777) }
      try #require(chown(store.mountPoint.string, 65534, 65534) == 0)
      let script = """
        set -e
        "$1" mount "$2" "$3"
        cat "$3/bin/nano"
        kill -9 $("$1" status --json "$3" | sed -n 's/.*"server" : \\([0-9]*\\).*/\\1/p')
        ls "$3/nano-amd64-7.2-1/out"
        "$1" mount --take-over "$3"
        "$1" status "$3" | grep -c supervised
        "$1" unmount "$3"
        """
      let outcome = try await ToolProcess.run(
        "setpriv",
        ["--reuid", "65534", "--regid", "65534", "--clear-groups"] + prefix.split(separator: " ").map(String.init)
          + ["sh", "-c", script, "sh", program.string, store.path.string, store.mountPoint.string])
      #expect(outcome.errors == "")
      #expect(outcome.output == "nanolib\nshare\n1\n")
      #expect(outcome.status == 0)
      #expect(try MountTable.current().entry(at: Mount.canonical(store.mountPoint)) == nil)
    }
  }
}

/// Where a service manager listens.
private final class NotifySocket: Sendable {
  private let descriptor: FileDescriptor

  /// `@` in front means an abstract socket.
  init(_ name: String) throws {
    let number = socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue), 0)
    guard number >= 0 else { throw Errno(rawValue: errno) }
    descriptor = FileDescriptor(rawValue: number)
    var address = sockaddr_un()
    address.sun_family = sa_family_t(AF_UNIX)
    let bytes = Array(name.utf8)
    withUnsafeMutableBytes(of: &address.sun_path) { path in
      path.copyBytes(from: bytes)
      if bytes.first == UInt8(ascii: "@") { path[0] = 0 }
    }
    let length = MemoryLayout<sa_family_t>.size + bytes.count + (bytes.first == UInt8(ascii: "@") ? 0 : 1)
    let status = withUnsafePointer(to: &address) { address in
      address.withMemoryRebound(to: sockaddr.self, capacity: 1) { bind(number, $0, socklen_t(length)) }
    }
    guard status == 0 else { throw Errno(rawValue: errno) }
    var patience = timeval(tv_sec: 20, tv_usec: 0)
    setsockopt(number, SOL_SOCKET, SO_RCVTIMEO, &patience, socklen_t(MemoryLayout<timeval>.size))
  }

  deinit { try? descriptor.close() }

  /// The next message, at most 20 seconds later.
  func receive() throws -> String {
    var buffer = [UInt8](repeating: 0, count: 4096)
    let count = try buffer.withUnsafeMutableBytes { try descriptor.read(into: $0) }
    return String(decoding: buffer[..<count], as: UTF8.self)
  }
}
