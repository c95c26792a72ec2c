// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

import CSandbox
import Glibc
import SystemPackage

/// A plan and a command in the memory layout of the C function. Owns the memory.
@safe struct CompiledPlan: ~Copyable {
  /// For ``csandbox_spawn``; valid as long as this value.
  private(set) var plan = unsafe csandbox_plan()
  /// For each operation in C what it was made of, to name it in errors.
  private var subjects: [SandboxPlan.Operation] = []
  /// As ``NamespaceSandbox/showsOuterProcesses``.
  private let showsOuterProcesses: Bool
  private var operations: [csandbox_operation] = unsafe []
  private var allocations: [UnsafeMutableRawPointer] = unsafe []

  /// - Throws: ``BuildError/sandbox(operation:_:)`` for text with a NUL, which would be cut there, or a relative target.
  init(
    _ source: SandboxPlan, commands: [[String]], streams: [Int32], caller: CallerIdentity, group: borrowing ControlGroup,
    showsOuterProcesses: Bool
  ) throws(BuildError) {
    self.showsOuterProcesses = showsOuterProcesses
    for operation in source.operations { try append(operation) }
    let table = unsafe UnsafeMutablePointer<csandbox_operation>.allocate(capacity: max(operations.count, 1))
    unsafe allocations.append(UnsafeMutableRawPointer(table))
    unsafe table.initialize(from: operations, count: operations.count)
    unsafe plan.operations = table
    unsafe plan.operation_count = operations.count
    unsafe plan.namespaces = source.namespaces.rawValue
    let maps = caller.maps(for: source)
    unsafe plan.user_map = try text(maps.users)
    unsafe plan.group_map = try text(maps.groups)
    unsafe plan.deny_setgroups = maps.denySetgroups ? 1 : 0
    if let hostname = source.hostname, source.namespaces.contains(.uts) { unsafe plan.hostname = try text(hostname) }
    if let identity = source.identity {
      unsafe plan.set_identity = 1
      unsafe plan.user_id = identity.userID
      unsafe plan.group_id = identity.groupID
    }
    unsafe plan.capabilities = source.privileges == .installation ? Self.installationCapabilities : .max
    unsafe plan.no_new_privileges = source.privileges == .installation ? 1 : 0
    unsafe plan.filter_system_calls = source.privileges == .installation ? 1 : 0
    unsafe plan.group_files = try vector(group.processFiles)
    if let memory = source.limits.memory, !group.has(.memory) { unsafe plan.address_space = memory }
    // The first process, which is none of the build's, counts as well.
    if let processes = source.limits.processes, !group.has(.pids) { unsafe plan.processes = UInt64(clamping: processes) + 1 }
    unsafe plan.new_session = source.ownSession ? 1 : 0
    unsafe plan.working_directory = try text(source.workingDirectory.string)
    let list = UnsafeMutablePointer<csandbox_command>.allocate(capacity: max(commands.count, 1))
    unsafe allocations.append(UnsafeMutableRawPointer(list))
    for (index, command) in commands.enumerated() {
      unsafe (list + index).initialize(to: csandbox_command())
      if command.isEmpty { continue }
      unsafe list[index].candidates = try vector(Self.candidates(for: command, in: source))
      unsafe list[index].arguments = try vector(command)
    }
    unsafe plan.commands = UnsafePointer(list)
    unsafe plan.command_count = commands.count
    unsafe plan.environment = try vector(source.environment.map { "\($0.key)=\($0.value)" }.sorted())
    unsafe plan.streams = (streams[0], streams[1], streams[2])
  }

  deinit { unsafe allocations.forEach { unsafe free($0) } }

  /// The error for a failure that the C function reports.
  func error(for failure: csandbox_report, commands: [[String]]) -> BuildError {
    let stage = SandboxStage(rawValue: failure.stage) ?? .startProcess
    let errno = Errno(rawValue: failure.value)
    let index = Int(failure.index)
    switch stage {
    case .operation, .openSource:
      let subject = subjects.indices.contains(index) ? subjects[index].description : stage.description
      return .sandbox(operation: subject, errno)
    case .execute:
      let program = commands.indices.contains(index) ? commands[index].first ?? "" : ""
      return .sandbox(operation: "execute \(program)", errno)
    default:
      return .sandbox(operation: stage.description, errno)
    }
  }

  /// CHOWN, DAC_OVERRIDE, DAC_READ_SEARCH, FOWNER, FSETID, KILL, SETGID, SETUID, SETPCAP off, SETFCAP.
  private static let installationCapabilities: UInt64 =
    1 << 0 | 1 << 1 | 1 << 2 | 1 << 3 | 1 << 4 | 1 << 5 | 1 << 6 | 1 << 7 | 1 << 31

  /// As execvp searches, but in the `PATH` of the plan.
  private static func candidates(for command: [String], in plan: SandboxPlan) -> [String] {
    guard let program = command.first, !program.utf8.contains(UInt8(ascii: "/")) else {
      return Array(command.prefix(1))
    }
    let path = plan.environment["PATH"] ?? "/bin:/usr/bin"
    return path.split(separator: ":").map { "\($0)/\(program)" }
  }

  private mutating func append(_ operation: SandboxPlan.Operation) throws(BuildError) {
    switch operation {
    case .bind(let from, let to, let readOnly, let recursive):
      var flags: UInt32 = 0
      if readOnly { flags |= CSANDBOX_READ_ONLY.rawValue }
      if recursive { flags |= CSANDBOX_RECURSIVE.rawValue }
      try append(CSANDBOX_BIND, to, of: operation, source: from.string, flags: flags)
    case .directory(let path, let permissions):
      try append(CSANDBOX_DIRECTORY, path, of: operation, mode: permissions)
    case .symbolicLink(let path, let target):
      try append(CSANDBOX_SYMBOLIC_LINK, path, of: operation, source: target)
    case .file(let path, let contents, let permissions):
      try append(CSANDBOX_FILE, path, of: operation, contents: contents, mode: permissions)
    case .tmpfs(let path, let permissions):
      try append(CSANDBOX_TMPFS, path, of: operation, source: "mode=\(String(permissions.rawValue, radix: 8))")
    case .proc(let path):
      var flags: UInt32 = 0
      if showsOuterProcesses { flags = CSANDBOX_OUTER.rawValue | CSANDBOX_RECURSIVE.rawValue }
      try append(CSANDBOX_PROC, path, of: operation, source: "/proc", flags: flags)
      // Written by user 0 of the host these would change the host: capabilities are not asked for.
      for name in ["sys", "sysrq-trigger", "irq", "bus", "fs"] {
        try append(CSANDBOX_PROTECT, path.appending(name), of: operation)
      }
      for name in ["kcore", "keys", "key-users", "timer_list"] {
        try append(CSANDBOX_HIDE, path.appending(name), of: operation, source: "/dev/null")
      }
    case .devices(let path):
      try appendDevices(path, of: operation)
    }
  }

  private mutating func appendDevices(_ path: FilePath, of operation: SandboxPlan.Operation) throws(BuildError) {
    try append(CSANDBOX_TMPFS, path, of: operation, source: "mode=755")
    for name in ["null", "zero", "full", "random", "urandom", "tty"] {
      // Read-only: devices can be written to all the same, but not be given other modes, which would be the host's.
      try append(
        CSANDBOX_BIND, path.appending(name), of: operation, source: "/dev/\(name)", flags: CSANDBOX_READ_ONLY.rawValue)
    }
    try append(CSANDBOX_PTS, path.appending("pts"), of: operation)
    try append(CSANDBOX_TMPFS, path.appending("shm"), of: operation, source: "mode=1777")
    let links = [
      "ptmx": "pts/ptmx", "fd": "/proc/self/fd", "stdin": "/proc/self/fd/0", "stdout": "/proc/self/fd/1",
      "stderr": "/proc/self/fd/2",
    ]
    for (name, target) in links.sorted(by: { $0.key < $1.key }) {
      try append(CSANDBOX_SYMBOLIC_LINK, path.appending(name), of: operation, source: target)
    }
  }

  private mutating func append(
    _ kind: csandbox_kind, _ target: FilePath, of subject: SandboxPlan.Operation, source: String? = nil,
    contents: [UInt8] = [], flags: UInt32 = 0, mode: FilePermissions = []
  ) throws(BuildError) {
    guard target.isAbsolute else { throw .sandbox(operation: subject.description, .invalidArgument) }
    var operation = unsafe csandbox_operation()
    unsafe operation.kind = kind
    unsafe operation.flags = flags
    unsafe operation.mode = UInt32(mode.rawValue)
    unsafe operation.target = try text(target.string)
    if let source {
      unsafe operation.source = try text(source)
    } else {
      unsafe operation.source = bytes(contents)
      unsafe operation.length = UInt64(contents.count)
    }
    unsafe operation.tree = -1
    unsafe operations.append(operation)
    subjects.append(subject)
  }

  private mutating func bytes(_ contents: [UInt8]) -> UnsafePointer<CChar> {
    let memory = UnsafeMutablePointer<CChar>.allocate(capacity: contents.count + 1)
    for (index, byte) in contents.enumerated() { unsafe memory[index] = CChar(bitPattern: byte) }
    unsafe memory[contents.count] = 0
    unsafe allocations.append(UnsafeMutableRawPointer(memory))
    return unsafe UnsafePointer(memory)
  }

  private mutating func text(_ string: String) throws(BuildError) -> UnsafePointer<CChar> {
    guard !string.utf8.contains(0) else { throw .sandbox(operation: "pass «\(string)»", .invalidArgument) }
    return unsafe bytes(Array(string.utf8))
  }

  private mutating func vector(
    _ strings: [String]
  ) throws(BuildError) -> UnsafePointer<UnsafeMutablePointer<CChar>?> {
    let table = UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>.allocate(capacity: strings.count + 1)
    unsafe allocations.append(UnsafeMutableRawPointer(table))
    for (index, string) in strings.enumerated() {
      unsafe (table + index).initialize(to: UnsafeMutablePointer(mutating: try text(string)))
    }
    unsafe (table + strings.count).initialize(to: nil)
    return unsafe UnsafePointer(table)
  }
}

/// Who calls, and with what right to map ids.
struct CallerIdentity {
  var userID = geteuid()
  var groupID = getegid()
  /// `/proc/self/uid_map` and `gid_map`.
  var userMap: String
  var groupMap: String
  /// `/proc/self/setgroups`: whether the kernel lets nobody here give up further groups.
  var deniesGroups: Bool

  /// The maps of a new user namespace: all ids of ours unchanged where we may, our own id alone where not.
  func maps(for plan: SandboxPlan) -> (users: String, groups: String, denySetgroups: Bool) {
    if userID == 0 { return (Self.identity(userMap), Self.identity(groupMap), deniesGroups) }
    let inside = plan.identity ?? SandboxPlan.Identity(userID: userID, groupID: groupID)
    return ("\(inside.userID) \(userID) 1\n", "\(inside.groupID) \(groupID) 1\n", true)
  }

  /// Maps each id that exists here to itself.
  private static func identity(_ map: String) -> String {
    map.split(separator: "\n").compactMap { line in
      let fields = line.split(separator: " ")
      return fields.count == 3 ? "\(fields[0]) \(fields[0]) \(fields[2])\n" : nil
    }.joined()
  }
}
