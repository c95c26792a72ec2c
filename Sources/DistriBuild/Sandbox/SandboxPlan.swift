// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import SystemPackage

/// The world of a command as a value: what it sees, what it is called, what it may. Print it to see what will happen.
///
/// The root starts empty and is filled by the operations in their order. Parents of a target are made as needed. Nothing of the
/// host is there unless an operation binds it.
public struct SandboxPlan: Sendable, Hashable {
  /// One step that fills the root. Targets are absolute paths inside.
  public enum Operation: Sendable, Hashable {
    /// Shows a file or directory of the host, with what is mounted below it when `recursive` is set.
    case bind(from: FilePath, to: FilePath, readOnly: Bool = false, recursive: Bool = true)
    /// An empty directory, unless one is there.
    case directory(FilePath, permissions: FilePermissions = FilePermissions(rawValue: 0o755))
    /// A symbolic link; the target is written as it is.
    case symbolicLink(at: FilePath, to: String)
    /// A file of these bytes.
    case file(at: FilePath, contents: [UInt8], permissions: FilePermissions = FilePermissions(rawValue: 0o644))
    /// An empty file system in memory.
    case tmpfs(at: FilePath, permissions: FilePermissions = FilePermissions(rawValue: 0o1777))
    /// The process file system of the sandbox's process namespace, its switches that concern the whole machine read-only, its lists
    /// of the kernel's memory, keys and timers empty.
    case proc(at: FilePath)
    /// null, zero, full, random, urandom, tty, a private pts and shm, and the usual links.
    case devices(at: FilePath)
  }

  /// What the command does not share with its caller. A mount namespace is always its own.
  public struct Namespaces: OptionSet, Sendable, Hashable {
    /// The bits.
    public let rawValue: UInt32
    /// Makes a set of bits.
    public init(rawValue: UInt32) { self.rawValue = rawValue }
    /// User and group ids, and with them capabilities. Ordinary users cannot do without.
    public static let user = Namespaces(rawValue: 1)
    /// Processes; all of them end with the command.
    public static let pid = Namespaces(rawValue: 2)
    /// Network interfaces and abstract sockets: only a loopback of its own is there.
    public static let network = Namespaces(rawValue: 4)
    /// System V and POSIX message queues, semaphores and shared memory.
    public static let ipc = Namespaces(rawValue: 8)
    /// Host name.
    public static let uts = Namespaces(rawValue: 16)
    /// View of the control groups.
    public static let cgroup = Namespaces(rawValue: 32)
    /// Everything.
    public static let all: Namespaces = [.user, .pid, .network, .ipc, .uts, .cgroup]
  }

  /// Whom the command runs as, in terms of the sandbox.
  public struct Identity: Sendable, Hashable {
    /// User id.
    public var userID: UInt32
    /// Group id.
    public var groupID: UInt32
    /// Makes an identity.
    public init(userID: UInt32, groupID: UInt32) {
      self.userID = userID
      self.groupID = groupID
    }
    /// User and group 0: what `make install` expects. In a user namespace this has no power over the host.
    public static let root = Identity(userID: 0, groupID: 0)
  }

  /// What the command may do at most, even as user 0.
  public enum Privileges: Sendable, Hashable {
    /// What its identity and namespaces give.
    case inherited
    /// What installing files takes (owners, modes, capabilities of files, killing its own processes); no mounts, no devices, and
    /// setuid programs give nothing. A filter of system calls keeps to that, and refuses namespaces, keys, `bpf`, `io_uring`,
    /// `userfaultfd`, the kernel's modules and clock, and sockets other than local, IPv4, IPv6 and routing ones. `ptrace` is allowed:
    /// there is nothing to see but the sandbox's own processes.
    case installation
  }

  /// Fill the root, in this order.
  public var operations: [Operation]
  /// The whole environment.
  public var environment: [String: String]
  /// Where the command starts.
  public var workingDirectory: FilePath
  /// The machine's name as the command sees it; needs ``Namespaces/uts``.
  public var hostname: String?
  /// What is the command's own.
  public var namespaces: Namespaces
  /// Whom the command runs as; nil: as whoever calls, which with ``Namespaces/user`` means with the same ids.
  public var identity: Identity?
  /// What the command may do at most.
  public var privileges: Privileges
  /// How much it may take.
  public var limits: Limits
  /// Whether the command is cut off the caller's terminal, and has its own standard input as its terminal if that is one that nobody
  /// else has. Otherwise Ctrl-C reaches it, because it stays in the caller's
  /// process group; a caller that wants to outlive that ignores `SIGINT` and `SIGQUIT` in the meantime.
  public var ownSession: Bool

  /// Makes a plan; by default one that shares nothing with the host.
  public init(
    operations: [Operation] = [], environment: [String: String] = [:], workingDirectory: FilePath = "/",
    hostname: String? = nil, namespaces: Namespaces = .all, identity: Identity? = .root,
    privileges: Privileges = .installation, limits: Limits = Limits(), ownSession: Bool = true
  ) {
    self.operations = operations
    self.environment = environment
    self.workingDirectory = workingDirectory
    self.hostname = hostname
    self.namespaces = namespaces
    self.identity = identity
    self.privileges = privileges
    self.limits = limits
    self.ownSession = ownSession
  }
}

extension SandboxPlan.Operation: CustomStringConvertible {
  /// The operation as the errors name it.
  public var description: String {
    switch self {
    case .bind(let from, let to, let readOnly, let recursive):
      "bind \(from) on \(to)\(readOnly ? ", read-only" : "")\(recursive ? "" : ", without what is mounted below")"
    case .directory(let path, let permissions): "directory \(path), \(permissions.octal)"
    case .symbolicLink(let path, let target): "link \(path) to \(target)"
    case .file(let path, let contents, let permissions): "file \(path), \(contents.count) bytes, \(permissions.octal)"
    case .tmpfs(let path, let permissions): "tmpfs on \(path), \(permissions.octal)"
    case .proc(let path): "proc on \(path)"
    case .devices(let path): "devices in \(path)"
    }
  }
}

extension SandboxPlan.Namespaces: CustomStringConvertible {
  /// The names in the order of `lsns`.
  public var description: String {
    let names: [(Self, String)] = [
      (.user, "user"), (.pid, "pid"), (.network, "network"), (.ipc, "ipc"), (.uts, "uts"), (.cgroup, "cgroup"),
    ]
    return (names.filter { contains($0.0) }.map(\.1) + ["mount"]).joined(separator: " ")
  }
}

extension SandboxPlan: CustomStringConvertible {
  /// An operation, variable or property a line.
  public var description: String {
    var lines = operations.map(\.description)
    lines += environment.sorted { $0.key < $1.key }.map { "set \($0.key)=\($0.value)" }
    lines.append("namespaces \(namespaces)")
    if let hostname { lines.append("hostname \(hostname)") }
    if let identity { lines.append("run as \(identity.userID):\(identity.groupID)") }
    if privileges == .installation { lines.append("privileges of an installation, system calls filtered") }
    lines += limits.all.map { "at most \($0), \($0.means)" }
    if ownSession { lines.append("own session") }
    lines.append("start in \(workingDirectory)")
    return lines.joined(separator: "\n")
  }
}

extension FilePermissions {
  /// As `chmod` writes it.
  var octal: String { "0" + String(rawValue, radix: 8) }
}
