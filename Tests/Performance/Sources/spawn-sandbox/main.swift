// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

// spawn-sandbox STORE RUNS: milliseconds that running `true` takes, plainly, in sandboxes, and in a sandbox with a view of the store's
// packages as distri-build mounts it; and 400,000 system calls in a sandbox with and without the filter. All in turns. Prints a line «name TAB milliseconds» for each run.

import DistriBuild
import DistriFS
import DistriStore
import Glibc
import SystemPackage

func milliseconds(_ body: () async throws -> Void) async rethrows -> Double {
  let time = try await ContinuousClock().measure { try await body() }
  return Double(time.components.seconds) * 1e3 + Double(time.components.attoseconds) / 1e15
}

/// Starts a program and waits for it.
func spawn(_ words: [String]) throws {
  var arguments = words.map { strdup($0) } + [nil]
  defer { for argument in arguments { free(argument) } }
  var child: pid_t = 0
  let error = posix_spawnp(&child, words[0], nil, nil, &arguments, environ)
  guard error == 0 else { throw Errno(rawValue: error) }
  var status: Int32 = 0
  guard waitpid(child, &status, 0) == child, status == 0 else { throw BuildError.tool(words[0], reason: "ended with \(status)") }
}

func run(_ plan: SandboxPlan, _ command: [String] = ["true"]) async throws {
  let status = try await NamespaceSandbox().run(command, in: plan, io: .null)
  guard status.isSuccess else { throw BuildError.tool(command[0], reason: "\(status)") }
}

let surroundings: [SandboxPlan.Operation] = [.proc(at: "/proc"), .devices(at: "/dev"), .tmpfs(at: "/tmp")]

/// The host's programs, read-only: what bubblewrap gets, too.
let bare = SandboxPlan(
  operations: [
    .bind(from: "/usr", to: "/usr", readOnly: true), .symbolicLink(at: "/bin", to: "usr/bin"),
    .symbolicLink(at: "/lib", to: "usr/lib"), .symbolicLink(at: "/lib64", to: "usr/lib64"),
  ] + surroundings, environment: ["PATH": "/usr/bin"], hostname: "distri")
/// 400,000 system calls, with the filter and without.
let calls = ["dd", "if=/dev/zero", "of=/dev/null", "bs=1", "count=200000", "status=none"]
var unfiltered = bare
unfiltered.privileges = .inherited
let bubblewrap =
  "bwrap --unshare-all --unshare-user --die-with-parent --new-session --hostname distri --ro-bind /usr /usr --symlink usr/bin /bin "
  + "--symlink usr/lib /lib --symlink usr/lib64 /lib64 --proc /proc --dev /dev --tmpfs /tmp /usr/bin/true"

/// What a build does around its steps.
func runWithView(of packages: [PackageID], in store: LocalStore, own: PackageID, at point: FilePath) async throws {
  let view = try PackageFileSystem(store: store, only: packages, reserving: own)
  var options = MountOptions()
  options.allowsOtherUsers = geteuid() == 0
  try await withMount(of: view, at: point, options: options) { mount in
    try await run(
      SandboxPlan(
        operations: [
          .bind(from: mount.mountPoint, to: "/ro", readOnly: true), .symbolicLink(at: "/bin", to: "/ro/bin"),
          .symbolicLink(at: "/lib", to: "/ro/lib"), .symbolicLink(at: "/lib64", to: "/ro/lib64"),
        ] + surroundings, environment: ["PATH": "/ro/bin"], hostname: "distri"))
  }
}

let words = CommandLine.arguments
guard words.count == 3, let runs = Int(words[2]) else {
  print("usage: spawn-sandbox STORE RUNS")
  exit(64)
}
let store = try LocalStore(path: FilePath(words[1]))
let packages = try store.packages()
let own = try PackageID(parsing: "sample-\(Architecture.host)-1-1")
var template = Array("/tmp/spawn-sandbox.XXXXXX".utf8CString)
let point = FilePath(String(cString: mkdtemp(&template)))
defer { rmdir(point.string) }

for round in -1..<runs {
  let results = [
    ("posix_spawn", try await milliseconds { try spawn(["/usr/bin/true"]) }),
    ("bubblewrap", try await milliseconds { try spawn(bubblewrap.split(separator: " ").map(String.init)) }),
    ("sandbox", try await milliseconds { try await run(bare) }),
    ("view", try await milliseconds { try await runWithView(of: packages, in: store, own: own, at: point) }),
    ("calls", try await milliseconds { try await run(unfiltered, calls) }),
    ("filtered calls", try await milliseconds { try await run(bare, calls) }),
  ]
  // The first round reads programs and images into memory.
  if round >= 0 { for (name, time) in results { print("\(name)\t\(time)") } }
}
