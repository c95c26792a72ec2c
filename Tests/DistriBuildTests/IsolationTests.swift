// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriBuild
import Foundation
import Glibc
import Synchronization
import SystemPackage
import TestSupport
import Testing

/// A socket of this process that others may try to connect to, or that connects to others.
private final class LocalSocket: Sendable {
  let descriptor: Int32
  init(_ family: Int32) { descriptor = socket(family, Int32(SOCK_STREAM.rawValue), 0) }
  deinit { close(descriptor) }

  /// Calls bind or connect with an abstract name.
  func with(
    abstract name: String, _ call: (Int32, UnsafePointer<sockaddr>, socklen_t) -> Int32
  ) -> Int32 {
    var address = sockaddr_un()
    address.sun_family = sa_family_t(AF_UNIX)
    withUnsafeMutableBytes(of: &address.sun_path) { path in
      for (index, byte) in name.utf8.enumerated() { path[index + 1] = byte }
    }
    let length = socklen_t(MemoryLayout<sa_family_t>.size + 1 + name.utf8.count)
    return withUnsafePointer(to: &address) { pointer in
      pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { call(descriptor, $0, length) }
    }
  }

  /// Listens at a free port of the loopback interface.
  func listenOnLoopback() -> UInt16 {
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
    var length = socklen_t(MemoryLayout<sockaddr_in>.size)
    return withUnsafeMutablePointer(to: &address) { pointer in
      pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        guard bind(descriptor, $0, length) == 0, listen(descriptor, 1) == 0 else { return 0 }
        getsockname(descriptor, $0, &length)
        return UInt16(bigEndian: pointer.pointee.sin_port)
      }
    }
  }
}

extension SandboxTests {
  /// What a build cannot reach. Also run by an ordinary user.
  @Suite struct IsolationTests {
    @Test func `servers of the host are out of reach`() async throws {
      let local = LocalSocket(AF_UNIX), network = LocalSocket(AF_INET)
      let name = "distri-test-\(UUID().uuidString)"
      #expect(local.with(abstract: name, bind) == 0 && listen(local.descriptor, 1) == 0)
      let port = network.listenOnLoopback()
      #expect(port != 0)
      let client = LocalSocket(AF_UNIX)
      #expect(client.with(abstract: name, connect) == 0, "the server answers outside")
      let program = """
        import socket
        for family, address in (socket.AF_UNIX, "\\0\(name)"), (socket.AF_INET, ("127.0.0.1", \(port))), (socket.AF_INET, ("192.0.2.1", 80)):
            try: socket.socket(family).connect(address); print("connected")
            except OSError as error: print(error.strerror)
        """
      let (output, _) = try await shell("python3 -c '\(program)'")
      #expect(output == "Connection refused\nConnection refused\nNetwork is unreachable\n")
    }

    @Test func `a build cannot be a server for the host, to pass files out`() async throws {
      let directory = try TemporaryDirectory()
      let fifo = directory.path.appending("fifo").string
      #expect(mkfifo(fifo, 0o600) == 0)
      let name = "distri-test-\(UUID().uuidString)"
      let program = """
        import socket
        server = socket.socket(socket.AF_UNIX); server.bind("\\0\(name)"); server.listen()
        client = socket.socket(socket.AF_UNIX); client.connect("\\0\(name)")
        open("/shared/fifo", "w").write("listening"); open("/shared/fifo").read(); print("reached inside")
        """
      let plan = hostPrograms([.bind(from: directory.path, to: "/shared")])
      let build = Task { try await shell("python3 -c '\(program)'", in: plan) }
      let refused = Task.detached { () -> Bool in
        guard try readToEnd(fifo) > 0 else { return false }
        let isRefused = LocalSocket(AF_UNIX).with(abstract: name, connect) == -1 && errno == ECONNREFUSED
        try FileDescriptor.open(FilePath(fifo), .writeOnly).close()
        return isRefused
      }
      #expect(try await refused.value)
      #expect(try await build.value.0 == "reached inside\n")
    }

    @Test func `files of the host are out of reach, those that it has open too`() async throws {
      let directory = try TemporaryDirectory()
      let secret = directory.path.appending("secret")
      try Data("secret".utf8).write(to: URL(filePath: secret.string))
      // No close-on-exec: what a careless program leaves open.
      let leak = open(secret.string, O_RDONLY)
      defer { close(leak) }
      let script = """
        cat \(secret) /proc/1/root\(secret) /proc/self/root\(secret) /proc/self/cwd/../..\(secret) /proc/1/cwd/../..\(secret) 2>/dev/null
        for number in 3 4 5 6 7 8 9 \(leak); do cat /proc/self/fd/$number 2>/dev/null; done
        cd /proc/self/fd && for name in *; do test -e "$name" && echo "$name"; done
        tr '\\0' ' ' </proc/1/cmdline | tr -d ' '; cat /proc/1/comm
        ls / | tr '\\n' ' '
        """
      let (output, _) = try await shell(script)
      // 3 is the directory that the shell lists.
      #expect(output.hasPrefix("0\n1\n2\n"))
      #expect(!output.contains("secret"))
      #expect(output.hasSuffix("sandbox\nbin dev lib lib64 proc tmp usr "), "\(output)")
    }

    @Test func `processes of another build are out of reach`() async throws {
      let directory = try TemporaryDirectory()
      let fifo = directory.path.appending("fifo").string
      #expect(mkfifo(fifo, 0o600) == 0)
      let plan = hostPrograms([.bind(from: directory.path, to: "/shared")])
      let victim = Task { try await shell("echo ready >/shared/fifo; read word </shared/fifo; exit $word", in: plan).1 }
      let attack = Task.detached { try readToEnd(fifo) }
      #expect(try await attack.value > 0)
      let (output, _) = try await shell("kill -9 -1; ls -d /proc/[0-9]* | wc -l; echo alive")
      #expect(output.hasSuffix("alive\n"))
      try await Task.detached {
        let file = try FileDescriptor.open(FilePath(fifo), .writeOnly)
        try file.closeAfter { _ = try file.writeAll("7\n".utf8) }
      }.value
      #expect(try await victim.value == .exited(7))
    }

    @Test func `sandboxes start from threads while others allocate and lock`() async throws {
      let isDone = Atomic<Bool>(false)
      try await withThrowingTaskGroup(of: Bool.self) { group in
        let threads = (0..<4).map { number in
          let thread = Thread {
            var blocks: [[UInt8]] = []
            while !isDone.load(ordering: .relaxed) {
              blocks.append(Array(repeating: UInt8(number), count: 1 + blocks.count * 97 % 20_000))
              if blocks.count > 200 { blocks.removeAll() }
              setenv("DISTRI_TEST_STRESS", "\(blocks.count)", 1)
            }
          }
          thread.start()
          return thread
        }
        defer { isDone.store(true, ordering: .relaxed) }
        for _ in 0..<8 {
          group.addTask {
            for _ in 0..<8 where try await !NamespaceSandbox().run(["true"], in: hostPrograms(), io: .null).isSuccess {
              return false
            }
            return true
          }
        }
        for try await isSuccess in group { #expect(isSuccess) }
        #expect(threads.count == 4)
      }
    }
  }
}
