// SPDX-FileCopyrightText: The distri authors
// SPDX-License-Identifier: Apache-2.0

extension SandboxPlan {
  /// How much a sandbox may take, all of its processes together; nil: as much as there is.
  ///
  /// Memory and processes are bounded by a control group where one can be made: as root, or by an ordinary user who has been given one
  /// (as systemd does). Elsewhere memory is bounded by the address space of each process by itself, and processes by the number that
  /// the sandbox's user may have, which the kernel does not apply to root.
  public struct Limits: Sendable, Hashable {
    /// Memory in bytes, with what is in files of a tmpfs.
    public var memory: UInt64?
    /// Processes and threads that exist at one time.
    public var processes: Int?
    /// From the start of the first command to the end of the last.
    public var time: Duration?

    /// Makes limits.
    public init(memory: UInt64? = nil, processes: Int? = nil, time: Duration? = nil) {
      self.memory = memory
      self.processes = processes
      self.time = time
    }

    /// Those that are set.
    public var all: [Limit] {
      [memory.map { .memory($0) }, processes.map { .processes($0) }, time.map { .time($0) }].compactMap { $0 }
    }
  }

  /// One limit.
  public enum Limit: Sendable, Hashable {
    /// Bytes.
    case memory(UInt64)
    /// Processes and threads.
    case processes(Int)
    /// Wall-clock time.
    case time(Duration)
  }
}

extension SandboxPlan.Limit: CustomStringConvertible {
  /// Such as `512 MiB of memory`.
  public var description: String {
    switch self {
    case .memory(let bytes): "\(Self.size(bytes)) of memory"
    case .processes(let count): "\(count) processes and threads"
    case .time(let duration): Self.time(duration)
    }
  }

  /// What is counted how: control group, or what stands in for it.
  var means: String {
    switch self {
    case .memory: "in all by a control group, else by each process's address space"
    case .processes: "by a control group, else by the user's number of processes"
    case .time: "by the clock"
    }
  }

  private static func size(_ bytes: UInt64) -> String {
    let units: [(UInt64, String)] = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")]
    for (unit, name) in units where bytes >= unit && bytes % unit == 0 { return "\(bytes / unit) \(name)" }
    return "\(bytes) bytes"
  }

  private static func time(_ duration: Duration) -> String {
    let (seconds, attoseconds) = duration.components
    if attoseconds != 0 { return "\(Double(seconds) + Double(attoseconds) / 1e18) seconds" }
    let units: [(Int64, String)] = [(3600, "hour"), (60, "minute"), (1, "second")]
    for (unit, name) in units where seconds >= unit && seconds % unit == 0 {
      return "\(seconds / unit) \(name)\(seconds == unit ? "" : "s")"
    }
    return "\(seconds) seconds"
  }
}
