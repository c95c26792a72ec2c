// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriBuild
import Foundation
import Glibc
import Synchronization
import SystemPackage
import TestSupport
import Testing

/// Opens a pipe, which waits for the other side, and returns how many bytes came before its end.
func readToEnd(_ fifo: String, whenOpen: () -> Void = {}) throws -> Int {
  let file = try FileDescriptor.open(FilePath(fifo), .readOnly)
  defer { try? file.close() }
  whenOpen()
  return try withUnsafeTemporaryAllocation(byteCount: 16, alignment: 1) { try file.read(into: $0) }
}

@Suite struct SandboxTests {
  @Test func `a sandbox is available here`() async throws {
    try await NamespaceSandbox().checkAvailability()
  }

  @Test func `of each command the memory of its largest process is known`() async throws {
    let commands = [["true"], ["sh", "-c", "sh -c 'x=$(head -c 150000000 /dev/zero | tr \"\\\\0\" a); echo ${#x}'; true"]]
    let peaks = Mutex<[UInt64]>([])
    _ = try await NamespaceSandbox().run(sequence: commands, in: hostPrograms(), io: .null) { _, end in
      peaks.withLock { $0.append(end.peakMemory) }
    }
    let (small, large) = try peaks.withLock { (try #require($0.first), try #require($0.last)) }
    #expect(small > 0 && large > 150_000_000 && large > small)
  }

  @Test func `commands are as nice as the program's user wants it`() async throws {
    // Of the main thread alone: that of the process, as `nice` sets it.
    let main = id_t(getpid()), before = getpriority(__priority_which_t(0), main)
    defer { setpriority(__priority_which_t(0), main, before) }
    #expect(setpriority(__priority_which_t(0), main, before + 2) == 0)
    #expect(try await shell("nice").0 == "\(before + 2)\n")
  }

  @Test func `nothing of the host is there but what the plan binds`() async throws {
    let (output, status) = try await shell("ls -A /; ls -A /tmp /dev; set -- /proc/[0-9]*; echo $#")
    #expect(status.isSuccess)
    #expect(
      output == """
        bin
        dev
        lib
        lib64
        proc
        tmp
        usr
        /dev:
        fd
        full
        null
        ptmx
        pts
        random
        shm
        stderr
        stdin
        stdout
        tty
        urandom
        zero

        /tmp:
        2

        """)
  }

  @Test func `a bind can be read-only and read-write`() async throws {
    let directory = try TemporaryDirectory()
    for name in ["ro", "rw"] { #expect(mkdir("\(directory.path)/\(name)", 0o755) == 0) }
    let plan = hostPrograms([
      .bind(from: directory.path.appending("ro"), to: "/a/ro", readOnly: true),
      .bind(from: directory.path.appending("rw"), to: "/a/rw"),
    ])
    let (output, _) = try await shell(
      "echo 1 >/a/rw/file && echo written; echo 1 >/a/ro/file || echo refused", in: plan)
    #expect(output.hasPrefix("written\n"))
    #expect(output.hasSuffix("refused\n"))
    #expect(FileManager.default.fileExists(atPath: "\(directory.path)/rw/file"))
    #expect(!FileManager.default.fileExists(atPath: "\(directory.path)/ro/file"))
  }

  @Test func `there is a loopback and no other network`() async throws {
    let script = """
      cut -d: -f1 /proc/net/dev | sed 1,2d
      sed 1d /proc/net/route
      cut -c1-32 /proc/net/if_inet6
      """
    let (output, _) = try await shell(script)
    #expect(output == "    lo\n00000000000000000000000000000001\n")
  }

  @Test func `the environment is the plan's alone`() async throws {
    setenv("DISTRI_TEST_LEAK", "1", 1)
    var plan = hostPrograms()
    plan.environment["GREETING"] = "hello = world"
    plan.hostname = "cave"
    plan.workingDirectory = "/tmp"
    let (output, _) = try await shell("env | sort; uname -n; id -u; id -G", in: plan)
    #expect(output == "GREETING=hello = world\nPATH=/usr/bin\nPWD=/tmp\ncave\n0\n0\n")
  }

  @Test(arguments: [
    ("exit 0", DistriBuild.ExitStatus.exited(0)), ("exit 7", .exited(7)), ("exit 255", .exited(255)),
    ("kill -9 $$", .signalled(9)),
    ("kill -TERM $$", .signalled(15)),
  ])
  func `the way a command ends is a result`(script: String, expected: DistriBuild.ExitStatus) async throws {
    #expect(try await shell(script).1 == expected)
  }

  @Test func `the error names the operation that failed`() async throws {
    let expectations: [(SandboxPlan.Operation, Errno)] = [
      (.bind(from: "/there/is/no/such/source", to: "/usr/src/hello"), .noSuchFileOrDirectory),
      (.bind(from: "/etc/hostname", to: "/usr/src/hello"), .readOnlyFileSystem),
      (.directory("/usr/new"), .readOnlyFileSystem),
      (.symbolicLink(at: "/bin", to: "elsewhere"), .fileExists),
      (.file(at: "/proc", contents: [1]), .isDirectory),
      (.tmpfs(at: "relative"), .invalidArgument),
    ]
    for (operation, errno) in expectations {
      await #expect(throws: BuildError.sandbox(operation: operation.description, errno)) {
        try await shell("true", in: hostPrograms([operation]))
      }
    }
    #expect(
      BuildError.sandbox(operation: "bind /src on /usr/src/hello", .notPermitted).description
        == "bind /src on /usr/src/hello: Operation not permitted")
  }

  @Test func `a missing program and a missing directory are errors of the sandbox`() async throws {
    await #expect(throws: BuildError.sandbox(operation: "execute no-such-program", .noSuchFileOrDirectory)) {
      try await NamespaceSandbox().run(["no-such-program"], in: hostPrograms(), io: .null)
    }
    var plan = hostPrograms()
    plan.workingDirectory = "/nowhere"
    await #expect(throws: BuildError.sandbox(operation: "change the working directory", .noSuchFileOrDirectory)) {
      try await NamespaceSandbox().run(["true"], in: plan, io: .null)
    }
  }

  @Test func `commands in sequence share their sandbox and stop at the first that fails`() async throws {
    let ended = Mutex<[Int]>([])
    let commands = [["touch", "/new"], ["rm", "/new"], ["test", "-e", "/new"], ["touch", "/never"]]
    let status = try await NamespaceSandbox().run(sequence: commands, in: hostPrograms(), io: .null) { index, _ in
      ended.withLock { $0.append(index) }
    }
    #expect(status == .exited(1))
    #expect(ended.withLock { $0 } == [0, 1, 2])
  }

  @Test func `many sandboxes run at once from many threads`() async throws {
    let outputs = try await withThrowingTaskGroup(of: String.self) { group in
      for number in 0..<24 { group.addTask { try await shell("echo \(number); cat /proc/self/status | grep -c .").0 } }
      return try await group.reduce(into: Set<String>()) { $0.insert(String($1.prefix { $0 != "\n" })) }
    }
    #expect(outputs == Set((0..<24).map(String.init)))
  }

  @Test func `all processes of a sandbox end with its command`() async throws {
    let directory = try TemporaryDirectory()
    let fifo = directory.path.appending("fifo").string
    #expect(mkfifo(fifo, 0o600) == 0)
    let plan = hostPrograms([.bind(from: directory.path, to: "/shared")])
    // The orphan holds the pipe open for writing; the end of file proves that it is gone.
    let end = Task.detached { try readToEnd(fifo) }
    let (_, status) = try await shell("exec 3>/shared/fifo; setsid sleep 1000 & exit 3", in: plan)
    #expect(status == .exited(3))
    #expect(try await end.value == 0)
  }

  @Test func `cancelling the task kills the command`() async throws {
    let directory = try TemporaryDirectory()
    let fifo = directory.path.appending("fifo").string
    #expect(mkfifo(fifo, 0o600) == 0)
    let plan = hostPrograms([.bind(from: directory.path, to: "/shared")])
    let task = Task { try await shell("exec sleep 1000 >/shared/fifo", in: plan) }
    // Opening waits until the sleeper has opened its end.
    let end = Task.detached { try readToEnd(fifo) { task.cancel() } }
    #expect(try await end.value == 0)
    await #expect(throws: CancellationError.self) { try await task.value }
  }

  @Test func `a sandbox leaves no mounts and no descriptors behind`() async throws {
    // Other tests mount, open and close things meanwhile: the mounts are told by a name of their own, the descriptors by their number.
    func descriptors() throws -> Int { try FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd").count }
    let folder = try TemporaryDirectory()
    let plan = hostPrograms([.bind(from: folder.path, to: FilePath("/mnt/\(UUID().uuidString)"))])
    _ = try await shell("true", in: plan)
    let before = try descriptors()
    for _ in 0..<64 { _ = try await shell("true", in: plan) }
    _ = try? await shell("true", in: hostPrograms([.directory("/usr/new")]))
    #expect(try descriptors() < before + 64, "a descriptor is left open by every run")
    let name = try #require(folder.path.lastComponent?.string)
    #expect(!(try String(contentsOfFile: "/proc/self/mountinfo", encoding: .utf8)).contains(name))
  }

  @Test func `the command cannot change the host through proc or undo a read-only bind`() async throws {
    let script = """
      echo x >/proc/sys/kernel/core_pattern || echo sys refused
      mount -o remount,rw,bind /usr || echo remount refused
      mount -t tmpfs none /mnt 2>/dev/null || echo mount refused
      """
    let (output, _) = try await shell(script)
    for word in ["sys", "remount", "mount"] { #expect(output.contains("\(word) refused\n")) }
  }

  @Test func `ordinary users make the same sandboxes`() async throws {
    // These very tests again, by somebody who is not root; that one is not here for them.
    guard getuid() == 0 else { return }
    let directory = try TemporaryDirectory()
    let log = directory.path.appending("log")
    let file = try FileDescriptor.open(log, .readWrite, options: .create, permissions: .ownerReadWrite)
    defer { try? file.close() }
    let program = try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")
    let sources = FilePath(#filePath).removingLastComponent()
    let shared = ["bin", "dev", "etc", "lib", "lib64", "opt", "proc", "sys", "usr"].map { "/\($0)" }
    var plan = SandboxPlan(
      operations: shared.filter { FileManager.default.fileExists(atPath: $0) }
        .map { .bind(from: FilePath($0), to: FilePath($0)) } + [
          .bind(from: FilePath(program), to: "/tests"), .bind(from: sources, to: sources, readOnly: true), .tmpfs(at: "/tmp"),
        ])
    plan.namespaces = []
    plan.identity = SandboxPlan.Identity(userID: 1000, groupID: 1000)
    plan.privileges = .inherited
    plan.environment = ["PATH": "/usr/bin:/bin"]
    let command = ["/tests", "--testing-library", "swift-testing", "--no-parallel", "--filter", "SandboxTests"]
    let status = try await NamespaceSandbox().run(command, in: plan, io: .log(file))
    let output = try String(contentsOfFile: log.string, encoding: .utf8)
    #expect(status.isSuccess && output.contains("ordinary users make the same sandboxes"), "\(output)")
  }

  @Test func `a plan prints what will happen`() {
    var plan = SandboxPlan(operations: [
      .bind(from: "/a", to: "/b", readOnly: true), .symbolicLink(at: "/bin", to: "/ro/bin"),
    ])
    plan.environment = ["PATH": "/bin", "HOME": "/"]
    plan.hostname = "distri"
    plan.limits = SandboxPlan.Limits(memory: 512 << 20, processes: 64, time: .seconds(7200))
    #expect(
      plan.description == """
        bind /a on /b, read-only
        link /bin to /ro/bin
        set HOME=/
        set PATH=/bin
        namespaces user pid network ipc uts cgroup mount
        hostname distri
        run as 0:0
        privileges of an installation, system calls filtered
        at most 512 MiB of memory, in all by a control group, else by each process's address space
        at most 64 processes and threads, by a control group, else by the user's number of processes
        at most 2 hours, by the clock
        own session
        start in /
        """)
  }
}
