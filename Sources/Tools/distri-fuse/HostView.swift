// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import DistriBuild
import DistriStore
import FoundationEssentials
import Glibc
import SystemPackage

/// The world of `distri-fuse run`: the programs of a view, the files of the host.
enum HostView {
  /// What is shown of the host, where it is there.
  private static let shared = ["dev", "etc", "home", "proc", "root", "run", "sys", "tmp", "var"]

  static var isRoot: Bool { geteuid() == 0 }

  /// The plan for a command that starts in the current directory.
  static func plan(showing view: FilePath, _ packages: [PackageID]) -> SandboxPlan {
    var operations: [SandboxPlan.Operation] = [.bind(from: view, to: "/ro", readOnly: true, recursive: false)]
    operations += links(to: libraries(in: view, packages))
    for name in shared {
      let path = FilePath("/").appending(name)
      if isDirectory(path) { operations.append(.bind(from: path, to: path)) }
    }
    let current = FilePath(FileManager.default.currentDirectoryPath)
    let isShown = current.components.isEmpty || shared.contains(current.components.first?.string ?? "")
    if !isShown { operations.append(.bind(from: current, to: current)) }
    return SandboxPlan(
      operations: operations, environment: environment, workingDirectory: current, namespaces: isRoot ? [] : .user, identity: nil,
      privileges: .inherited, ownSession: false)
  }

  /// FORMATS section 4: what programs from elsewhere expect.
  private static func links(to libraries: String) -> [SandboxPlan.Operation] {
    let targets = [
      ("bin", "/ro/bin"), ("sbin", "/ro/bin"), ("lib", "/ro/lib"), ("lib64", libraries), ("share", "/ro/share"),
      ("include", "/ro/include"), ("libexec", "/ro/libexec"),
    ]
    return ["/", "/usr/"].flatMap { prefix in
      targets.map { .symbolicLink(at: FilePath(prefix + $0.0), to: $0.1) }
    } + [.directory("/usr/local"), .directory("/mnt"), .directory("/opt"), .directory("/srv")]
  }

  /// Where the run-time linker is: in `lib64` of a package, or in the `lib` of a glibc that was built from source.
  private static func libraries(in view: FilePath, _ packages: [PackageID]) -> String {
    let names = (try? FileManager.default.contentsOfDirectory(atPath: view.appending("lib64").string)) ?? []
    if names.contains(where: { $0.hasPrefix("ld-linux") }) { return "/ro/lib64" }
    let glibc = packages.filter { $0.name == "glibc" && $0.architecture == .host }.newest()
    return glibc.map { "/ro/\($0)/out/lib" } ?? "/ro/lib64"
  }

  /// The caller's, without what points into the host's libraries.
  private static var environment: [String: String] {
    var environment = ProcessInfo.processInfo.environment.filter { !$0.key.hasPrefix("LD_") }
    environment["PATH"] = "/ro/bin:/bin"
    return environment
  }

  private static func isDirectory(_ path: FilePath) -> Bool {
    var status = stat()
    return stat(path.string, &status) == 0 && status.st_mode & S_IFMT == S_IFDIR
  }
}
