// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import Foundation
import Glibc
import SystemPackage
import TestSupport
import Testing

@testable import DistriBuild

extension SandboxTests {
  /// What a build cannot do even as user 0 of its sandbox, and how much it can take. Also run by an ordinary user.
  @Suite struct ConfinementTests {
    /// What came of each system call of the probe.
    private func probe(_ change: (inout SandboxPlan) -> Void = { _ in }) async throws -> [String: String] {
      let directory = try TemporaryDirectory()
      let source = FilePath(#filePath).removingLastComponent().appending("Probe/calls.c")
      let program = directory.path.appending("calls")
      let compiler = try await ToolProcess.run("gcc", ["-O1", "-o", program.string, source.string])
      try #require(compiler.status == 0, "\(compiler.errors)")
      var plan = hostPrograms([.bind(from: program, to: "/calls", readOnly: true)])
      change(&plan)
      let (output, status) = try await shell("exec /calls", in: plan)
      try #require(status.isSuccess, "\(output)")
      return Dictionary(
        uniqueKeysWithValues: output.split(separator: "\n").map { line in
          let words = line.split(separator: ":", maxSplits: 1)
          return (String(words[0]), words[1].trimmingCharacters(in: .whitespaces))
        })
    }

    @Test func `system calls that lead out are refused, those that builds make are not`() async throws {
      let refused = [
        "mount", "umount2", "pivot_root", "open_tree", "fsopen", "mount_setattr", "setns", "unshare user", "unshare time",
        "clone user", "clone mount", "add_key", "keyctl", "request_key", "bpf", "perf_event_open", "userfaultfd",
        "open_by_handle_at", "kexec_load", "init_module", "syslog", "clock_settime", "sethostname",
        "personality of executable data", "ioctl TIOCSTI", "mknod device", "trace the first process", "i386 mount",
        "i386 unshare user", "i386 keyctl",
      ]
      let allowed = [
        "unshare files", "clone", "personality of the machine", "personality without random addresses", "mknod fifo", "mkdirat",
        "socket local", "socket inet", "socket inet6", "socket routes", "trace a child", "i386 getpid",
      ]
      let other = [
        "clone3": "ENOSYS", "io_uring_setup": "ENOSYS", "a call of the future": "ENOSYS", "x32 getpid": "ENOSYS",
        "i386 clone3": "ENOSYS", "socket of the kernel's events": "EPROTONOSUPPORT", "socket to the hypervisor": "EAFNOSUPPORT",
        "socket of the kernel's ciphers": "EAFNOSUPPORT", "i386 socket to the hypervisor": "EAFNOSUPPORT",
        "i386 socket through socketcall": "EAFNOSUPPORT", "ioctl FIONREAD": "ENOTTY",
        "read the first process's memory": "EACCES", "read the first process's environment": "EACCES",
        "look at the first process's root": "EACCES",
      ]
      var expected = other
      for name in refused { expected[name] = "EPERM" }
      for name in allowed { expected[name] = "allowed" }
      for (name, result) in try await probe().sorted(by: { $0.key < $1.key }) {
        #expect(result == expected[name], "\(name)")
      }
    }

    @Test func `it is the filter that refuses`() async throws {
      let results = try await probe { $0.privileges = .inherited }
      for name in [
        "fsopen", "unshare user", "clone mount", "keyctl", "socket of the kernel's events", "personality of executable data",
      ] {
        #expect(results[name] == "allowed", "\(name)")
      }
    }

    @Test func `the first process survives its commands' signals and hides the kernel's lists`() async throws {
      let script = """
        kill -9 1; kill -TERM 1; echo alive
        cat /proc/keys /proc/key-users /proc/timer_list /proc/kcore 2>/dev/null | wc -c
        ulimit -c; umask; cat /proc/self/cgroup | sed 's/.*://' | sort -u
        """
      let (output, status) = try await shell(script)
      #expect(status.isSuccess)
      #expect(output == "alive\n0\n0\n0022\n/\n")
    }

    @Test func `devices can be written to, but not be changed for the host`() async throws {
      let script = """
        for name in null zero full random urandom tty; do
          chmod 600 /dev/$name 2>/dev/null && echo "$name changed"
          touch -d 1970-01-01 /dev/$name 2>/dev/null && echo "$name touched"
        done
        chmod 600 /proc/keys 2>/dev/null && echo keys changed
        echo x >/dev/null && echo written; head -c 3 /dev/zero | wc -c; echo x >/dev/full 2>/dev/null || echo full
        """
      let (output, _) = try await shell(script)
      #expect(output == "written\n3\nfull\n")
    }

    @Test func `a build that takes too long is ended`() async throws {
      var plan = hostPrograms()
      plan.limits.time = .milliseconds(300)
      await #expect(throws: BuildError.limitExceeded(.time(.milliseconds(300)), step: "sleep 1000", log: nil)) {
        try await NamespaceSandbox().run(sequence: [["true"], ["sleep", "1000"]], in: plan, io: .null) { _, _ in }
      }
      plan.limits.time = .seconds(1000)
      #expect(try await shell("exit 3", in: plan).1 == .exited(3))
    }

    @Test func `a build that takes too much memory fails with the limit's name`() async throws {
      var plan = hostPrograms()
      plan.limits.memory = 64 << 20
      let isCounted = ControlGroup(for: plan.limits).has(.memory)
      #expect(isCounted || geteuid() != 0, "root has a control group on every machine that runs these tests")
      // tail keeps all of it.
      let script = "head -c 300000000 /dev/zero | tail -c 290000000 | wc -c"
      do {
        let (output, _) = try await shell("\(script); test $(\(script)) = 290000000", in: plan)
        #expect(!isCounted && !output.hasSuffix("290000000\n"), "\(output)")
      } catch {
        #expect(
          error as? BuildError
            == .limitExceeded(
              .memory(64 << 20), step: BuildPlan.line(["sh", "-c", "\(script); test $(\(script)) = 290000000"]), log: nil))
        #expect("\(error)".contains("came to its limit of 64 MiB of memory"))
      }
      plan.limits.memory = 1 << 30
      #expect(try await shell(script, in: plan).0 == "290000000\n")
    }

    @Test func `a build that starts too many processes fails with the limit's name`() async throws {
      var plan = hostPrograms()
      plan.limits.processes = 12
      let isCounted = ControlGroup(for: plan.limits).has(.pids)
      #expect(isCounted || geteuid() != 0, "root has a control group on every machine that runs these tests")
      let script = "for i in 1 2 3 4 5 6 7 8 9 10; do sleep 1000 & done; echo ten; sleep 1000 & sleep 1000 & echo twelve"
      do {
        let (output, status) = try await shell(script, in: plan)
        #expect(!isCounted && !status.isSuccess && output.hasPrefix("ten\n") && !output.contains("twelve"))
      } catch {
        #expect("\(error)".contains("came to its limit of 12 processes and threads"))
      }
      plan.limits.processes = 13
      #expect(try await shell(script, in: plan).0 == "ten\ntwelve\n")
    }

    @Test func `control groups are gone when their sandbox is`() async throws {
      var plan = hostPrograms()
      plan.limits = SandboxPlan.Limits(memory: 256 << 20, processes: 100)
      _ = try await shell("sleep 1000 & exit 1", in: plan)
      for hierarchy in Hierarchy.all() {
        var group = hierarchy.own
        while group.starts(with: hierarchy.mountPoint) {
          let names = (try? FileManager.default.contentsOfDirectory(atPath: group.string)) ?? []
          // Other tests may run at the same time, in other processes.
          #expect(!names.contains { $0.hasPrefix("distri-build-\(getpid())-") })
          guard group.removeLastComponent() else { break }
        }
      }
    }

    @Test func `both versions of control groups are found where they are mounted`() {
      let mounts = """
        22 1 0:20 / /proc rw - proc proc rw
        31 22 0:28 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
        32 22 0:29 /docker/1 /sys/fs/cgroup/pids rw,relatime shared:7 - cgroup cgroup rw,pids
        33 22 0:30 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw
        """
      let groups = "9:pids:/docker/1/app\n4:memory:/a/b\n0::/user.slice/x\n"
      let found = Hierarchy.parse(groups: groups, mounts: mounts)
      #expect(found.map(\.own) == ["/sys/fs/cgroup/memory/a/b", "/sys/fs/cgroup/pids/app", "/sys/fs/cgroup/unified/user.slice/x"])
      #expect(found.map(\.isUnified) == [false, false, true])
      #expect(
        Hierarchy.parse(groups: "4:memory:/elsewhere", mounts: mounts.replacingOccurrences(of: "28 /", with: "28 /docker")).isEmpty)
    }
  }
}
